// SPDX-License-Identifier: LGPL-2.1-or-later
// Random sequences of all that moves, clips, scrolls and scales videos, and after every event what the compositor would then show, pixel by
// pixel, by a model of bitmaps that shares nothing with the region algebra. By hand: containment-test --count 1000000.
#include "overlay/layout/desktop_sync.h"
#include "overlay/layout/plan.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>

namespace spice_overlay {
namespace {

#ifdef __SANITIZE_ADDRESS__
unsigned sequences = 8000; // which takes as long
#else
unsigned sequences = 40000;
#endif
unsigned first_seed = 1;

constexpr int kMaxSide = 16; ///< of the guest's display: small, so that edges meet often
constexpr unsigned kStreams = 2;
constexpr std::int64_t kMs = 1'000'000;

/// Guest pixels, a bit for each.
struct Bitmap {
    std::array<std::uint32_t, kMaxSide> rows{};

    [[nodiscard]] bool test(int x, int y) const
    {
        return x >= 0 && y >= 0 && x < kMaxSide && y < kMaxSide && (rows[static_cast<unsigned>(y)] >> x & 1) != 0;
    }
    /// The pixels of [x1, x2) x [y1, y2) that are on a display of this size.
    void fill(int x1, int y1, int x2, int y2, int width, int height)
    {
        for (int y = std::max(y1, 0); y < std::min(y2, height); ++y)
            for (int x = std::max(x1, 0); x < std::min(x2, width); ++x)
                rows[static_cast<unsigned>(y)] |= 1u << x;
    }
    [[nodiscard]] Bitmap operator&(const Bitmap &o) const
    {
        Bitmap both;
        for (unsigned y = 0; y < rows.size(); ++y)
            both.rows[y] = rows[y] & o.rows[y];
        return both;
    }
    [[nodiscard]] bool empty() const
    {
        return std::all_of(rows.begin(), rows.end(), [](std::uint32_t row) { return row == 0; });
    }
    bool operator==(const Bitmap &) const = default;
};

Bitmap drawn(const GuestRegion &region)
{
    Bitmap bitmap;
    for (const Box &b : region.boxes())
        bitmap.fill(b.x1, b.y1, b.x2, b.y2, kMaxSide, kMaxSide);
    return bitmap;
}

struct Area {
    int x = 0;
    int y = 0;
    int width = 1;
    int height = 1;
    [[nodiscard]] bool holds(int px, int py) const { return px >= x && py >= y && px < x + width && py < y + height; }
};

wire::Rect to_wire(const Area &a)
{
    return {a.x, a.y, static_cast<std::uint32_t>(a.width), static_cast<std::uint32_t>(a.height)};
}

/// What was told of a stream, and where that allows it to be seen.
struct Told {
    wire::Geometry geometry;
    int width = 0; ///< of the display then, and of every smaller one since
    int height = 0;

    /// Its window, on a display of this size.
    [[nodiscard]] Bitmap clip(int display_width, int display_height) const
    {
        Bitmap mask;
        const wire::Rect &t = geometry.target;
        mask.fill(t.x, t.y, t.x + static_cast<int>(t.width), t.y + static_cast<int>(t.height), display_width,
                  display_height);
        return mask;
    }
    [[nodiscard]] Bitmap visible() const
    {
        Bitmap mask;
        for (const wire::Rect &r : geometry.visible)
            mask.fill(r.x, r.y, r.x + static_cast<int>(r.width), r.y + static_cast<int>(r.height), width, height);
        return mask & clip(width, height);
    }
};

class Sequence {
public:
    explicit Sequence(unsigned seed) : random_(seed), honest_(!one_in(4)), keyed_(!one_in(3))
    {
        resize_display();
        change_space();
        for (Window *w : {&world_.videos[0], &world_.videos[1], &world_.other})
            w->area = anywhere();
        world_.video_on_top = pick(0, 1);
    }

