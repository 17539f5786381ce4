// SPDX-License-Identifier: LGPL-2.1-or-later
#include "x_display.h"

#include <xcb/damage.h>
#include <xcb/randr.h>
#include <xcb/res.h>
#include <xcb/shape.h>
#include <xcb/xfixes.h>

#include <algorithm>

namespace spice_overlay::guest {

namespace {

constexpr std::size_t kMostMonitors = 64;

const char *why_no_connection(int error)
{
    switch (error) {
    case XCB_CONN_CLOSED_PARSE_ERR:
        return "this is no name of a display";
    case XCB_CONN_CLOSED_INVALID_SCREEN:
        return "it has no such screen";
    case XCB_CONN_CLOSED_EXT_NOTSUPPORTED:
    case XCB_CONN_CLOSED_MEM_INSUFFICIENT:
    case XCB_CONN_CLOSED_REQ_LEN_EXCEED:
        return "it asks for more than this machine has";
    default:
        return "nothing answers, or it does not let this user in";
    }
}

const xcb_visualtype_t *true_colour_visual(const xcb_screen_t &screen)
{
    for (auto d = xcb_screen_allowed_depths_iterator(&screen); d.rem; xcb_depth_next(&d))
        for (auto v = xcb_depth_visuals_iterator(d.data); v.rem; xcb_visualtype_next(&v))
            if (v.data->visual_id == screen.root_visual && v.data->_class == XCB_VISUAL_CLASS_TRUE_COLOR)
                return v.data;
    return nullptr;
}

} // namespace

Result<std::unique_ptr<XDisplay>> XDisplay::open(const std::string &name)
{
    const char *from_environment = std::getenv("DISPLAY");
    std::unique_ptr<XDisplay> display(new XDisplay);
    display->name_ = !name.empty() ? name : from_environment ? from_environment : "";
    if (display->name_.empty())
        return Error{"there is no X display to follow windows on: DISPLAY is not set; start this inside a graphical "
                     "session (under Wayland one with Xwayland), or set DISPLAY"};
    int number = 0;
    display->connection_.reset(xcb_connect(display->name_.c_str(), &number));
    if (int error = xcb_connection_has_error(display->xcb()))
        return Error{"cannot open the X display '" + display->name_ + "': " + why_no_connection(error)
                     + "; check DISPLAY and XAUTHORITY"};
    auto screen = xcb_setup_roots_iterator(xcb_get_setup(display->xcb()));
    for (int i = 0; i < number && screen.rem > 1; ++i)
        xcb_screen_next(&screen);
    display->screen_ = screen.data;
    display->visual_ = true_colour_visual(*screen.data);
    display->find_extensions();
    display->find_atoms(number);
    display->read_compositing_manager();
    display->read_screen();
    if (display->lost())
        return Error{"the X display '" + display->name_ + "' went away while it was opened; try again"};
    return display;
}

void XDisplay::find_extensions()
{
    xcb_connection_t *c = xcb();
    for (auto *extension : {&xcb_shape_id, &xcb_damage_id, &xcb_randr_id, &xcb_xfixes_id, &xcb_res_id})
        xcb_prefetch_extension_data(c, extension);
    auto first_event = [c](xcb_extension_t *extension) -> std::uint8_t {
        const auto *data = xcb_get_extension_data(c, extension);
        return data && data->present ? data->first_event : 0;
    };
    shape_event_ = first_event(&xcb_shape_id);
    randr_event_ = first_event(&xcb_randr_id);
    fixes_event_ = first_event(&xcb_xfixes_id);
    if (fixes_event_) // the server wants to hear our version before it serves regions and selections
        fixes_event_ = Reply<xcb_xfixes_query_version_reply_t>(
                           xcb_xfixes_query_version_reply(c, xcb_xfixes_query_version(c, 2, 0), nullptr))
                           ? fixes_event_
                           : 0;
    damage_event_ = fixes_event_ ? first_event(&xcb_damage_id) : 0;
    if (damage_event_)
        damage_event_ = Reply<xcb_damage_query_version_reply_t>(
                            xcb_damage_query_version_reply(c, xcb_damage_query_version(c, 1, 1), nullptr))
                            ? damage_event_
                            : 0;
    if (randr_event_) {
        Reply<xcb_randr_query_version_reply_t> version(
            xcb_randr_query_version_reply(c, xcb_randr_query_version(c, 1, 5), nullptr));
        if (!version || (version->major_version == 1 && version->minor_version < 5))
            randr_event_ = 0;
        else
            xcb_randr_select_input(c, root(),
                                   XCB_RANDR_NOTIFY_MASK_SCREEN_CHANGE | XCB_RANDR_NOTIFY_MASK_CRTC_CHANGE
                                       | XCB_RANDR_NOTIFY_MASK_OUTPUT_CHANGE);
    }
    const auto *resources = xcb_get_extension_data(c, &xcb_res_id);
    if (resources && resources->present) {
        Reply<xcb_res_query_version_reply_t> version(
            xcb_res_query_version_reply(c, xcb_res_query_version(c, 1, 2), nullptr));
        has_resources_ = version && (version->server_major > 1 || version->server_minor >= 2);
    }
}

void XDisplay::find_atoms(int screen_number)
{
    const std::string manager = "_NET_WM_CM_S" + std::to_string(screen_number);
    const std::pair<const char *, xcb_atom_t Atoms::*> wanted[] = {
        {manager.c_str(), &Atoms::compositing_manager},
        {"_NET_WM_WINDOW_OPACITY", &Atoms::window_opacity},
        {"_GTK_FRAME_EXTENTS", &Atoms::frame_extents},
        {"WM_STATE", &Atoms::wm_state},
        {"_NET_WM_DESKTOP", &Atoms::desktop},
        {"_NET_CURRENT_DESKTOP", &Atoms::current_desktop},
        {"_NET_WM_PID", &Atoms::pid},
    };
    std::vector<xcb_intern_atom_cookie_t> cookies;
    for (const auto &[name, member] : wanted)
        cookies.push_back(xcb_intern_atom(xcb(), 0, static_cast<std::uint16_t>(std::string(name).size()), name));
    for (std::size_t i = 0; i < cookies.size(); ++i) {
        Reply<xcb_intern_atom_reply_t> reply(xcb_intern_atom_reply(xcb(), cookies[i], nullptr));
        atoms_.*wanted[i].second = reply ? reply->atom : xcb_atom_t{XCB_ATOM_NONE};
    }
}

void XDisplay::read_compositing_manager()
{
    if (fixes_event_)
        xcb_xfixes_select_selection_input(xcb(), root(), atoms_.compositing_manager,
                                          XCB_XFIXES_SELECTION_EVENT_MASK_SET_SELECTION_OWNER
                                              | XCB_XFIXES_SELECTION_EVENT_MASK_SELECTION_WINDOW_DESTROY
                                              | XCB_XFIXES_SELECTION_EVENT_MASK_SELECTION_CLIENT_CLOSE);
    Reply<xcb_get_selection_owner_reply_t> owner(
        xcb_get_selection_owner_reply(xcb(), xcb_get_selection_owner(xcb(), atoms_.compositing_manager), nullptr));
    composited_ = owner && owner->owner != XCB_WINDOW_NONE;
}

void XDisplay::read_screen()
{
    Reply<xcb_get_geometry_reply_t> geometry(xcb_get_geometry_reply(xcb(), xcb_get_geometry(xcb(), root()), nullptr));
    if (geometry)
        bounds_ = ScreenRect::from_size(0, 0, geometry->width, geometry->height);
    monitors_.clear();
    if (randr_event_) {
        auto resources_cookie = xcb_randr_get_screen_resources_current(xcb(), root());
        auto monitors_cookie = xcb_randr_get_monitors(xcb(), root(), 1);
        Reply<xcb_randr_get_screen_resources_current_reply_t> resources(
            xcb_randr_get_screen_resources_current_reply(xcb(), resources_cookie, nullptr));
        Reply<xcb_randr_get_monitors_reply_t> monitors(xcb_randr_get_monitors_reply(xcb(), monitors_cookie, nullptr));
        std::vector<xcb_randr_output_t> outputs;
        if (resources) {
            const auto *first = xcb_randr_get_screen_resources_current_outputs(resources.get());
            outputs.assign(first, first + xcb_randr_get_screen_resources_current_outputs_length(resources.get()));
        }
        std::vector<std::pair<std::ptrdiff_t, ScreenRect>> found; // by place of the first output
        if (monitors)
            for (auto m = xcb_randr_get_monitors_monitors_iterator(monitors.get());
                 m.rem && found.size() < kMostMonitors; xcb_randr_monitor_info_next(&m)) {
                auto place = outputs.end();
                if (xcb_randr_monitor_info_outputs_length(m.data) > 0)
                    place = std::find(outputs.begin(), outputs.end(), *xcb_randr_monitor_info_outputs(m.data));
                found.emplace_back(place - outputs.begin(),
                                   ScreenRect::from_size(m.data->x, m.data->y, m.data->width, m.data->height));
            }
        std::stable_sort(found.begin(), found.end(), [](auto &a, auto &b) { return a.first < b.first; });
        for (const auto &[place, rect] : found)
            if (!rect.empty())
                monitors_.push_back(rect);
    }
    if (monitors_.empty())
        monitors_.push_back(bounds_);
}

std::uint32_t XDisplay::monitor_of(const ScreenRect &rect) const
{
    auto most = std::max_element(monitors_.begin(), monitors_.end(), [&](const ScreenRect &a, const ScreenRect &b) {
        return a.intersected(rect).area() < b.intersected(rect).area();
    });
    return static_cast<std::uint32_t>(most - monitors_.begin());
}

bool XDisplay::handle(const xcb_generic_event_t &event)
{
    const int type = event.response_type & 0x7f;
    if (randr_event_
        && (type == randr_event_ + XCB_RANDR_SCREEN_CHANGE_NOTIFY || type == randr_event_ + XCB_RANDR_NOTIFY)) {
        read_screen();
        return true;
    }
    if (fixes_event_ && type == fixes_event_ + XCB_XFIXES_SELECTION_NOTIFY) {
        composited_ = reinterpret_cast<const xcb_xfixes_selection_notify_event_t &>(event).owner != XCB_WINDOW_NONE;
        return true;
    }
    return false;
}

std::vector<std::uint32_t> values_of(const xcb_get_property_reply_t *reply)
{
    if (!reply || reply->format != 32)
        return {};
    const auto *first = static_cast<const std::uint32_t *>(xcb_get_property_value(reply));
    return {first, first + xcb_get_property_value_length(reply) / 4};
}

} // namespace spice_overlay::guest
