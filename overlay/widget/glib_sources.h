// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <glib.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace spice_overlay {

/// A timer of the default main context that costs nothing to set again. The callback may set it, not destroy it.
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

std::int64_t monotonic_now(); ///< ns

} // namespace spice_overlay