    /// What went wrong, or nothing.
    std::string run()
    {
        const int steps = pick(4, 12);
        for (int step = 0; step < steps && wrong_.empty(); ++step) {
            const char *what = act();
            if (wrong_.empty())
                continue;
            return std::string(what) + " (step " + std::to_string(step) + "): " + wrong_;
        }
        return wrong_;
    }

    std::uint64_t video_pixels = 0;
    std::uint64_t checks = 0;
    std::uint64_t above = 0;
    std::uint64_t below = 0;

private:
    struct Window {
        Area area;
        bool shown = true;
    };
    /// The guest's desktop as it is now.
    struct World {
        std::array<Window, kStreams> videos;
        Window other;
        int video_on_top = 0;
        bool other_on_top = true;
        int scrolled = 0;
    };
    struct Stream {
        bool open = false;
        bool showing = false;
        std::uint32_t serial = 0;
        std::vector<Told> told; ///< since it was opened
        std::uint32_t applied = 0;
    };

    int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
    bool one_in(int n) { return pick(1, n) == 1; }
    Area anywhere() { return {pick(-6, 15), pick(-6, 15), pick(1, 18), pick(1, 18)}; }
    void fail(const std::string &what)
    {
        if (wrong_.empty())
            wrong_ = what;
    }

    // ---- the guest

    [[nodiscard]] static std::uint32_t placeholder(unsigned stream) { return stream == 0 ? 0x01fe77 : 0xfe7701; }
    /// Which video's placeholder is at a pixel; -1: none.
    [[nodiscard]] int owner(int x, int y) const
    {
        const Window &o = world_.other;
        if (world_.other_on_top && o.shown && o.area.holds(x, y))
            return -1;
        for (int i : {world_.video_on_top, 1 - world_.video_on_top})
            if (streams_[static_cast<unsigned>(i)].open && world_.videos[static_cast<unsigned>(i)].shown
                && world_.videos[static_cast<unsigned>(i)].area.holds(x, y))
                return i;
        return -1;
    }
    [[nodiscard]] std::uint32_t colour(int x, int y) const
    {
        if (const int i = owner(x, y); i >= 0 && keyed_)
            return placeholder(static_cast<unsigned>(i));
        if (world_.other.shown && world_.other.area.holds(x, y))
            return 0x8080c0;
        return 0x202020u + 0x010101u * static_cast<std::uint32_t>((x * 7 + (y + world_.scrolled) * 29) & 63);
    }
    [[nodiscard]] Told tell_truth(unsigned stream)
    {
        Told told{{}, width_, height_};
        told.geometry.stream = stream;
        told.geometry.target = to_wire(world_.videos[stream].area);
        if (keyed_)
            told.geometry.placeholder = placeholder(stream);
        for (int y = 0; y < height_; ++y) // run by run: not the decomposition that a region would choose
            for (int x = 0; x < width_; ++x) {
                const int from = x;
                while (x < width_ && owner(x, y) == static_cast<int>(stream))
                    ++x;
                if (x > from)
                    told.geometry.visible.push_back(to_wire({from, y, x - from, 1}));
            }
        return told;
    }
    /// What a guest may say that does not care.
    [[nodiscard]] Told tell_anything(unsigned stream)
    {
        Told told{{}, width_, height_};
        told.geometry.stream = stream;
        const bool far = one_in(8);
        told.geometry.target =
            to_wire(far ? Area{pick(-60000, 60000), pick(-9, 9), pick(1, 65000), pick(1, 65000)} : anywhere());
        if (one_in(2))
            told.geometry.placeholder = placeholder(stream);
        for (int n = pick(0, 4); n > 0; --n)
            told.geometry.visible.push_back(one_in(3) ? told.geometry.target : to_wire(anywhere()));
        return told;
    }
    void tell(unsigned i, Told told)
    {
        Stream &stream = streams_[i];
        if (!stream.open)
            return;
        told.geometry.serial = ++stream.serial;
        sync_.geometry(i, VideoGeometry(told.geometry, {{0, 0, width_, height_}}), now_);
        stream.told.push_back(std::move(told));
    }

