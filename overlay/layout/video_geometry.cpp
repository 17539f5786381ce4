// SPDX-License-Identifier: LGPL-2.1-or-later
#include "video_geometry.h"

#include <vector>

namespace spice_overlay {

namespace {

GuestRect to_rect(const wire::Rect &r)
{
    return GuestRect::from_size(r.x, r.y, static_cast<int>(r.width), static_cast<int>(r.height));
}

} // namespace

VideoGeometry::VideoGeometry(const wire::Geometry &g, const GuestRect &display)
    : serial(g.serial), target(to_rect(g.target)), crop(g.crop), placeholder(g.placeholder)
{
    std::vector<GuestRect> rects;
    rects.reserve(g.visible.size());
    for (const wire::Rect &r : g.visible)
        rects.push_back(to_rect(r).intersected(target).intersected(display));
    visible = GuestRegion::united(rects, kMostBoxes).value_or(GuestRegion());
}

} // namespace spice_overlay
