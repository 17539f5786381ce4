// SPDX-License-Identifier: LGPL-2.1-or-later
#include "visible_region.h"

#include <algorithm>

namespace spice_overlay::host {

namespace {

// A run goes on in the rectangle above it where that is exactly as wide.
std::vector<Rect> merge_rows(const std::vector<Runs> &rows, const Rect &area, int band)
{
    std::vector<Rect> rects;
    std::vector<std::size_t> above; // rectangles that end at the current row
    for (int y = 0; y < area.h; y += band) {
        int height = std::min(band, area.h - y);
        std::vector<std::size_t> here;
        for (auto [from, to] : rows[static_cast<std::size_t>(y / band)]) {
            Rect run{area.x + from, area.y + y, to - from, height};
            auto fits = [&](std::size_t i) { return rects[i].x == run.x && rects[i].w == run.w; };
            if (auto found = std::find_if(above.begin(), above.end(), fits); found != above.end()) {
                rects[*found].h += height;
                here.push_back(*found);
            } else {
                here.push_back(rects.size());
                rects.push_back(run);
            }
        }
        above = std::move(here);
    }
    return rects;
}

} // namespace

VisibleRegion visible_region(const Rect &area, const Rect &display, const std::vector<Occluder> &windows,
                             std::size_t self, std::size_t most)
{
    Rect box = intersect(area, display);
    if (box.empty())
        return {};
    auto width = static_cast<std::size_t>(box.w);
    constexpr std::size_t kNobody = static_cast<std::size_t>(-1);
    std::vector<std::size_t> owner(width * static_cast<std::size_t>(box.h), kNobody);
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const Rect &other = windows[i].box;
        Rect shared = intersect(box, other);
        for (int y = shared.y; y < shared.bottom(); ++y)
            for (auto [from, to] : (*windows[i].rows)[static_cast<std::size_t>(y - other.y)])
                for (int x = std::max(from + other.x, box.x); x < std::min(to + other.x, box.right()); ++x)
                    owner[static_cast<std::size_t>(y - box.y) * width + static_cast<std::size_t>(x - box.x)] = i;
    }
    VisibleRegion region;
    for (int band = 1;; band *= 2) {
        std::vector<Runs> rows(static_cast<std::size_t>((box.h + band - 1) / band));
        for (std::size_t row = 0; row < rows.size(); ++row)
            for (std::size_t x = 0; x < width; ++x) {
                bool mine = true; // in every line of the band
                for (std::size_t y = row * static_cast<std::size_t>(band);
                     y < std::min((row + 1) * static_cast<std::size_t>(band), static_cast<std::size_t>(box.h)); ++y)
                    mine = mine && owner[y * width + x] == self;
                Runs &runs = rows[row];
                int at = static_cast<int>(x);
                if (mine && !runs.empty() && runs.back().second == at)
                    runs.back().second = at + 1;
                else if (mine)
                    runs.emplace_back(at, at + 1);
            }
        region.rects = merge_rows(rows, box, band);
        region.exact = band == 1;
        if (region.rects.size() <= most)
            return region;
        if (band >= box.h) { // one band, and still too many runs in it
            region.rects.resize(most);
            return region;
        }
    }
}

} // namespace spice_overlay::host
