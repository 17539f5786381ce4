// SPDX-License-Identifier: LGPL-2.1-or-later
#include "geometry_feed.h"

#include <charconv>
#include <cmath>
#include <optional>

namespace spice_overlay::guest {
namespace {

/// Takes words from a line, one after the other.
class Words {
public:
    explicit Words(std::string_view line, char separator = ' ') : rest_(line), separator_(separator) {}

    std::string_view next()
    {
        while (separator_ == ' ' && !rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\r'))
            rest_.remove_prefix(1);
        std::size_t end = std::min(rest_.find(separator_), rest_.size());
        std::string_view word = rest_.substr(0, end);
        while (separator_ == ' ' && !word.empty() && word.back() == '\r')
            word.remove_suffix(1);
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        return word;
    }

    template <typename T>
    std::optional<T> number(T least, T most)
    {
        std::string_view word = next();
        T value{};
        auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (word.empty() || error != std::errc{} || end != word.data() + word.size() || value < least || value > most)
            return {};
        return value;
    }

    bool at_end()
    {
        Words copy(*this);
        return copy.next().empty();
    }

private:
    std::string_view rest_;
    char separator_;
};

std::optional<wire::Rect> take_rect(Words &words)
{
    constexpr std::int32_t kMax = wire::kMaxCoordinate;
    auto x = words.number<std::int32_t>(-kMax, kMax);
    auto y = words.number<std::int32_t>(-kMax, kMax);
    auto width = words.number<std::uint32_t>(0, kMax);
    auto height = words.number<std::uint32_t>(0, kMax);
    if (!x || !y || !width || !height)
        return {};
    return wire::Rect{*x, *y, *width, *height};
}

/// RRGGBB or "-". False when it is neither.
bool take_placeholder(Words &words, std::optional<std::uint32_t> &placeholder)
{
    std::string_view word = words.next();
    if (word == "-")
        return true;
    std::uint32_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
    if (word.size() != 6 || error != std::errc{} || end != word.data() + word.size())
        return false;
    placeholder = value;
    return true;
}

Result<FeedEvent> take_geometry(Words &words, std::size_t index)
{
    FeedGeometry event;
    event.index = index;
    auto display = words.number<std::uint32_t>(0, 255);
    auto target = take_rect(words);
    if (!display || !target)
        return Error{"geometry: DISPLAY X Y W H are not whole numbers in range"};
    if (!take_placeholder(words, event.geometry.placeholder))
        return Error{"geometry: the placeholder is neither RRGGBB nor -"};
    auto count = words.number<std::size_t>(0, wire::kMaxRegionRects);
    if (!count)
        return Error{"geometry: the number of rectangles is not in 0 ... 256"};
    event.geometry.display = *display;
    event.geometry.target = *target;
    for (std::size_t i = 0; i < *count; i++) {
        auto rect = take_rect(words);
        if (!rect)
            return Error{"geometry: rectangle " + std::to_string(i + 1)
                         + " of the visible region is missing or out of range"};
        event.geometry.visible.push_back(*rect);
    }
    return FeedEvent{event};
}

Result<FeedEvent> take_seek(Words &words, std::size_t index)
{
    constexpr double kMost = 1e7;
    auto seconds = words.number<double>(0, kMost);
    if (!seconds || !std::isfinite(*seconds))
        return Error{"seek: the position is not a number of seconds"};
    return FeedEvent{FeedSeek{index, std::llround(*seconds * 1e9)}};
}

} // namespace

Result<FeedEvent> parse_feed_line(std::string_view line, std::size_t files)
{
    Words words(line);
    std::string_view verb = words.next();
    static constexpr std::string_view kVerbs[] = {"geometry", "open", "close", "pause", "resume", "seek"};
    bool known = false;
    for (std::string_view v : kVerbs)
        known |= v == verb;
    if (!known)
        return Error{"unknown word \"" + std::string(verb.substr(0, 32)) + "\""};
    auto index = words.number<std::size_t>(1, files);
    if (!index)
        return Error{std::string(verb) + ": the index names no file"};

    Result<FeedEvent> event = verb == "geometry" ? take_geometry(words, *index)
                              : verb == "seek"   ? take_seek(words, *index)
                              : verb == "open"   ? Result<FeedEvent>(FeedOpen{*index})
                              : verb == "close"  ? Result<FeedEvent>(FeedClose{*index})
                              : verb == "pause"  ? Result<FeedEvent>(FeedPause{*index})
                                                 : Result<FeedEvent>(FeedResume{*index});
    if (event && !words.at_end())
        return Error{std::string(verb) + ": more words than expected"};
    return event;
}

Result<wire::Rect> parse_rect(std::string_view text)
{
    Words words(text, ',');
    auto rect = take_rect(words);
    if (!rect || rect->width == 0 || rect->height == 0 || !words.at_end())
        return Error{"\"" + std::string(text) + "\" is not X,Y,W,H in whole guest pixels"};
    return *rect;
}

} // namespace spice_overlay::guest
