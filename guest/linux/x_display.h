// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/region/region.h"

#include <xcb/xcb.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace spice_overlay::guest {

struct ScreenSpace; ///< pixels of the X screen, origin at the root window's top left corner
using ScreenRect = Rect<ScreenSpace>;
using ScreenRegion = Region<ScreenSpace>;

struct FreeReply {
    void operator()(void *reply) const { std::free(reply); }
};
/// What xcb gives; null where the server answered with an error.
template <typename T>
using Reply = std::unique_ptr<T, FreeReply>;

/// A request that has been sent, and its answer: Asked<xcb_get_geometry_reply>. What is not taken is thrown away.
template <auto Fetch>
class Asked;
template <typename R, typename Cookie, R *(*Fetch)(xcb_connection_t *, Cookie, xcb_generic_error_t **)>
class Asked<Fetch> {
public:
    Asked() = default;
    Asked(xcb_connection_t *connection, Cookie cookie) : connection_(connection), cookie_(cookie) {}
    Asked(Asked &&o) noexcept : connection_(std::exchange(o.connection_, nullptr)), cookie_(o.cookie_) {}
    Asked &operator=(Asked &&o) noexcept
    {
        std::swap(connection_, o.connection_);
        std::swap(cookie_, o.cookie_);
        return *this;
    }
    ~Asked()
    {
        if (connection_)
            xcb_discard_reply(connection_, cookie_.sequence);
    }

    /// Waits for the answer. Once; null where nothing was asked.
    [[nodiscard]] Reply<R> take()
    {
        xcb_connection_t *connection = std::exchange(connection_, nullptr);
        return Reply<R>(connection ? Fetch(connection, cookie_, nullptr) : nullptr);
    }

private:
    xcb_connection_t *connection_ = nullptr;
    Cookie cookie_{};
};

/// A connection to an X server, with the extensions that the tracker needs, and what is true of the whole screen.
class XDisplay {
public:
    [[nodiscard]] static Result<std::unique_ptr<XDisplay>> open(const std::string &name);

    [[nodiscard]] xcb_connection_t *xcb() const { return connection_.get(); }
    [[nodiscard]] const std::string &name() const { return name_; } ///< for messages
    [[nodiscard]] xcb_window_t root() const { return screen_->root; }
    /// Null when pixels of the root window are no true colour.
    [[nodiscard]] const xcb_visualtype_t *visual() const { return visual_; }
    [[nodiscard]] ScreenRect bounds() const { return bounds_; }
    [[nodiscard]] bool lost() const { return xcb_connection_has_error(xcb()) != 0; }

    /// Whether a compositing manager draws the screen.
    [[nodiscard]] bool composited() const { return composited_; }

    /// Active ones, in the order of their outputs; at least one.
    [[nodiscard]] const std::vector<ScreenRect> &monitors() const { return monitors_; }

    /// Which monitor shows most of `rect`; 0 where none does.
    [[nodiscard]] std::uint32_t monitor_of(const ScreenRect &rect) const;

    struct Atoms {
        xcb_atom_t compositing_manager; ///< the selection that it owns
        xcb_atom_t window_opacity;
        xcb_atom_t frame_extents;
        xcb_atom_t wm_state;
        xcb_atom_t desktop;
        xcb_atom_t current_desktop;
        xcb_atom_t pid;
    };
    [[nodiscard]] const Atoms &atoms() const { return atoms_; }

    [[nodiscard]] std::uint8_t shape_event() const { return shape_event_; }
    [[nodiscard]] std::uint8_t damage_event() const { return damage_event_; }
    [[nodiscard]] bool has_shape() const { return shape_event_ != 0; }
    [[nodiscard]] bool has_damage() const { return damage_event_ != 0; }
    [[nodiscard]] bool has_resources() const { return has_resources_; }

    /// Takes in an event that changes the above; whether it was one.
    bool handle(const xcb_generic_event_t &event);

private:
    struct Disconnect {
        void operator()(xcb_connection_t *connection) const { xcb_disconnect(connection); }
    };
    XDisplay() = default;
    void find_extensions();
    void find_atoms(int screen_number);
    void read_compositing_manager();
    void read_screen();

    std::string name_;
    std::unique_ptr<xcb_connection_t, Disconnect> connection_;
    const xcb_screen_t *screen_ = nullptr;
    const xcb_visualtype_t *visual_ = nullptr;
    ScreenRect bounds_;
    std::vector<ScreenRect> monitors_;
    bool composited_ = false;
    Atoms atoms_{};
    // First event codes; 0 where the extension is missing.
    std::uint8_t shape_event_ = 0;
    std::uint8_t damage_event_ = 0;
    std::uint8_t randr_event_ = 0;
    std::uint8_t fixes_event_ = 0;
    bool has_resources_ = false;
};

/// The property's 32-bit values; empty where there are none.
[[nodiscard]] std::vector<std::uint32_t> values_of(const xcb_get_property_reply_t *reply);

} // namespace spice_overlay::guest
