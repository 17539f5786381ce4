// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desk.h"

#include "portclient/base/clock.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <xcb/shape.h>

#include <cstdlib>
#include <cstring>

namespace spice_overlay::guest::testing_tools {

Desk::Desk(const std::string &display) : c_(xcb_connect(display.c_str(), nullptr))
{
    screen_ = xcb_setup_roots_iterator(xcb_get_setup(c_)).data;
    for (auto d = xcb_screen_allowed_depths_iterator(screen_); d.rem; xcb_depth_next(&d))
        if (d.data->depth == 32)
            for (auto v = xcb_depth_visuals_iterator(d.data); v.rem && !argb_visual_; xcb_visualtype_next(&v))
                argb_visual_ = v.data->visual_id;
    argb_colours_ = xcb_generate_id(c_);
    xcb_create_colormap(c_, XCB_COLORMAP_ALLOC_NONE, argb_colours_, screen_->root, argb_visual_);
}

xcb_window_t Desk::create(const WindowPlan &p)
{
    const xcb_window_t w = xcb_generate_id(c_);
    const auto border = static_cast<std::uint16_t>(p.input_only ? 0 : p.border);
    std::uint32_t mask = XCB_CW_OVERRIDE_REDIRECT;
    std::vector<std::uint32_t> values;
    if (!p.input_only) {
        mask |= XCB_CW_BACK_PIXEL | XCB_CW_BORDER_PIXEL;
        values = {p.colour, p.argb ? 0xff336699 : 0x336699};
    }
    values.push_back(p.override_redirect);
    if (p.argb) {
        mask |= XCB_CW_COLORMAP;
        values.push_back(argb_colours_);
    }
    xcb_create_window(c_,
                      p.argb         ? 32
                      : p.input_only ? 0
                                     : 24,
                      w, p.parent ? p.parent : root(), static_cast<std::int16_t>(p.x), static_cast<std::int16_t>(p.y),
                      static_cast<std::uint16_t>(p.width), static_cast<std::uint16_t>(p.height), border,
                      p.input_only ? XCB_WINDOW_CLASS_INPUT_ONLY : XCB_WINDOW_CLASS_INPUT_OUTPUT,
                      p.argb ? argb_visual_ : screen_->root_visual, mask, values.data());
    // Placed where it is asked for, also by a window manager.
    const std::uint32_t hints[18] = {1 | 2 | 4 | 8, static_cast<std::uint32_t>(p.x), static_cast<std::uint32_t>(p.y)};
    xcb_change_property(c_, XCB_PROP_MODE_REPLACE, w, XCB_ATOM_WM_NORMAL_HINTS, XCB_ATOM_WM_SIZE_HINTS, 32, 18, hints);
    if (p.mapped)
        map(w);
    return w;
}

void Desk::move(xcb_window_t w, int x, int y)
{
    const std::int32_t values[] = {x, y};
    xcb_configure_window(c_, w, XCB_CONFIG_WINDOW_X | XCB_CONFIG_WINDOW_Y, values);
}

void Desk::resize(xcb_window_t w, int width, int height)
{
    const std::int32_t values[] = {width, height};
    xcb_configure_window(c_, w, XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT, values);
}

void Desk::set_border(xcb_window_t w, int width)
{
    xcb_configure_window(c_, w, XCB_CONFIG_WINDOW_BORDER_WIDTH, &width);
}

void Desk::restack(xcb_window_t w, std::uint32_t mode, xcb_window_t sibling)
{
    const std::uint32_t with[] = {sibling, mode};
    if (sibling)
        xcb_configure_window(c_, w, XCB_CONFIG_WINDOW_SIBLING | XCB_CONFIG_WINDOW_STACK_MODE, with);
    else
        xcb_configure_window(c_, w, XCB_CONFIG_WINDOW_STACK_MODE, &mode);
}

void Desk::set_override_redirect(xcb_window_t w, bool on)
{
    const std::uint32_t value = on;
    xcb_change_window_attributes(c_, w, XCB_CW_OVERRIDE_REDIRECT, &value);
}

void Desk::shape(xcb_window_t w, std::uint8_t kind, const std::vector<xcb_rectangle_t> &rects)
{
    if (rects.empty())
        xcb_shape_mask(c_, XCB_SHAPE_SO_SET, kind, w, 0, 0, XCB_PIXMAP_NONE);
    else
        xcb_shape_rectangles(c_, XCB_SHAPE_SO_SET, kind, XCB_CLIP_ORDERING_UNSORTED, w, 0, 0,
                             static_cast<std::uint32_t>(rects.size()), rects.data());
}

void Desk::set_property(xcb_window_t w, const char *name, const std::vector<std::uint32_t> &values)
{
    xcb_change_property(c_, XCB_PROP_MODE_REPLACE, w, atom(name), XCB_ATOM_CARDINAL, 32,
                        static_cast<std::uint32_t>(values.size()), values.data());
}

void Desk::remove_property(xcb_window_t w, const char *name)
{
    xcb_delete_property(c_, w, atom(name));
}

void Desk::paint(xcb_window_t w, std::uint32_t colour, const WindowRect &rect)
{
    const xcb_gcontext_t gc = xcb_generate_id(c_);
    xcb_create_gc(c_, gc, w, XCB_GC_FOREGROUND, &colour);
    const xcb_rectangle_t r{static_cast<std::int16_t>(rect.x1), static_cast<std::int16_t>(rect.y1),
                            static_cast<std::uint16_t>(rect.width()), static_cast<std::uint16_t>(rect.height())};
    xcb_poly_fill_rectangle(c_, w, gc, 1, &r);
    xcb_free_gc(c_, gc);
}

void Desk::recolour(xcb_window_t w, std::uint32_t colour)
{
    xcb_change_window_attributes(c_, w, XCB_CW_BACK_PIXEL, &colour);
    xcb_clear_area(c_, 0, w, 0, 0, 0, 0);
    sync();
}

void Desk::sync()
{
    std::free(xcb_get_input_focus_reply(c_, xcb_get_input_focus(c_), nullptr));
    while (auto *event = xcb_poll_for_queued_event(c_))
        std::free(event);
}

xcb_atom_t Desk::atom(const char *name)
{
    auto *reply =
        xcb_intern_atom_reply(c_, xcb_intern_atom(c_, 0, static_cast<std::uint16_t>(strlen(name)), name), nullptr);
    const xcb_atom_t atom = reply->atom;
    std::free(reply);
    return atom;
}

bool Desk::has_owner(const char *selection)
{
    auto *reply = xcb_get_selection_owner_reply(c_, xcb_get_selection_owner(c_, atom(selection)), nullptr);
    const bool owned = reply && reply->owner;
    std::free(reply);
    return owned;
}

bool Desk::has_property(xcb_window_t w, const char *name)
{
    auto *reply = xcb_get_property_reply(c_, xcb_get_property(c_, 0, w, atom(name), XCB_ATOM_ANY, 0, 1), nullptr);
    const bool has = reply && reply->type;
    std::free(reply);
    return has;
}

GuestRect Desk::place_of(xcb_window_t w)
{
    auto *origin = xcb_translate_coordinates_reply(c_, xcb_translate_coordinates(c_, w, root(), 0, 0), nullptr);
    auto *size = xcb_get_geometry_reply(c_, xcb_get_geometry(c_, w), nullptr);
    GuestRect rect;
    if (origin && size)
        rect = GuestRect::from_size(origin->dst_x, origin->dst_y, size->width, size->height);
    std::free(origin);
    std::free(size);
    return rect;
}

std::vector<std::uint32_t> Desk::pixels(const GuestRect &rect)
{
    auto *reply =
        xcb_get_image_reply(c_,
                            xcb_get_image(c_, XCB_IMAGE_FORMAT_Z_PIXMAP, root(), static_cast<std::int16_t>(rect.x1),
                                          static_cast<std::int16_t>(rect.y1), static_cast<std::uint16_t>(rect.width()),
                                          static_cast<std::uint16_t>(rect.height()), ~0U),
                            nullptr);
    std::vector<std::uint32_t> pixels(static_cast<std::size_t>(rect.area()));
    if (reply)
        memcpy(pixels.data(), xcb_get_image_data(reply), pixels.size() * 4);
    std::free(reply);
    for (std::uint32_t &p : pixels)
        p &= 0xffffff;
    return pixels;
}

long Desk::mismatches(const Placement &placement, std::uint32_t key)
{
    const int width = screen_->width_in_pixels;
    const int height = screen_->height_in_pixels;
    const GuestRect t = placement.target;
    const GuestRect shown{{std::max(t.x1, 0), std::max(t.y1, 0), std::min(t.x2, width), std::min(t.y2, height)}};
    if (shown.empty())
        return placement.visible.area();
    std::vector<char> said(static_cast<std::size_t>(shown.area()));
    long wrong = 0;
    for (const Box &b : placement.visible.boxes())
        for (int y = b.y1; y < b.y2; ++y)
            for (int x = b.x1; x < b.x2; ++x) {
                if (x < shown.x1 || x >= shown.x2 || y < shown.y1 || y >= shown.y2)
                    wrong++;
                else
                    said[static_cast<std::size_t>((y - shown.y1) * shown.width() + x - shown.x1)] = 1;
            }
    const auto seen = pixels(shown);
    for (std::size_t i = 0; i < seen.size(); ++i)
        wrong += (seen[i] == key) != (said[i] != 0);
    return wrong;
}

Follower::Follower(const std::string &display)
{
    auto tracker = WindowTracker::open(display, [this](std::uint32_t id, const Placement &placement) {
        told_[id] = placement;
        times_told_++;
    });
    if (!tracker)
        ADD_FAILURE() << tracker.error().message;
    else
        tracker_ = std::move(tracker).value();
}

std::int64_t Follower::now() const
{
    return monotonic_now() + offset_;
}

bool Follower::until(const std::function<bool()> &done, std::int64_t patience)
{
    const std::int64_t deadline = monotonic_now() + patience;
    for (;;) {
        auto status = dispatch();
        if (done())
            return true;
        if (!status || monotonic_now() >= deadline)
            return false;
        pollfd p{tracker_->fd(), POLLIN, 0};
        poll(&p, 1, 5);
        advance(20'000'000);
    }
}

void Follower::settle(int quiet)
{
    for (int i = 0; i < 1000; ++i) {
        advance();
        EXPECT_TRUE(dispatch().ok());
        pollfd p{tracker_->fd(), POLLIN, 0};
        if (tracker_->deadline() < 0 && poll(&p, 1, quiet) == 0)
            return;
    }
    ADD_FAILURE() << "the tracker finds no rest";
}

} // namespace spice_overlay::guest::testing_tools
