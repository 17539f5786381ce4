// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstdint>

namespace spice_overlay {

// Coordinate spaces. A rectangle or region says its space in its type; going from one to another is a named function.
struct GuestSpace;   ///< pixels of the guest's display, origin at its top left corner
struct SurfaceSpace; ///< surface-local (logical) pixels of the desktop surface

/// Half-open box [x1, x2) x [y1, y2). Empty when it has no pixel.
struct Box {
    int x1 = 0;
    int y1 = 0;
    int x2 = 0;
    int y2 = 0;

    [[nodiscard]] bool empty() const { return x1 >= x2 || y1 >= y2; }
    [[nodiscard]] int width() const { return x2 - x1; }
    [[nodiscard]] int height() const { return y2 - y1; }
    [[nodiscard]] std::int64_t area() const { return empty() ? 0 : std::int64_t{width()} * height(); }
    bool operator==(const Box &) const = default;
};

template <typename Space>
struct Rect : Box {
    static Rect from_size(int x, int y, int width, int height) { return {{x, y, x + width, y + height}}; }

    [[nodiscard]] Rect intersected(const Rect &o) const
    {
        Rect r{{std::max(x1, o.x1), std::max(y1, o.y1), std::min(x2, o.x2), std::min(y2, o.y2)}};
        return r.empty() ? Rect{} : r;
    }
    [[nodiscard]] bool intersects(const Rect &o) const { return !intersected(o).empty(); }
    [[nodiscard]] Rect grown(int by) const { return {{x1 - by, y1 - by, x2 + by, y2 + by}}; }
    /// The same pixels in a space whose origin differs: (x, y) here is (x + dx, y + dy) there.
    template <typename To>
    [[nodiscard]] Rect<To> moved_to(int dx, int dy) const
    {
        return {{x1 + dx, y1 + dy, x2 + dx, y2 + dy}};
    }
    bool operator==(const Rect &) const = default;
};

using GuestRect = Rect<GuestSpace>;
using SurfaceRect = Rect<SurfaceSpace>;

} // namespace spice_overlay
