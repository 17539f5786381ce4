// SPDX-License-Identifier: LGPL-2.1-or-later
#include "message_bar.h"

#include "overlay/widget/style.h"

#include <utility>

namespace spice_overlay {

namespace {

constexpr unsigned kNoteSeconds = 8;

/// Colours of its own: it has to be read over any desktop, in any theme.
constexpr const char *kStyle =
    ".spice-overlay-message { background: #2d2d2d; padding: 6px 12px; }"
    ".spice-overlay-message > label { color: #ffffff; }"
    ".spice-overlay-message.warning { background: #a40000; }"
    ".spice-overlay-message > button { background: #4a4a4a; color: #ffffff; border: 1px solid #6a6a6a; box-shadow: "
    "none; "
    "text-shadow: none; }"
    ".spice-overlay-message > button:hover, .spice-overlay-message > button:focus { background: #3465a4; }";

} // namespace

struct MessageBarSignals {
    static MessageBar *self(gpointer data) { return static_cast<MessageBar *>(data); }

    static void reconnect(GtkButton *, gpointer data) { self(data)->handlers_.reconnect(); }
    static void close(GtkButton *, gpointer data) { self(data)->handlers_.close(); }
    static void dismiss(GtkButton *, gpointer data) { self(data)->hide(); }
    static gboolean time_is_up(gpointer data)
    {
        self(data)->timer_ = 0;
        self(data)->hide();
        return G_SOURCE_REMOVE;
    }
};

MessageBar::MessageBar(Handlers handlers) : handlers_(std::move(handlers))
{
    add_style(gdk_display_get_default(), kStyle);
    box_ =
        GTK_WIDGET(g_object_ref_sink(g_object_new(GTK_TYPE_BOX, "accessible-role", GTK_ACCESSIBLE_ROLE_ALERT, "spacing",
                                                  8, "valign", GTK_ALIGN_START, "visible", FALSE, nullptr)));
    gtk_widget_add_css_class(box_, "spice-overlay-message");
    label_ = gtk_label_new(nullptr);
    gtk_label_set_xalign(GTK_LABEL(label_), 0);
    gtk_label_set_wrap(GTK_LABEL(label_), TRUE);
    gtk_widget_set_hexpand(label_, TRUE);
    gtk_box_append(GTK_BOX(box_), label_);
    auto button = [this](const char *text, GCallback clicked) {
        GtkWidget *made = gtk_button_new_with_mnemonic(text);
        gtk_widget_set_valign(made, GTK_ALIGN_CENTER);
        g_signal_connect(made, "clicked", clicked, this);
        gtk_box_append(GTK_BOX(box_), made);
        return made;
    };
    reconnect_ = button("_Reconnect", G_CALLBACK(MessageBarSignals::reconnect));
    close_ = button("_Close", G_CALLBACK(MessageBarSignals::close));
    dismiss_ = button("Dismiss", G_CALLBACK(MessageBarSignals::dismiss));
    gtk_widget_set_focusable(dismiss_, FALSE); // the keyboard stays with the guest
}

MessageBar::~MessageBar()
{
    if (timer_)
        g_source_remove(timer_);
    for (GtkWidget *button : {reconnect_, close_, dismiss_})
        g_signal_handlers_disconnect_by_data(button, this);
    g_object_unref(box_);
}

void MessageBar::say(const std::string &text)
{
    show(Kind::kSaying, text);
}

void MessageBar::ask(const std::string &text)
{
    show(Kind::kAsking, text);
    gtk_widget_grab_focus(reconnect_);
}

void MessageBar::note(const std::string &text)
{
    if (kind_ == Kind::kAsking)
        return;
    show(Kind::kNoting, text);
    timer_ = g_timeout_add_seconds(kNoteSeconds, MessageBarSignals::time_is_up, this);
}

void MessageBar::warn(const std::string &text)
{
    note(text);
    gtk_widget_add_css_class(box_, "warning");
}

void MessageBar::hide()
{
    show(Kind::kHidden, {});
}

void MessageBar::show(Kind kind, const std::string &text)
{
    if (timer_)
        g_source_remove(std::exchange(timer_, 0));
    gtk_widget_remove_css_class(box_, "warning");
    bool was_shown = std::exchange(kind_, kind) != Kind::kHidden;
    bool shown = kind != Kind::kHidden;
    if (shown)
        gtk_label_set_text(GTK_LABEL(label_), text.c_str());
    gtk_widget_set_visible(reconnect_, kind == Kind::kAsking);
    gtk_widget_set_visible(close_, kind == Kind::kAsking);
    gtk_widget_set_visible(dismiss_, kind == Kind::kNoting);
    gtk_widget_set_visible(box_, shown);
    if (shown != was_shown)
        handlers_.shown(shown);
}

} // namespace spice_overlay
