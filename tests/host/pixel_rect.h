// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>

namespace spice_overlay::host {

/// Half-open rectangle [x, x+w) x [y, y+h) in guest pixels, or in a window's own pixels where a name says so.
struct Rect {
    int x = 0;
    int y = 0;
    int w = 0;
    int h = 0;
    bool operator==(const Rect &) const = default;

    [[nodiscard]] bool empty() const { return w <= 0 || h <= 0; }
    [[nodiscard]] int right() const { return x + w; }
    [[nodiscard]] int bottom() const { return y + h; }
};

inline Rect intersect(const Rect &a, const Rect &b)
{
    int x = std::max(a.x, b.x);
    int y = std::max(a.y, b.y);
    return {x, y, std::max(0, std::min(a.right(), b.right()) - x), std::max(0, std::min(a.bottom(), b.bottom()) - y)};
}

} // namespace spice_overlay::host
