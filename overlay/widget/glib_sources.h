// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/pace/statistics.h"
#include "portclient/base/clock.h"

#include <glib-object.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace spice_overlay {

// An iteration of GLib's main loop asks every source twice, and costs as much as showing a frame does; an ordinary source that watches a
// descriptor wakes the loop once more whenever it is called. So what happens for each frame happens while GLib waits: the timers
// and watches here are looked after by a poll function of the default main context (g_main_context_set_poll_func()), which
// returns to GLib when one of GLib's own descriptors or times has come. All of it is in the main thread. There may be iterations
// of the main loop between two calls, never within one.

/// A timer that costs nothing to set. Main thread.
class MainTimer {
public:
    /// The callback may set and destroy timers and watches, but not destroy this one.
    explicit MainTimer(std::function<void()> callback);
    ~MainTimer();
    MainTimer(const MainTimer &) = delete;
    MainTimer &operator=(const MainTimer &) = delete;

    /// `at`: ns of CLOCK_MONOTONIC; negative: never. A time that has passed fires when the main loop waits next.
    void set(std::int64_t at) { at_ = at; }

private:
    friend struct PollHook;
    std::function<void()> callback_;
    std::int64_t at_ = -1;
};

/// Calls back whenever a borrowed descriptor is readable or has failed. The callback may destroy the watch. Main thread.
class FdWatch {
public:
    FdWatch(int fd, std::function<void()> callback);
    ~FdWatch();
    FdWatch(const FdWatch &) = delete;
    FdWatch &operator=(const FdWatch &) = delete;

private:
    friend struct PollHook;
    int fd_;
    std::function<void()> callback_;
};

/// To be called when the callback of a timer or a watch has given GLib something to do (a source, a task, a redraw): else
/// GLib notices when it is woken next.
void return_to_glib();

/// How long the main loop was busy each time, from the moment that something woke it until it waited again: as long as a key
/// or a motion of the pointer may have had to wait. Counted while there is a timer or a watch.
[[nodiscard]] const DurationHistogram &main_loop_turns();

/// A signal handler that is disconnected with this object. Holds a reference on the instance.
class SignalConnection {
public:
    SignalConnection(gpointer instance, const char *signal, GCallback handler, gpointer data, bool after = false)
        : instance_(G_OBJECT(g_object_ref(instance))),
          id_(g_signal_connect_data(instance, signal, handler, data, nullptr, after ? G_CONNECT_AFTER : GConnectFlags{}))
    {
    }
    ~SignalConnection()
    {
        g_signal_handler_disconnect(instance_, id_);
        g_object_unref(instance_);
    }
    SignalConnection(const SignalConnection &) = delete;
    SignalConnection &operator=(const SignalConnection &) = delete;

    [[nodiscard]] gpointer instance() const { return instance_; }

private:
    GObject *instance_;
    gulong id_;
};

} // namespace spice_overlay
