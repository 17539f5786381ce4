// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/linux/window_tracker.h"
#include "portclient/base/result.h"

#include <cstdint>
#include <memory>
#include <string>

namespace spice_overlay::guest {

/// Where one stream's window is. Connected to the X server only while it is wanted: else nothing runs. One thread at a time.
class Follower {
public:
    /// Connects to the X server, to see whether it can be done.
    [[nodiscard]] static Result<std::unique_ptr<Follower>> open(const std::string &display_name, const Target &target);

    /// Begins or ends following. When following has ended, nothing is found.
    void want(bool wanted, std::int64_t now);

    [[nodiscard]] int fd() const;                ///< for poll(), to be read; -1 none
    [[nodiscard]] std::int64_t deadline() const; ///< as WindowTracker's
    void dispatch(std::int64_t now);

    [[nodiscard]] const Placement &placement() const { return placement_; }

private:
    Follower(std::string display_name, Target target)
        : display_name_(std::move(display_name)), target_(std::move(target))
    {
    }
    [[nodiscard]] Status connect();
    void disconnect();

    std::string display_name_;
    Target target_;
    Placement placement_;
    std::unique_ptr<WindowTracker> tracker_;
    std::int64_t try_again_at_ = 0; ///< when there is no X server while one is wanted
    bool wanted_ = false;
};

} // namespace spice_overlay::guest
