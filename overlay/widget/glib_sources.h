// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/clock.h"

#include <glib-object.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace spice_overlay {

/// A timer of the default main context that costs nothing to set again. Main thread: set() from elsewhere would not wake
/// the loop. The callback may set it, not destroy it.
class MainTimer {
public:
    explicit MainTimer(std::function<void()> callback);
    ~MainTimer();
    MainTimer(const MainTimer &) = delete;
    MainTimer &operator=(const MainTimer &) = delete;

    /// `at`: ns of CLOCK_MONOTONIC; negative: never. A time that has passed fires in the next iteration.
    void set(std::int64_t at);

private:
    struct Source;
    Source *source_;
};

/// Calls back whenever a borrowed descriptor is readable or has failed. The callback may destroy the watch.
class FdWatch {
public:
    FdWatch(int fd, std::function<void()> callback);
    ~FdWatch();
    FdWatch(const FdWatch &) = delete;
    FdWatch &operator=(const FdWatch &) = delete;

private:
    unsigned id_;
};

/// A source that asks `ready` before and after each poll and calls `dispatch` when it says yes.
class CheckSource {
public:
    CheckSource(std::function<bool()> ready, std::function<void()> dispatch);
    ~CheckSource();
    CheckSource(const CheckSource &) = delete;
    CheckSource &operator=(const CheckSource &) = delete;

private:
    struct Source;
    Source *source_;
};

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
