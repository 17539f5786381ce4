// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace spice_overlay::guest {

/// Which players belong to the session that is shown: active, local, of a user, and not locked. It is their own user's, but
/// for root's players. One thread; never blocks.
class SessionWatch {
public:
    virtual ~SessionWatch() = default;

    /// A player by a number of the caller's. Until more is known it may not show video.
    virtual void add(int player, uid_t uid, pid_t pid) = 0;
    virtual void remove(int player) = 0;
    [[nodiscard]] virtual bool may_show(int player) const = 0;
    /// Whether enough has been asked to say so. What a player is told before would be taken for the last word.
    [[nodiscard]] virtual bool known(int player) const = 0;

    [[nodiscard]] virtual int fd() const = 0; ///< for poll(); -1: none
    [[nodiscard]] virtual short events() const = 0;
    [[nodiscard]] virtual std::int64_t deadline() const = 0; ///< for dispatch(); ns of CLOCK_MONOTONIC, negative: none
    /// To be called when fd() is ready, at the deadline, and after add(). An error is final: nothing is known any more.
    [[nodiscard]] virtual Status dispatch() = 0;
};

/// Asks logind on the system bus.
[[nodiscard]] Result<std::unique_ptr<SessionWatch>> watch_logind();
/// Where there are no sessions: everybody may show video.
[[nodiscard]] std::unique_ptr<SessionWatch> allow_all_sessions();
[[nodiscard]] bool has_logind();

} // namespace spice_overlay::guest
