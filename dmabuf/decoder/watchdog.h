// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <semaphore>
#include <thread>

namespace spice_overlay {

/// Sees that calls into a driver return. While nothing is watched it sleeps; while the watched come and go it looks once in a
/// while and costs them no system call.
class Watchdog {
public:
    /// `bite` is called once, from a thread of its own, when a call takes longer than `patience` (up to half as much again); it is not to
    /// return.
    Watchdog(std::chrono::milliseconds patience, std::function<void()> bite);
    ~Watchdog();

    /// Watches while it lives. One at a time.
    class Watch {
    public:
        explicit Watch(Watchdog &dog) : dog_(dog) { dog_.begin(); }
        ~Watch() { ++dog_.calls_; }
        Watch(const Watch &) = delete;
        Watch &operator=(const Watch &) = delete;

    private:
        Watchdog &dog_;
    };
    /// Looks away while it lives, within a Watch: for work that is not the driver's.
    class Pause {
    public:
        explicit Pause(Watchdog &dog) : dog_(dog) { ++dog_.calls_; }
        ~Pause() { dog_.begin(); }
        Pause(const Pause &) = delete;
        Pause &operator=(const Pause &) = delete;

    private:
        Watchdog &dog_;
    };

private:
    void begin();
    void run();

    const std::chrono::milliseconds patience_;
    const std::function<void()> bite_;
    std::atomic<unsigned> calls_ = 0; ///< odd: one is under way
    std::atomic<bool> asleep_ = true;
    std::atomic<bool> end_ = false;
    std::binary_semaphore wake_{0};
    std::thread thread_; ///< last: it uses the rest
};

} // namespace spice_overlay