    /// Draws and tells what has become of the desktop, the two in any order and in pieces, and looks after each.
    void settle()
    {
        std::vector<GuestRect> pieces;
        GuestRect all{{kMaxSide, kMaxSide, 0, 0}};
        for (int y = 0; y < height_; ++y)
            for (int x = 0; x < width_; ++x)
                if (pixel(x, y) != colour(x, y))
                    all = {
                        {std::min(all.x1, x), std::min(all.y1, y), std::max(all.x2, x + 1), std::max(all.y2, y + 1)}};
        if (!all.empty()) {
            const int cut = pick(all.y1, all.y2);
            pieces = {{{all.x1, all.y1, all.x2, cut}}, {{all.x1, cut, all.x2, all.y2}}};
        }
        std::vector<Told> geometries;
        for (unsigned i = 0; i < kStreams; ++i)
            if (streams_[i].open)
                geometries.push_back(honest_ || one_in(3) ? tell_truth(i) : tell_anything(i));
        std::size_t piece = 0;
        std::size_t geometry = 0;
        while ((piece < pieces.size() || geometry < geometries.size()) && wrong_.empty()) {
            const bool draw = geometry == geometries.size() || (piece < pieces.size() && one_in(2));
            if (draw)
                paint(pieces[piece++]);
            else {
                tell(geometries[geometry].geometry.stream, geometries[geometry]);
                ++geometry;
            }
            now_ += pick(0, 3) * 12 * kMs;
            check();
        }
    }
    std::uint32_t &pixel(int x, int y) { return pixels_[static_cast<std::size_t>(y * width_ + x)]; }
    void paint(const GuestRect &r)
    {
        for (int y = r.y1; y < r.y2; ++y)
            for (int x = r.x1; x < r.x2; ++x)
                pixel(x, y) = colour(x, y);
        sync_.damaged(r, now_);
    }

    // ---- what happens

    const char *act()
    {
        const auto i = static_cast<unsigned>(pick(0, kStreams - 1));
        Window &video = world_.videos[i];
        const char *what = "nothing";
        switch (pick(0, 12)) {
        case 0:
        case 1:
            what = "move", video.area.x = pick(-6, 15), video.area.y = pick(-6, 15);
            break;
        case 2:
            what = "resize of a video", video.area.width = pick(1, 18), video.area.height = pick(1, 18);
            break;
        case 3:
        case 4:
            what = "clip", world_.other = {anywhere(), !one_in(4)}, world_.other_on_top = !one_in(4);
            break;
        case 5:
            what = "scroll", world_.scrolled += pick(1, 3);
            if (one_in(2)) // the page with its video
                video.area.y -= pick(-3, 3);
            break;
        case 6:
            what = "resize of the display", resize_display();
            break;
        case 7:
        case 8:
            what = "scale", change_space();
            break;
        case 9:
            what = "fullscreen", video.area = {0, 0, width_, height_}, world_.video_on_top = static_cast<int>(i);
            world_.other_on_top = one_in(3);
            break;
        case 10:
            what = "order of windows", world_.video_on_top = pick(0, 1), video.shown = !one_in(4);
            break;
        case 11:
            what = "end of a stream", close(i);
            break;
        default:
            what = "patience", now_ += DesktopSync::kPatience;
        }
        if (!streams_[i].open && one_in(2))
            streams_[i] = {}, streams_[i].open = true;
        if (streams_[i].open && !streams_[i].showing && one_in(2)) {
            streams_[i].showing = true;
            sync_.set_showing(i, true);
        }
        check();
        settle();
        return what;
    }
    void close(unsigned i)
    {
        streams_[i] = {};
        sync_.remove(i);
        if (sync_.applied(i))
            fail("a geometry outlives its stream");
    }
    void resize_display()
    {
        width_ = pick(1, kMaxSide);
        height_ = pick(1, kMaxSide);
        pixels_.assign(static_cast<std::size_t>(width_ * height_),
                       0); // no more than that: a sanitizer sees what is beyond
        sync_.set_live({pixels_.data(), width_, width_, height_});
        screen_.assign(pixels_.size(), 0xdead);
        for (unsigned i = 0; i < kStreams; ++i) {
            for (Told &told : streams_[i].told) {
                told.width = std::min(told.width, width_);
                told.height = std::min(told.height, height_);
            }
            if (streams_[i].told.empty())
                continue;
            Told again = streams_[i].told.back(); // clipped to the new display, as Screen does it
            again.width = width_, again.height = height_;
            sync_.geometry(i, VideoGeometry(again.geometry, {{0, 0, width_, height_}}), now_);
            streams_[i].told.push_back(again);
        }
    }
    void change_space()
    {
        constexpr std::array<double, 4> kScales{1, 1.25, 1.5, 2};
        const double scale = kScales[static_cast<unsigned>(pick(0, 3))];
        switch (pick(0, 3)) {
        case 0: // just so
            return set_space(width_, height_, 1);
        case 1:
            return set_space(width_ * pick(1, 2), height_ * pick(1, 2), scale);
        case 2: // a narrow one
            return set_space(pick(1, 8), pick(1, 30), scale);
        default:
            return set_space(pick(1, 32), pick(1, 32), scale);
        }
    }
    void set_space(int width, int height, double scale)
    {
        space_ = {pick(0, 3), pick(0, 3), width, height};
        output_scale_ = scale;
    }

