// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "wire/messages.h"

#include <cstdint>
#include <vector>

namespace spice_overlay {

/// How the guest's monotonic clock stands to the local one, from ping exchanges (docs/protocol.md, "Clocks"). In ns.
class ClockMap {
public:
    void reset() { *this = ClockMap(); }

    /// The next question to send.
    [[nodiscard]] wire::Ping ping(std::int64_t now);

    /// Takes the answer; ignores one that is not to a recent question, or not possible.
    void pong(const wire::Pong &pong, std::int64_t now);

    /// An access unit of that guest time has come: serves until the first pong.
    void first_unit(std::int64_t pts, std::int64_t now);

    /// The same instant on the local clock; unchanged while nothing is known.
    [[nodiscard]] std::int64_t to_local(std::int64_t guest_time) const { return guest_time - ahead_; }

private:
    struct Sample {
        std::int64_t round_trip;
        std::int64_t ahead;
    };
    static constexpr std::size_t kRecent = 8;

    std::uint32_t next_id_ = 1;
    std::vector<wire::Ping> asked_; ///< oldest first, as samples_: few, and mostly none
    std::vector<Sample> samples_;
    bool known_ = false;
    std::int64_t ahead_ = 0; ///< guest's clock minus local clock
};

} // namespace spice_overlay
