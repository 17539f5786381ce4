// SPDX-License-Identifier: LGPL-2.1-or-later
#include "picture.h"

#include <algorithm>
#include <cstdlib>

namespace spice_overlay::guest {

namespace {

constexpr int kAspectSlack = 2;  ///< pixels by which players round a fitted side
constexpr int kSmallestSide = 8; ///< of a piece of the key colour that counts when the picture is looked for
constexpr int kCoarsest = 64;    ///< pixels

bool has_shape(const WindowRect &picture, std::uint32_t aspect_width, std::uint32_t aspect_height)
{
    const auto w = std::int64_t{picture.width()};
    const auto h = std::int64_t{picture.height()};
    const auto aw = std::int64_t{aspect_width};
    const auto ah = std::int64_t{aspect_height};
    if (aw == 0 || ah == 0)
        return true;
    return std::abs(w - h * aw / ah) <= kAspectSlack || std::abs(h - w * ah / aw) <= kAspectSlack;
}

bool contains(const WindowRect &outer, const WindowRect &inner)
{
    return outer.intersected(inner) == inner;
}

WindowRect bounds_of_large_pieces(const Region<WindowSpace> &region)
{
    std::vector<WindowRect> large;
    for (std::size_t i = 0; i < region.boxes().size(); ++i)
        if (region.rect(i).width() >= kSmallestSide)
            large.push_back(region.rect(i));
    return Region<WindowSpace>(large).bounds();
}

/// What all lines of the cell-row [top, top + height) have in common.
GuestRegion common_of_lines(const std::vector<Box> &boxes, std::size_t first, int top, int height)
{
    GuestRegion common;
    int reached = top;
    for (std::size_t i = first; i < boxes.size() && boxes[i].y1 < top + height;) {
        std::vector<GuestRect> line;
        const Box band = boxes[i];
        for (; i < boxes.size() && boxes[i].y1 == band.y1; ++i)
            line.push_back({{boxes[i].x1, top, boxes[i].x2, top + height}});
        if (band.y2 <= top)
            continue;
        if (band.y1 > reached)
            return {};
        common = reached == top ? GuestRegion(line) : common & GuestRegion(line);
        reached = band.y2;
    }
    return reached < top + height ? GuestRegion() : common;
}

GuestRegion coarser(const GuestRegion &region, int cell)
{
    std::vector<GuestRect> out;
    const auto &boxes = region.boxes();
    const GuestRect bounds = region.bounds();
    std::size_t first = 0;
    for (int top = bounds.y1; top < bounds.y2; top += cell) {
        while (first < boxes.size() && boxes[first].y2 <= top)
            ++first;
        const GuestRegion row = common_of_lines(boxes, first, top, std::min(cell, bounds.y2 - top));
        for (std::size_t i = 0; i < row.boxes().size(); ++i)
            if (row.rect(i).width() >= cell)
                out.push_back(row.rect(i));
    }
    return GuestRegion(out);
}

} // namespace

WindowRect aspect_fit(const WindowRect &area, std::uint32_t aspect_width, std::uint32_t aspect_height)
{
    if (aspect_width == 0 || aspect_height == 0 || area.empty())
        return area;
    const std::int64_t aw = aspect_width;
    const std::int64_t ah = aspect_height;
    std::int64_t w = area.width();
    std::int64_t h = area.height();
    if (w * ah > h * aw)
        w = std::max<std::int64_t>(1, h * aw / ah);
    else
        h = std::max<std::int64_t>(1, w * ah / aw);
    return WindowRect::from_size(area.x1 + static_cast<int>((area.width() - w) / 2),
                                 area.y1 + static_cast<int>((area.height() - h) / 2), static_cast<int>(w),
                                 static_cast<int>(h));
}

std::optional<WindowRect> PictureFinder::find(const Target &target, const WindowRect &window,
                                              const Region<WindowSpace> &on_show, const Region<WindowSpace> &colour)
{
    if (learned_ && learned_->window != window)
        learned_.reset();
    const WindowRect seen = bounds_of_large_pieces(colour);
    if (seen.empty())
        return learned_ ? std::optional(learned_->picture) : std::nullopt;
    // Whole: what lies around the colour, up to the window's edge, is on show, and is not the colour.
    const bool whole = (Region<WindowSpace>(seen.grown(1).intersected(window)) - on_show).empty();
    if (whole && (seen == window || has_shape(seen, target.aspect_width, target.aspect_height)))
        learned_ = Learned{window, seen};
    if (learned_ && contains(learned_->picture, seen))
        return learned_->picture;
    learned_.reset(); // the picture has moved within its window
    const WindowRect fitted = aspect_fit(window, target.aspect_width, target.aspect_height);
    return contains(fitted, seen) ? std::optional(fitted) : std::nullopt;
}

GuestRegion simplified_from_inside(const GuestRegion &region, std::size_t most)
{
    GuestRegion result = region;
    for (int cell = 2; result.boxes().size() > most && cell <= kCoarsest; cell *= 2)
        result = coarser(region, cell);
    if (result.boxes().size() <= most)
        return result;
    std::vector<GuestRect> largest;
    for (std::size_t i = 0; i < result.boxes().size(); ++i)
        largest.push_back(result.rect(i));
    std::ranges::nth_element(largest, largest.begin() + static_cast<std::ptrdiff_t>(most), std::ranges::greater{},
                             [](const GuestRect &r) { return r.area(); });
    largest.resize(most);
    return GuestRegion(largest);
}

} // namespace spice_overlay::guest
