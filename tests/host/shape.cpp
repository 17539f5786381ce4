// SPDX-License-Identifier: LGPL-2.1-or-later
#include "shape.h"

namespace spice_overlay::host {

namespace {

// Coordinates of a pixel centre relative to the box's centre, in units of half a side: inside is |v| <= 1.
double from_centre(int position, int side)
{
    return (2.0 * position + 1.0) / side - 1.0;
}

bool inside_polygon(const std::vector<std::pair<int, int>> &corners, double x, double y)
{
    bool inside = false;
    for (std::size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
        auto [xi, yi] = corners[i];
        auto [xj, yj] = corners[j];
        if ((yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi)
            inside = !inside;
    }
    return inside;
}

} // namespace

bool Shape::contains(int x, int y, int w, int h) const
{
    if (x < 0 || y < 0 || x >= w || y >= h)
        return false;
    double dx = from_centre(x, w);
    double dy = from_centre(y, h);
    switch (kind) {
    case Kind::kRect:
        return true;
    case Kind::kEllipse:
        return dx * dx + dy * dy <= 1.0;
    case Kind::kRing: {
        double inner = 1.0 - percent / 100.0;
        return dx * dx + dy * dy <= 1.0 && dx * dx + dy * dy > inner * inner;
    }
    case Kind::kL:
        return x < w * percent / 100 || y >= h - h * percent / 100;
    case Kind::kPolygon:
        return inside_polygon(corners, (x + 0.5) * 1000 / w, (y + 0.5) * 1000 / h);
    }
    return false;
}

std::vector<Runs> rows_of(const Shape &shape, int w, int h)
{
    std::vector<Runs> rows(static_cast<std::size_t>(h));
    for (int y = 0; y < h; ++y) {
        Runs &runs = rows[static_cast<std::size_t>(y)];
        if (shape.kind == Shape::Kind::kRect) {
            runs.emplace_back(0, w);
            continue;
        }
        for (int x = 0; x < w; ++x) {
            if (!shape.contains(x, y, w, h))
                continue;
            if (!runs.empty() && runs.back().second == x)
                runs.back().second = x + 1;
            else
                runs.emplace_back(x, x + 1);
        }
    }
    return rows;
}

} // namespace spice_overlay::host
