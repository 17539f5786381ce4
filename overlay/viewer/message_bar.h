// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtk/gtk.h>

#include <functional>
#include <string>

namespace spice_overlay {

/// One line for the person, along the top of the window: what has happened, and what can be done about it. Main thread.
class MessageBar {
public:
    struct Handlers {
        std::function<void(bool)> shown; ///< the bar appears, or disappears; with what the window draws next
        std::function<void()> reconnect;
        std::function<void()> close;
    };

    explicit MessageBar(Handlers handlers);
    ~MessageBar();
    MessageBar(const MessageBar &) = delete;
    MessageBar &operator=(const MessageBar &) = delete;

    /// For the window to own.
    [[nodiscard]] GtkWidget *widget() { return box_; }

    /// Until something else is said or hide().
    void say(const std::string &text);
    /// The same, with buttons to reconnect or to close, one of which has the keyboard.
    void ask(const std::string &text);
    /// For some seconds, or until it is dismissed. Not while asking: that matters more.
    void note(const std::string &text);
    /// A note in red.
    void warn(const std::string &text);
    void hide();

private:
    friend struct MessageBarSignals;
    enum class Kind { kHidden, kSaying, kAsking, kNoting };
    void show(Kind kind, const std::string &text);

    Handlers handlers_;
    GtkWidget *box_; ///< with a reference
    GtkWidget *label_;
    GtkWidget *reconnect_;
    GtkWidget *close_;
    GtkWidget *dismiss_;
    Kind kind_ = Kind::kHidden;
    unsigned timer_ = 0;
};

} // namespace spice_overlay
