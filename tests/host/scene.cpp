// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scene.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

namespace spice_overlay::host {

namespace {

constexpr int kMaxSide = 8192;
constexpr int kMaxCoordinate = 16384;
constexpr std::size_t kMaxWindows = 1000;
constexpr std::size_t kMaxVideos = 16;
constexpr double kMaxSeconds = 86400;

const std::map<std::string_view, SceneAction::Kind> kWindowActions = {
    {"raise", SceneAction::Kind::kRaise},       {"lower", SceneAction::Kind::kLower},
    {"show", SceneAction::Kind::kShow},         {"hide", SceneAction::Kind::kHide},
    {"minimise", SceneAction::Kind::kMinimise}, {"restore", SceneAction::Kind::kRestore},
    {"leave", SceneAction::Kind::kLeave},       {"return", SceneAction::Kind::kReturn},
};
const std::map<std::string_view, SceneAction::Kind> kVideoActions = {
    {"open", SceneAction::Kind::kOpen},   {"close", SceneAction::Kind::kClose}, {"pause", SceneAction::Kind::kPause},
    {"resume", SceneAction::Kind::kResume}, {"seek", SceneAction::Kind::kSeek},
};

bool is_name(std::string_view word)
{
    return !word.empty() && word.size() <= 40 && std::all_of(word.begin(), word.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
}

/// One line at a time; the first failure is kept and ends the parse.
class Parser {
public:
    explicit Parser(std::string file) : file_(std::move(file)) {}

    Result<Scene> run(std::string_view text)
    {
        while (!text.empty() && error_.empty()) {
            std::size_t end = text.find('\n');
            ++line_;
            if (split(text.substr(0, end)) && !words_.empty())
                statement();
            text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        }
        if (error_.empty() && scene_.loop && !has_duration_)
            fail("'loop' needs at least one action that takes time (a wait, or a move or resize with 'over')");
        if (!error_.empty())
            return Error{error_};
        return std::move(scene_);
    }

private:
    struct Word {
        std::string text;
        bool quoted = false;
    };

    bool fail(const std::string &what)
    {
        if (error_.empty())
            error_ = file_ + ":" + std::to_string(line_) + ": " + what;
        return false;
    }

    bool split(std::string_view line)
    {
        words_.clear();
        at_ = 0;
        std::size_t i = 0;
        while (i < line.size()) {
            char c = line[i];
            if (c == ' ' || c == '\t' || c == '\r') {
                ++i;
            } else if (c == '#') {
                break;
            } else if (c == '"') {
                std::size_t end = line.find('"', i + 1);
                if (end == std::string_view::npos)
                    return fail("text without its closing \"");
                words_.push_back({std::string(line.substr(i + 1, end - i - 1)), true});
                i = end + 1;
            } else {
                std::size_t end = std::min(line.find_first_of(" \t\r\"", i), line.size());
                words_.push_back({std::string(line.substr(i, end - i)), false});
                i = end;
            }
        }
        return true;
    }

    [[nodiscard]] bool more() const { return at_ < words_.size(); }

    std::string next() { return more() ? words_[at_++].text : std::string(); }

    bool accept(std::string_view word)
    {
        if (!more() || words_[at_].quoted || words_[at_].text != word)
            return false;
        ++at_;
        return true;
    }

    bool expected(const std::string &what, const std::string &got)
    {
        return fail("expected " + what + (got.empty() ? ", the line ends" : ", not '" + got + "'"));
    }

    bool finish() { return !more() || expected("the end of the line", words_[at_].text); }

    bool integer(int &value, int low, int high, const std::string &what)
    {
        std::string word = next();
        auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (problem != std::errc{} || end != word.data() + word.size() || value < low || value > high)
            return expected(what + " (" + std::to_string(low) + " to " + std::to_string(high) + ")", word);
        return true;
    }

    bool seconds(double &value, const std::string &what)
    {
        std::string word = next();
        double factor = word.ends_with("ms") ? 0.001 : 1.0;
        std::size_t unit = word.ends_with("ms") ? 2 : word.ends_with("s") ? 1 : 0;
        const char *last = word.data() + word.size() - unit;
        auto [end, problem] = std::from_chars(word.data(), last, value);
        if (unit == 0 || problem != std::errc{} || end != last || !std::isfinite(value) || value < 0 ||
            value * factor > kMaxSeconds)
            return expected(what + " such as 500ms or 1.5s", word);
        value *= factor;
        return true;
    }

    bool colour(std::uint32_t &value)
    {
        std::string word = next();
        auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
        if (word.size() != 6 || problem != std::errc{} || end != word.data() + word.size())
            return expected("a colour as RRGGBB in hexadecimal", word);
        return true;
    }

    bool new_name(std::string &name, const std::string &what)
    {
        name = next();
        return is_name(name) || expected(what + " (letters, digits, '-' and '_', at most 40)", name);
    }

    bool known_window(std::size_t &index)
    {
        std::string name = next();
        for (index = 0; index < scene_.windows.size(); ++index)
            if (scene_.windows[index].name == name)
                return true;
        return expected("the name of a window declared above", name);
    }

    void statement()
    {
        std::string verb = next();
        bool good = false;
        if (scene_.loop)
            good = fail("nothing may follow 'loop'");
        else if (verb == "desktop")
            good = desktop();
        else if (verb == "wallpaper")
            good = wallpaper();
        else if (verb == "window")
            good = window();
        else if (verb == "video")
            good = video();
        else
            good = action(verb);
        if (good)
            finish();
    }

    bool desktop()
    {
        std::string word = next();
        int *sides[] = {&scene_.width, &scene_.height};
        const char *from = word.data();
        const char *last = word.data() + word.size();
        for (int i = 0; i < 2; ++i) {
            auto [end, problem] = std::from_chars(from, last, *sides[i]);
            bool separated = i == 0 ? end != last && *end == 'x' : end == last;
            if (problem != std::errc{} || !separated || *sides[i] < 64 || *sides[i] > kMaxSide)
                return expected("a size such as 1280x800 (64 to 8192 each)", word);
            from = end + 1;
        }
        if (!scene_.windows.empty() || !scene_.actions.empty())
            return fail("'desktop' comes before windows and actions");
        return true;
    }

    bool wallpaper()
    {
        int seed = 0;
        if (!integer(seed, 0, 1000000, "the seed of the wallpaper"))
            return false;
        scene_.wallpaper_seed = static_cast<std::uint32_t>(seed);
        return true;
    }

    bool place(SceneWindow &item)
    {
        if (scene_.windows.size() >= kMaxWindows)
            return fail("a scene has at most " + std::to_string(kMaxWindows) + " windows");
        if (!scene_.actions.empty())
            return fail("windows are declared before the first action (declare it hidden, and show it)");
        if (!new_name(item.name, "a name"))
            return false;
        for (const SceneWindow &other : scene_.windows)
            if (other.name == item.name)
                return fail("the name '" + item.name + "' is taken by another window");
        return integer(item.box.x, -kMaxCoordinate, kMaxCoordinate, "x") &&
               integer(item.box.y, -kMaxCoordinate, kMaxCoordinate, "y") &&
               integer(item.box.w, 1, kMaxSide, "a width") && integer(item.box.h, 1, kMaxSide, "a height");
    }

    bool window()
    {
        SceneWindow item;
        if (!place(item))
            return false;
        item.colour = 0xE8E6E1;
        while (more()) {
            bool good = true;
            if (accept("text"))
                item.text = next();
            else if (accept("shape"))
                good = shape(item.shape);
            else if (accept("colour"))
                good = colour(item.colour);
            else if (accept("fps"))
                good = integer(item.fps, 1, 240, "updates per second");
            else if (accept("hidden"))
                item.hidden = true;
            else
                good = expected("'text', 'shape', 'colour', 'fps' or 'hidden'", next());
            if (!good)
                return false;
        }
        scene_.windows.push_back(std::move(item));
        return true;
    }

    bool video()
    {
        SceneWindow item;
        if (!integer(item.video, 1, static_cast<int>(kMaxVideos), "the index of the video"))
            return false;
        for (const SceneWindow &other : scene_.windows)
            if (other.video == item.video)
                return fail("video " + std::to_string(item.video) + " already plays in '" + other.name + "'");
        if (!place(item))
            return false;
        auto index = static_cast<std::uint32_t>(item.video - 1);
        item.placeholder = 0x01FE77 + index * 0x0B0000; // flat colours far from anything that the painter uses
        item.colour = 0xD0021B + index * 0x000F30;
        while (more()) {
            bool good = true;
            if (accept("text"))
                item.text = next();
            else if (accept("frame"))
                good = colour(item.colour);
            else if (accept("placeholder"))
                good = colour(item.placeholder);
            else if (accept("hidden"))
                item.hidden = true;
            else
                good = expected("'text', 'frame', 'placeholder' or 'hidden'", next());
            if (!good)
                return false;
        }
        scene_.windows.push_back(std::move(item));
        return true;
    }

    bool shape(Shape &shape)
    {
        std::string kind = next();
        if (kind == "rect")
            shape.kind = Shape::Kind::kRect;
        else if (kind == "ellipse")
            shape.kind = Shape::Kind::kEllipse;
        else if (kind == "ring" || kind == "l") {
            shape.kind = kind == "l" ? Shape::Kind::kL : Shape::Kind::kRing;
            return integer(shape.percent, 1, 99, "a thickness in percent");
        } else if (kind == "polygon") {
            shape.kind = Shape::Kind::kPolygon;
            while (more() && !words_[at_].quoted && words_[at_].text.find(',') != std::string::npos)
                if (!corner(shape))
                    return false;
            if (shape.corners.size() < 3 || shape.corners.size() > 64)
                return fail("a polygon has 3 to 64 corners X,Y, in thousandths of the window's sides");
        } else {
            return expected("'rect', 'ellipse', 'ring PERCENT', 'l PERCENT' or 'polygon X,Y X,Y X,Y ...'", kind);
        }
        return true;
    }

    bool corner(Shape &shape)
    {
        std::string word = next();
        int x = 0;
        int y = 0;
        const char *last = word.data() + word.size();
        auto [comma, bad_x] = std::from_chars(word.data(), last, x);
        bool good = bad_x == std::errc{} && comma != last && *comma == ',';
        if (good) {
            auto [end, bad_y] = std::from_chars(comma + 1, last, y);
            good = bad_y == std::errc{} && end == last && x >= 0 && x <= 1000 && y >= 0 && y <= 1000;
        }
        if (!good)
            return expected("a corner X,Y in thousandths (0 to 1000)", word);
        shape.corners.emplace_back(x, y);
        return true;
    }

    bool action(const std::string &verb)
    {
        SceneAction item;
        if (verb == "loop") {
            scene_.loop = true;
            return true;
        }
        if (verb == "step") {
            item.kind = SceneAction::Kind::kStep;
            if (!new_name(item.name, "the name of the step"))
                return false;
        } else if (verb == "wait") {
            item.kind = more() ? SceneAction::Kind::kWait : SceneAction::Kind::kWaitAll;
            if (more() && !seconds(item.seconds, "a time"))
                return false;
        } else if (verb == "move" || verb == "resize") {
            if (!motion(item, verb == "move"))
                return false;
        } else if (auto of_window = kWindowActions.find(verb); of_window != kWindowActions.end()) {
            item.kind = of_window->second;
            if (!known_window(item.window))
                return false;
        } else if (auto of_video = kVideoActions.find(verb); of_video != kVideoActions.end()) {
            item.kind = of_video->second;
            if (!known_window(item.window))
                return false;
            if (scene_.windows[item.window].video == 0)
                return fail("'" + scene_.windows[item.window].name + "' is not a video window");
            if (item.kind == SceneAction::Kind::kSeek && !seconds(item.seconds, "a position"))
                return false;
        } else {
            return fail("unknown statement '" + verb + "'; see docs/scenes.md");
        }
        has_duration_ |= item.seconds > 0 && item.kind != SceneAction::Kind::kSeek;
        scene_.actions.push_back(std::move(item));
        return true;
    }

    bool motion(SceneAction &item, bool is_move)
    {
        item.kind = is_move ? SceneAction::Kind::kMove : SceneAction::Kind::kResize;
        if (!known_window(item.window))
            return false;
        bool good = is_move ? integer(item.a, -kMaxCoordinate, kMaxCoordinate, "x") &&
                                  integer(item.b, -kMaxCoordinate, kMaxCoordinate, "y")
                            : integer(item.a, 1, kMaxSide, "a width") && integer(item.b, 1, kMaxSide, "a height");
        if (!good || !more())
            return good;
        if (!accept("over"))
            return expected("'over' and a time, or the end of the line", next());
        return seconds(item.seconds, "a time");
    }

    std::string file_;
    int line_ = 0;
    std::vector<Word> words_;
    std::size_t at_ = 0;
    std::string error_;
    Scene scene_;
    bool has_duration_ = false;
};

} // namespace

bool Scene::has_video() const
{
    return std::any_of(windows.begin(), windows.end(), [](const SceneWindow &item) { return item.video != 0; });
}

Result<Scene> parse_scene(std::string_view text, const std::string &file)
{
    return Parser(file).run(text);
}

Result<Scene> load_scene(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    if (!in || !(text << in.rdbuf()))
        return Error{"cannot read scene '" + path + "': check that it is a readable file and not empty"};
    return parse_scene(text.str(), path);
}

} // namespace spice_overlay::host
