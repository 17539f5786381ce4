// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/access_unit.h"

#include <cstddef>
#include <cstdint>
#include <deque>

namespace spice_overlay::guest {

/// A stream's units in decoding order: those that have gone, from a key unit on, so that who comes anew can be shown the
/// present at once; and those that wait. A unit's pts is guest time here. One without data stands for one that was left out.
class UnitQueue {
public:
    static constexpr std::size_t kMostKept = 8u << 20; ///< bytes of units that have gone; beyond, none is kept
    static constexpr std::size_t kMostUnitsKept = 1024;

    void push(Unit unit);

    /// The one that goes next; null when none waits.
    [[nodiscard]] const Unit *next() const { return gone_ < units_.size() ? &units_[gone_] : nullptr; }
    void advance(); ///< next() has gone
    void advance_all();

    /// The earliest pts of those that go next. Decoding order differs from that of the pictures by so few units that only
    /// those are looked at. Only when one waits.
    [[nodiscard]] std::int64_t earliest_pts() const;

    /// Goes back (or on) to the key unit of the picture that is seen at `now`, or the first that there is. False: there is no
    /// key unit, and nothing waits any more.
    [[nodiscard]] bool rewind(std::int64_t now);

    /// Forgets what rewind() would not go back to. What waits stays.
    void trim(std::int64_t now);
    void clear();

    [[nodiscard]] std::size_t units_waiting() const { return units_.size() - gone_; }
    [[nodiscard]] std::size_t bytes_waiting() const { return bytes_waiting_; }
    [[nodiscard]] std::size_t bytes_of_next(std::size_t units) const;
    [[nodiscard]] std::size_t bytes_kept() const { return bytes_kept_; }

private:
    void forget_first(std::size_t count);
    void go_to(std::size_t index);

    std::deque<Unit> units_;
    std::size_t gone_ = 0; ///< units before this one have gone
    std::size_t bytes_waiting_ = 0;
    std::size_t bytes_kept_ = 0;
};

} // namespace spice_overlay::guest