    // ---- what is then on the screen

    struct Placed {
        VideoPlan plan;
        Bitmap visible;
        Bitmap clip;
        wire::Rect target;
        [[nodiscard]] bool covers(int x, int y) const
        {
            const SurfaceRect &r = plan.rect;
            return x >= r.x1 && y >= r.y1 && x < r.x2 && y < r.y2;
        }
    };

    void check()
    {
        ++checks;
        const DesktopSync::Released released = sync_.advance(now_);
        take(released);
        const Fit fit(width_, height_, space_.x, space_.y, space_.width, space_.height, output_scale_);
        if (fit.x < space_.x || fit.y < space_.y || fit.x + fit.width > space_.x + space_.width
            || fit.y + fit.height > space_.y + space_.height)
            fail("the desktop leaves the widget");
        std::vector<PlannedStream> planned;
        std::map<std::uint32_t, const Told *> truth;
        for (std::uint32_t i = 0; i < kStreams; ++i) {
            if (!streams_[i].open)
                continue;
            planned.push_back({i, streams_[i].showing ? sync_.applied(i) : nullptr});
            truth[i] = look_up(i);
        }
        const Plan plan = make_plan(planned, fit);
        if (plan.videos.size() != planned.size())
            fail("a stream has no place, or two");
        std::vector<Placed> placed;
        for (const VideoPlan &v : plan.videos)
            if (const Told *told = truth[v.stream]; v.placement != Placement::kHidden && told)
                placed.push_back({v, told->visible(), told->clip(width_, height_), told->geometry.target});
            else if (v.placement != Placement::kHidden)
                fail("a video is shown of which nothing was told");
        for (const Placed &p : placed)
            ++(p.plan.placement == Placement::kAbove ? above : below);
        look(plan, placed, fit);
        for (const Placed &p : placed)
            look_at_source(p, fit);
    }

