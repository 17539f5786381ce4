// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <utility>
#include <vector>

namespace spice_overlay::host {

/// The outline of a window, stretched to the window's bounding box. A pixel belongs to the window when its centre lies
/// inside.
struct Shape {
    enum class Kind { kRect, kEllipse, kRing, kL, kPolygon };
    Kind kind = Kind::kRect;
    /// kRing: thickness of the ring in percent of the box's half sides. kL: thickness of the two bars in percent.
    int percent = 50;
    /// kPolygon: corners in thousandths of the box's sides, even-odd rule.
    std::vector<std::pair<int, int>> corners;

    /// Whether the pixel (x, y) of a box of w x h pixels belongs to the shape. Pixels outside the box never do.
    [[nodiscard]] bool contains(int x, int y, int w, int h) const;
};

/// Runs [first, second) of pixels in one row.
using Runs = std::vector<std::pair<int, int>>;

/// The shape in a box of w x h pixels as runs, one entry a row.
std::vector<Runs> rows_of(const Shape &shape, int w, int h);

} // namespace spice_overlay::host
