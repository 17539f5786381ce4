// SPDX-License-Identifier: LGPL-2.1-or-later
#include "input_forwarder.h"

#include "keymap.h"
#include "portclient/base/clock.h"

#include <algorithm>
#include <cmath>

namespace spice_overlay {

struct InputSignals {
    static InputForwarder *self(gpointer data) { return static_cast<InputForwarder *>(data); }

    static void channel_new(SpiceSession *, SpiceChannel *channel, gpointer data)
    {
        InputForwarder *s = self(data);
        if (SPICE_IS_MAIN_CHANNEL(channel)) {
            s->main_ = SPICE_MAIN_CHANNEL(channel);
            s->signals_.emplace_back(channel, "main-mouse-update", G_CALLBACK(mouse_update), data);
        } else if (SPICE_IS_INPUTS_CHANNEL(channel)) {
            s->inputs_ = SPICE_INPUTS_CHANNEL(channel);
            spice_channel_connect(channel);
        } else if (SPICE_IS_CURSOR_CHANNEL(channel)) {
            s->signals_.emplace_back(channel, "cursor-move", G_CALLBACK(guest_moved), data);
        }
    }
    static void guest_moved(SpiceChannel *, int x, int y, gpointer data)
    {
        self(data)->relative_.guest_is_at(x, y);
        self(data)->lead_guest();
    }
    static void channel_destroy(SpiceSession *, SpiceChannel *channel, gpointer data)
    {
        InputForwarder *s = self(data);
        if (reinterpret_cast<SpiceChannel *>(s->main_) == channel)
            s->main_ = nullptr;
        if (reinterpret_cast<SpiceChannel *>(s->inputs_) == channel) {
            s->inputs_ = nullptr;
            s->pressed_.clear();
            s->buttons_ = 0;
        }
        s->signals_.remove_if([channel](const SignalConnection &c) { return c.instance() == channel; });
    }
    /// Absolute positions need no pointer grab, so they are asked for whenever the guest leaves that mode.
    static void mouse_update(SpiceChannel *channel, gpointer)
    {
        int mode = 0;
        g_object_get(channel, "mouse-mode", &mode, nullptr);
        if (mode != SPICE_MOUSE_MODE_CLIENT)
            spice_main_channel_request_mouse_mode(SPICE_MAIN_CHANNEL(channel), SPICE_MOUSE_MODE_CLIENT);
    }