    /// The released damage, and it alone, reaches the screen, which must then show what is released.
    void take(const DesktopSync::Released &released)
    {
        const Picture picture = sync_.released();
        if (picture.width != width_ || picture.height != height_)
            return fail("a picture of another size");
        for (const Box &b : released.damage.boxes()) {
            if (b.x1 < 0 || b.y1 < 0 || b.x2 > width_ || b.y2 > height_)
                return fail("damage outside the display");
            for (int y = b.y1; y < b.y2; ++y)
                std::copy(picture.row(y) + b.x1, picture.row(y) + b.x2, screen_.begin() + (y * width_ + b.x1));
        }
        for (int y = 0; y < height_; ++y)
            if (!std::equal(picture.row(y), picture.row(y) + width_, screen_.begin() + y * width_))
                return fail("the picture has changed where no damage was told");
    }

    /// What was told that is now applied: it must have been told of this stream, and not before what was applied already.
    const Told *look_up(std::uint32_t i)
    {
        const VideoGeometry *applied = sync_.applied(i);
        if (!applied)
            return nullptr;
        if (applied->serial < streams_[i].applied)
            fail("an old geometry is back");
        streams_[i].applied = applied->serial;
        const Bitmap visible = drawn(applied->visible);
        for (auto told = streams_[i].told.rbegin(); told != streams_[i].told.rend(); ++told)
            if (told->geometry.serial == applied->serial && told->visible() == visible)
                return &*told;
        fail("a visible region that nobody told");
        return nullptr;
    }

    /// Every pixel of the desktop's surface, and in it every pixel of the guest that it shows.
    void look(const Plan &plan, const std::vector<Placed> &placed, const Fit &fit)
    {
        for (const Box &b : plan.hole.boxes())
            if (b.x1 < 0 || b.y1 < 0 || b.x2 > width_ || b.y2 > height_)
                return fail("a hole outside the display");
        for (const Placed &p : placed)
            if (p.plan.rect.empty() || !(p.plan.rect.intersected({{0, 0, fit.width, fit.height}}) == p.plan.rect))
                return fail("a video outside the desktop's surface");
        if (placed.empty() && plan.hole.empty())
            return;
        const Bitmap hole = drawn(plan.hole);
        for (int y = 0; y < fit.height && wrong_.empty(); ++y)
            for (int x = 0; x < fit.width; ++x)
                look_at(x, y, hole, placed, fit);
    }
    void look_at(int x, int y, const Bitmap &hole, const std::vector<Placed> &placed, const Fit &fit)
    {
        // The guest's pixels that have a part in this one of the surface.
        const int x1 = x * width_ / fit.width;
        const int y1 = y * height_ / fit.height;
        const int x2 = ((x + 1) * width_ + fit.width - 1) / fit.width;
        const int y2 = ((y + 1) * height_ + fit.height - 1) / fit.height;
        const Placed *over = nullptr;
        const Placed *under = nullptr;
        for (const Placed &p : placed) // lowest first
            if (p.covers(x, y))
                (p.plan.placement == Placement::kAbove ? over : under) = &p;
        bool touches = false;
        for (int gy = y1; gy < y2; ++gy)
            for (int gx = x1; gx < x2; ++gx)
                touches |= under && under->clip.test(gx, gy);
        for (int gy = y1; gy < y2; ++gy)
            for (int gx = x1; gx < x2; ++gx) {
                const Placed *shown = over ? over : hole.test(gx, gy) ? under : nullptr;
                if (!over && hole.test(gx, gy) && !under)
                    return fail("what lies behind everything shows through a hole" + at(gx, gy));
                if (shown) {
                    ++video_pixels;
                    // Where a window's edge lies inside a pixel of the surface, its video may reach to that pixel's end,
                    // into another one's hole: as exact as a surface can be.
                    const bool shared = !over && !shown->clip.test(gx, gy) && touches;
                    if (!shown->visible.test(gx, gy) && !shared)
                        return fail("video " + std::to_string(shown->plan.stream) + " leaves its visible region"
                                    + at(gx, gy));
                    continue;
                }
                must_be_desktop(gx, gy, placed);
            }
    }
    /// No video is left out: where just one is to be seen, it is.
    void must_be_desktop(int x, int y, const std::vector<Placed> &placed)
    {
        const Placed *seen = nullptr;
        int windows = 0;
        for (const Placed &p : placed) {
            windows += p.clip.test(x, y);
            if (p.visible.test(x, y))
                seen = &p;
        }
        if (seen && windows == 1)
            fail("video " + std::to_string(seen->plan.stream) + " is not shown" + at(x, y));
    }
    static std::string at(int x, int y) { return " at " + std::to_string(x) + "," + std::to_string(y); }

