// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "clips.h"
#include "findings.h"
#include "overlay/present/wayland/scene.h"
#include "overlay/present/wayland/transport.h"

#include <string>

struct xdg_surface;
struct xdg_toplevel;
struct xdg_wm_base;

namespace spice_overlay::doctor {

/// A window, in full screen, in which clips are played by the viewer's own presenter and decoder. One thread; open() and play() block
/// until they are through, for a limited time.
class Theatre {
public:
    /// Both borrowed, outliving the theatre.
    static Result<std::unique_ptr<Theatre>> open(wl_display *display, WaylandConnection &connection);
    ~Theatre();
    Theatre(const Theatre &) = delete;
    Theatre &operator=(const Theatre &) = delete;

    struct Programme {
        std::string decoder_program;
        Clip clip;
        std::uint8_t matrix = 2;      ///< H.273: what the stream says of its colours
        Transport::Offer offer;       ///< what the decoder may send
        Transport::Hardware hardware; ///< by what it may decode besides
    };
    [[nodiscard]] Performance play(const Programme &programme);

private:
    friend struct TheatreEvents;
    Theatre(wl_display *display, WaylandConnection &connection) : display_(display), connection_(connection) {}
    [[nodiscard]] Status build();
    [[nodiscard]] Status wait_for_size();

    wl_display *display_;
    WaylandConnection &connection_;
    xdg_wm_base *shell_ = nullptr;
    wl_surface *surface_ = nullptr;
    xdg_surface *role_ = nullptr;
    xdg_toplevel *toplevel_ = nullptr;
    wl_buffer *backdrop_ = nullptr;
    int width_ = 0; ///< logical pixels; 0: not told yet
    int height_ = 0;
    bool configured_ = false;
    std::unique_ptr<Scene> scene_;
    std::uint32_t streams_ = 0; ///< so far
};

/// Waits for events of the display, and of `fd` if it is one, until `until` (ns of CLOCK_MONOTONIC) at most, and handles those of the
/// display. False: the connection is lost.
[[nodiscard]] bool wait_for_events(wl_display *display, int fd, std::int64_t until);

} // namespace spice_overlay::doctor
