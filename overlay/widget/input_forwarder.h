// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "glib_sources.h"
#include "overlay/layout/plan.h"
#include "relative_pointer.h"

#include <gtk/gtk.h>
#include <spice-client.h>

#include <functional>
#include <list>
#include <set>

namespace spice_overlay {

/// Sends the widget's keyboard and pointer to the guest. Connects the inputs channel. All keys that are down are released when the
/// widget loses the focus. Main thread.
class InputForwarder {
public:
    /// All borrowed and outliving this. `fit_in_widget` says where the guest's display is in the widget.
    InputForwarder(SpiceSession *session, GtkWidget *widget, std::function<Fit()> fit_in_widget);

private:
    friend struct InputSignals;
    [[nodiscard]] bool guest_position(double x, double y, int &guest_x, int &guest_y) const;
    void move(double x, double y);
    [[nodiscard]] bool sends_positions() const;
    void lead_guest();
    void move(GdkEvent *event);
    void button(unsigned gtk_button, bool down);
    void scroll(double dy);
    void key(unsigned hardware_keycode, bool down);
    void release_keys();

    GtkWidget *widget_;
    std::function<Fit()> fit_;
    SpiceMainChannel *main_ = nullptr;     ///< borrowed while its signal connections stand
    SpiceInputsChannel *inputs_ = nullptr; ///< likewise
    std::set<unsigned> pressed_;           ///< scancodes
    int buttons_ = 0;                      ///< SPICE_MOUSE_BUTTON_MASK_*
    RelativePointer relative_;             ///< for a guest without absolute positions
    double scrolled_ = 0;
    std::list<SignalConnection> signals_;
};

} // namespace spice_overlay
