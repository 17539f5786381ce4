// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"

struct wl_buffer;
struct wl_subsurface;
struct wl_surface;
struct wp_viewport;

namespace spice_overlay {

/// The black around the desktop: one pixel, which the compositor draws as large as the space, below the desktop surface. What lies below it
/// (the window's own pixels) need not be drawn then, and a display that puts a video on a plane of its own has nothing but black to
/// mix in. All of it changes with the parent's next commit. Takes no input. One thread.
class Backdrop {
public:
    /// `parent` is borrowed and outlives it.
    static Result<std::unique_ptr<Backdrop>> create(WaylandConnection &connection, wl_surface *parent);
    ~Backdrop();

    /// Directly below `sibling`, which is the parent or one of its subsurfaces.
    void place_below(wl_surface *sibling);
    /// Covers [x, x+width) x [y, y+height), logical pixels of the parent; with no width or height, nothing.
    void cover(int x, int y, int width, int height);

    [[nodiscard]] wl_surface *surface() const { return surface_; }

private:
    explicit Backdrop(WaylandConnection &connection) : connection_(connection) {}
    [[nodiscard]] Status make_pixel();

    WaylandConnection &connection_;
    wl_surface *surface_ = nullptr;
    wl_subsurface *subsurface_ = nullptr;
    wp_viewport *viewport_ = nullptr;
    wl_buffer *pixel_ = nullptr;
    bool mapped_ = false;
};

} // namespace spice_overlay
