// SPDX-License-Identifier: LGPL-2.1-or-later
#include "screen_damage.h"

#include <xcb/damage.h>
#include <xcb/xfixes.h>

#include <span>

namespace spice_overlay::guest {

namespace {

constexpr std::size_t kMostRects = 256;

} // namespace

void ScreenDamage::listen(bool on)
{
    if (on == (damage_ != 0) || !display_.has_damage())
        return;
    xcb_connection_t *c = display_.xcb();
    if (on) {
        damage_ = xcb_generate_id(c);
        region_ = xcb_generate_id(c);
        xcb_xfixes_create_region(c, region_, 0, nullptr);
        xcb_damage_create(c, damage_, display_.root(), XCB_DAMAGE_REPORT_LEVEL_NON_EMPTY);
    } else {
        xcb_damage_destroy(c, std::exchange(damage_, 0));
        xcb_xfixes_destroy_region(c, std::exchange(region_, 0));
    }
}

bool ScreenDamage::handle(const xcb_generic_event_t &event) const
{
    return damage_ != 0 && (event.response_type & 0x7f) == display_.damage_event() + XCB_DAMAGE_NOTIFY
           && reinterpret_cast<const xcb_damage_notify_event_t &>(event).damage == damage_;
}

ScreenRegion ScreenDamage::take()
{
    if (damage_ == 0)
        return {};
    xcb_connection_t *c = display_.xcb();
    xcb_damage_subtract(c, damage_, XCB_XFIXES_REGION_NONE, region_);
    auto reply = Asked<xcb_xfixes_fetch_region_reply>(c, xcb_xfixes_fetch_region(c, region_)).take();
    if (!reply)
        return display_.bounds();
    auto rect = [](const xcb_rectangle_t &r) { return ScreenRect::from_size(r.x, r.y, r.width, r.height); };
    std::span<const xcb_rectangle_t> parts(
        xcb_xfixes_fetch_region_rectangles(reply.get()),
        static_cast<std::size_t>(xcb_xfixes_fetch_region_rectangles_length(reply.get())));
    if (parts.size() > kMostRects)
        return rect(reply->extents);
    std::vector<ScreenRect> rects;
    for (const xcb_rectangle_t &r : parts)
        rects.push_back(rect(r));
    return ScreenRegion(rects);
}

} // namespace spice_overlay::guest
