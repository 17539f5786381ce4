// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"

#include <list>
#include <span>

struct wl_buffer;
struct wl_subsurface;
struct wl_surface;

namespace spice_overlay {

/// A small opaque picture above everything else in the window, the desktop and its videos too, which stay where they are for it. Takes no
/// input. One thread.
class NoteSurface {
public:
    /// `parent` is borrowed and outlives it. The surface appears, or is gone, with the parent's next commit.
    static Result<std::unique_ptr<NoteSurface>> create(WaylandConnection &connection, wl_surface *parent);
    ~NoteSurface();

    /// Where it lies in the parent, logical pixels; with the parent's next commit.
    void move(int x, int y);
    /// Shows the picture at once: XRGB rows without gaps, in pixels of the screen, of which a logical pixel has `scale` each way
    /// (and the picture a multiple).
    [[nodiscard]] Status show(std::span<const std::uint32_t> pixels, int width, int height, int scale);

private:
    friend struct NoteEvents;
    explicit NoteSurface(WaylandConnection &connection) : connection_(connection) {}

    WaylandConnection &connection_;
    wl_surface *surface_ = nullptr;
    wl_subsurface *subsurface_ = nullptr;
    std::list<wl_buffer *>
        buffers_; ///< that the compositor may read; a picture comes twice a second, and each has its own
};

} // namespace spice_overlay
