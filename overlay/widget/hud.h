// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "glib_sources.h"
#include "overlay/present/wayland/note_surface.h"

#include <gtk/gtk.h>

#include <functional>
#include <string>

namespace spice_overlay {

/// Figures in the corner of the display, on a surface of their own: desktop and videos stay where they are, so that what is shown is what
/// is without them. Drawn anew twice a second while something happens, else never. Main thread.
class Hud {
public:
    struct Figures {
        std::string text;
        bool moving = false; ///< they will be others soon, even if nothing happens
    };

    /// `widget` is borrowed; `figures` tells them; `commit` has the window commit.
    Hud(GtkWidget *widget, std::function<Figures()> figures, std::function<void()> commit)
        : widget_(widget), figures_(std::move(figures)), commit_(std::move(commit)), timer_([this] { draw(); })
    {
    }

    void set_shown(bool shown);
    [[nodiscard]] bool shown() const { return shown_; }

    /// The window's surface has come, or is about to go. Both outlive the attachment.
    void attach(WaylandConnection &connection, wl_surface *parent);
    void detach();
    /// Where the display begins in the window, logical pixels.
    void set_origin(int x, int y);

    void something_happened(); ///< figures are others than when they were asked for

private:
    void open();
    void draw();

    GtkWidget *widget_;
    std::function<Figures()> figures_;
    std::function<void()> commit_;
    MainTimer timer_;
    bool shown_ = false;
    WaylandConnection *connection_ = nullptr; ///< while attached
    wl_surface *parent_ = nullptr;
    std::unique_ptr<NoteSurface> note_;
    int x_ = 0;
    int y_ = 0;
    std::string text_;       ///< on show
    std::int64_t drawn_ = 0; ///< ns of CLOCK_MONOTONIC
    bool waiting_ = false;   ///< the timer is set
};

} // namespace spice_overlay
