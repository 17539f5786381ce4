// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "glib_sources.h"
#include "screen.h"

#include <gtk/gtk.h>
#include <spice-client.h>

#include <functional>
#include <list>
#include <string>

namespace spice_overlay {

/// The session's first display channel and its cursor channel: the desktop's picture goes to the screen, the pointer's shape to the
/// widget. Connects both channels. Main thread.
class GuestDesktop {
public:
    /// All borrowed and outliving this. `changed` is called when the screen wants an update(), `resized` when the picture has
    /// another size or is gone, `trouble` with what a person has to know.
    GuestDesktop(SpiceSession *session, GtkWidget *widget, Screen &screen, std::function<void()> changed,
                 std::function<void()> resized, std::function<void(const std::string &)> trouble);

    [[nodiscard]] int width() const { return picture_.width; } ///< guest pixels; 0: no picture
    [[nodiscard]] int height() const { return picture_.height; }

private:
    friend struct GuestDesktopSignals;
    void add_channel(SpiceChannel *channel);
    void remove_channel(SpiceChannel *channel);
    void set_picture(const Picture &picture);

    GtkWidget *widget_;
    Screen &screen_;
    std::function<void()> changed_;
    std::function<void()> resized_;
    std::function<void(const std::string &)> trouble_;
    Picture picture_;
    std::list<SignalConnection> signals_;
};

} // namespace spice_overlay
