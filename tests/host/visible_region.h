// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "pixel_rect.h"
#include "shape.h"

#include <cstddef>
#include <vector>

namespace spice_overlay::host {

/// A window as far as covering others goes: where its box is, and which pixels of the box are its own.
struct Occluder {
    Rect box;                        ///< guest pixels
    const std::vector<Runs> *rows;   ///< from rows_of(box.w, box.h); borrowed
};

struct VisibleRegion {
    std::vector<Rect> rects; ///< guest pixels, disjoint, top to bottom then left to right
    bool exact = true;       ///< false: there were more than `most` rectangles, and `rects` lies inside the true region
};

/// The part of `area` (clipped to `display`) that `windows[self]` shows: its own pixels that no later window covers.
/// Found by writing down who owns every pixel, row by row: slow, simple, and not how the product does it.
VisibleRegion visible_region(const Rect &area, const Rect &display, const std::vector<Occluder> &windows,
                             std::size_t self, std::size_t most = 256);

} // namespace spice_overlay::host