    static gboolean key_pressed(GtkEventControllerKey *, guint, guint code, GdkModifierType, gpointer data)
    {
        self(data)->key(code, true);
        return TRUE;
    }
    static void key_released(GtkEventControllerKey *, guint, guint code, GdkModifierType, gpointer data)
    {
        self(data)->key(code, false);
    }
    static void focus_left(GtkEventController *, gpointer data) { self(data)->release_keys(); }
    static void motion(GtkEventControllerMotion *, double x, double y, gpointer data) { self(data)->move(x, y); }
    static gboolean any(GtkEventControllerLegacy *, GdkEvent *event, gpointer data)
    {
        InputForwarder *s = self(data);
        const GdkEventType type = gdk_event_get_event_type(event);
        switch (type) {
        case GDK_BUTTON_PRESS:
        case GDK_BUTTON_RELEASE:
            s->move(event);
            s->button(gdk_button_event_get_button(event), type == GDK_BUTTON_PRESS);
            break;
        case GDK_TOUCH_BEGIN: // the first finger is the pointer with its left button
        case GDK_TOUCH_UPDATE:
        case GDK_TOUCH_END:
        case GDK_TOUCH_CANCEL:
            if (!gdk_touch_event_get_emulating_pointer(event))
                break;
            s->move(event);
            if (type != GDK_TOUCH_UPDATE)
                s->button(GDK_BUTTON_PRIMARY, type == GDK_TOUCH_BEGIN);
            break;
        default:
            break;
        }
        return FALSE;
    }
    static gboolean scroll(GtkEventControllerScroll *, double, double dy, gpointer data)
    {
        self(data)->scroll(dy);
        return TRUE;
    }
};

InputForwarder::InputForwarder(SpiceSession *session, GtkWidget *widget, std::function<Fit()> fit_in_widget)
    : widget_(widget), fit_(std::move(fit_in_widget))
{
    signals_.emplace_back(session, "channel-new", G_CALLBACK(InputSignals::channel_new), this);
    signals_.emplace_back(session, "channel-destroy", G_CALLBACK(InputSignals::channel_destroy), this);

    auto add = [&](GtkEventController *controller, std::initializer_list<std::pair<const char *, GCallback>> handlers) {
        for (const auto &[signal, handler] : handlers)
            signals_.emplace_back(controller, signal, handler, this);
        gtk_widget_add_controller(widget, controller);
    };
    add(gtk_event_controller_key_new(), {{"key-pressed", G_CALLBACK(InputSignals::key_pressed)},
                                         {"key-released", G_CALLBACK(InputSignals::key_released)}});
    add(gtk_event_controller_focus_new(), {{"leave", G_CALLBACK(InputSignals::focus_left)}});
    add(gtk_event_controller_motion_new(),
        {{"motion", G_CALLBACK(InputSignals::motion)}, {"enter", G_CALLBACK(InputSignals::motion)}});
    add(gtk_event_controller_scroll_new(GTK_EVENT_CONTROLLER_SCROLL_VERTICAL),
        {{"scroll", G_CALLBACK(InputSignals::scroll)}});
    // A gesture knows one button at a time.
    add(gtk_event_controller_legacy_new(), {{"event", G_CALLBACK(InputSignals::any)}});
}

bool InputForwarder::guest_position(double x, double y, int &guest_x, int &guest_y) const
{
    Fit fit = fit_();
    if (fit.empty())
        return false;
    guest_x = std::clamp(static_cast<int>(std::floor((x - fit.x) / fit.scale_x())), 0, fit.guest_width - 1);
    guest_y = std::clamp(static_cast<int>(std::floor((y - fit.y) / fit.scale_y())), 0, fit.guest_height - 1);
    return true;
}

void InputForwarder::move(double x, double y)
{
    int guest_x = 0;
    int guest_y = 0;
    if (!inputs_ || !guest_position(x, y, guest_x, guest_y))
        return;
    relative_.person_is_at(guest_x, guest_y);
    if (sends_positions())
        spice_inputs_channel_position(inputs_, guest_x, guest_y, 0, buttons_);
    else
        lead_guest();
}

bool InputForwarder::sends_positions() const
{
    int mode = SPICE_MOUSE_MODE_CLIENT;
    if (main_)
        g_object_get(main_, "mouse-mode", &mode, nullptr);
    return mode == SPICE_MOUSE_MODE_CLIENT;
}

void InputForwarder::lead_guest()
{
    if (!inputs_ || sends_positions())
        return;
    if (auto motion = relative_.next(monotonic_now()))
        spice_inputs_channel_motion(inputs_, motion->dx, motion->dy, buttons_);
}

void InputForwarder::move(GdkEvent *event)
{
    GtkNative *native = gtk_widget_get_native(widget_);
    double x = 0;
    double y = 0;
    double native_x = 0;
    double native_y = 0;
    gtk_native_get_surface_transform(native, &native_x, &native_y);
    if (gdk_event_get_position(event, &x, &y)
        && gtk_widget_translate_coordinates(GTK_WIDGET(native), widget_, x - native_x, y - native_y, &x, &y))
        move(x, y);
}

void InputForwarder::button(unsigned gtk_button, bool down)
{
    if (down)
        gtk_widget_grab_focus(widget_);
    if (!inputs_ || gtk_button < 1 || gtk_button > 3)
        return;
    int spice_button = static_cast<int>(gtk_button); // left, middle, right have the same numbers
    int mask = 1 << (spice_button - 1);
    buttons_ = down ? buttons_ | mask : buttons_ & ~mask;
    if (down)
        spice_inputs_channel_button_press(inputs_, spice_button, buttons_);
    else
        spice_inputs_channel_button_release(inputs_, spice_button, buttons_);
}

void InputForwarder::scroll(double dy)
{
    if (!inputs_)
        return;
    scrolled_ = std::clamp(scrolled_ + dy, -20.0, 20.0);
    for (; std::abs(scrolled_) >= 1; scrolled_ -= std::copysign(1, scrolled_)) {
        int spice_button = scrolled_ < 0 ? SPICE_MOUSE_BUTTON_UP : SPICE_MOUSE_BUTTON_DOWN;
        spice_inputs_channel_button_press(inputs_, spice_button, buttons_);
        spice_inputs_channel_button_release(inputs_, spice_button, buttons_);
    }
}

void InputForwarder::key(unsigned hardware_keycode, bool down)
{
    constexpr unsigned kEvdevOffset = 8; // of the keycodes in XKB keymaps
    unsigned scancode = hardware_keycode >= kEvdevOffset ? scancode_for_evdev(hardware_keycode - kEvdevOffset) : 0;
    if (!inputs_ || !scancode)
        return;
    if (down) {
        spice_inputs_channel_key_press(inputs_, scancode);
        pressed_.insert(scancode);
    } else if (pressed_.erase(scancode)) {
        spice_inputs_channel_key_release(inputs_, scancode);
    }
}

void InputForwarder::release_keys()
{
    for (unsigned scancode : pressed_)
        if (inputs_)
            spice_inputs_channel_key_release(inputs_, scancode);
    pressed_.clear();
}

} // namespace spice_overlay
