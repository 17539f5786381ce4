// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace spice_overlay {

/// A limit on how much happens in a second, counted from the first that happens.
class MessageRate {
public:
    explicit MessageRate(std::uint32_t most) : most_(most) {}

    /// One more, at `now` (ns of CLOCK_MONOTONIC). False: it is beyond the limit.
    [[nodiscard]] bool count(std::int64_t now)
    {
        if (now - began_ >= 1'000'000'000) {
            began_ = now;
            count_ = 0;
        }
        return ++count_ <= most_;
    }

    /// The first beyond the limit, and none behind it, until the second is over.
    [[nodiscard]] bool just_exceeded() const { return count_ == most_ + 1; }

private:
    std::uint32_t most_;
    std::uint32_t count_ = 0;
    std::int64_t began_ = 0;
};

} // namespace spice_overlay