    /// Each of its pixels shows what belongs there, to within a pixel of the surface; exactly where nothing is scaled.
    void look_at_source(const Placed &p, const Fit &fit)
    {
        const SourcePart &s = p.plan.source;
        if (s.x < 0 || s.y < 0 || s.width <= 0 || s.height <= 0 || s.x + s.width > 1 + 1e-9
            || s.y + s.height > 1 + 1e-9)
            return fail("a sample outside the picture");
        const SurfaceRect &r = p.plan.rect;
        auto axis = [&](int from, int to, double start, double length, int origin, std::uint32_t size, int guest,
                        int logical) {
            const double pixel = double(guest) / logical;
            for (int at = from; at < to; ++at) {
                const double shown = origin + (start + (at + 0.5 - from) / (to - from) * length) * size;
                const double wanted = (at + 0.5) * pixel;
                const bool exact = guest == logical;
                if (std::abs(shown - wanted) > (exact ? 1e-6 * std::max(1u, size) : pixel + 1e-6 * size))
                    fail("a video's picture is out of place by " + std::to_string(shown - wanted));
            }
        };
        axis(r.x1, r.x2, s.x, s.width, p.target.x, p.target.width, width_, fit.width);
        axis(r.y1, r.y2, s.y, s.height, p.target.y, p.target.height, height_, fit.height);
    }

    std::mt19937 random_;
    bool honest_; ///< the guest paints and tells the same
    bool keyed_;  ///< and has placeholders
    int width_ = 1;
    int height_ = 1;
    Area space_;
    double output_scale_ = 1;
    World world_;
    std::array<Stream, kStreams> streams_;
    std::vector<std::uint32_t> pixels_;
    DesktopSync sync_;
    std::vector<std::uint32_t> screen_; ///< what the compositor has of the desktop
    std::int64_t now_ = 1'000 * kMs;
    std::string wrong_;
};

TEST(Containment, no_damage_and_no_video_pixel_leaves_widget_and_guest_clip_in_random_sequences)
{
    std::uint64_t pixels = 0;
    std::uint64_t checks = 0;
    std::uint64_t above = 0;
    std::uint64_t below = 0;
    for (unsigned seed = first_seed; seed < first_seed + sequences; ++seed) {
        Sequence sequence(seed);
        const std::string wrong = sequence.run();
        pixels += sequence.video_pixels;
        checks += sequence.checks;
        above += sequence.above;
        below += sequence.below;
        ASSERT_EQ(wrong, "") << "again by: containment-test --seed " << seed << " --count 1";
    }
    std::printf("%u sequences: %llu pictures, %llu video pixels, videos above %llu times, below %llu times\n",
                sequences, static_cast<unsigned long long>(checks), static_cast<unsigned long long>(pixels),
                static_cast<unsigned long long>(above), static_cast<unsigned long long>(below));
    if (sequences >= 100) { // else it has looked at nothing
        EXPECT_GT(pixels, checks);
        EXPECT_GT(above, checks / 50);
        EXPECT_GT(below, checks / 50);
    }
}

} // namespace
} // namespace spice_overlay

int main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        unsigned &value = option == "--seed" ? spice_overlay::first_seed : spice_overlay::sequences;
        if (option != "--seed" && option != "--count") {
            std::fprintf(stderr, "usage: containment-test [--count SEQUENCES] [--seed FIRST]\n");
            return 2;
        }
        value = static_cast<unsigned>(std::stoul(argv[i + 1]));
    }
    return RUN_ALL_TESTS();
}
