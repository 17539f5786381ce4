// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/access_unit.h"
#include "portclient/wire/messages.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <vector>

namespace spice_overlay::guest {

/// Memory that several streams share: of one player, of all.
struct MemoryBudget {
    std::size_t left = 0; ///< bytes
};

/// What one holder has of a player's memory and of all, until it ends. The budgets outlive it.
class MemoryShare {
public:
    MemoryShare(MemoryBudget &player, MemoryBudget &all) : player_(player), all_(all) {}
    ~MemoryShare() { (void)resize(0); }
    MemoryShare(const MemoryShare &) = delete;
    MemoryShare &operator=(const MemoryShare &) = delete;

    /// False, with nothing changed: there is not so much.
    [[nodiscard]] bool resize(std::size_t bytes);
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    MemoryBudget &player_;
    MemoryBudget &all_;
    std::size_t bytes_ = 0;
};

/// A stream's current group of pictures: its units since the last key unit, for a client that begins to decode now.
/// Bounded: where the memory does not suffice, nothing is kept until the next key unit. Units are numbered from 0 as they
/// come, kept or not.
class UnitCache {
public:
    static constexpr std::size_t kMostUnits = 4096;

    /// `limit`: bytes of this cache alone. The budgets outlive it.
    UnitCache(std::size_t limit, MemoryBudget &player, MemoryBudget &all) : limit_(limit), memory_(player, all) {}

    void add(const wire::AccessUnit &unit);
    void clear(); ///< keeps nothing until the next key unit

    [[nodiscard]] bool empty() const { return units_.empty(); }
    [[nodiscard]] std::uint64_t begin() const { return end_ - units_.size(); } ///< number of the key unit, if any
    [[nodiscard]] std::uint64_t end() const { return end_; }                   ///< number of the next unit to come
    [[nodiscard]] const Unit &at(std::uint64_t number) const { return units_[number - begin()]; }
    [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }
    [[nodiscard]] std::uint64_t overflows() const { return overflows_; }

private:
    const std::size_t limit_;
    MemoryShare memory_;
    std::deque<Unit> units_;
    std::uint64_t end_ = 0;
    std::uint64_t overflows_ = 0;
};

/// A unit as it came from a player: times are those of the wire, ns of CLOCK_MONOTONIC.
[[nodiscard]] Unit copy_of(const wire::AccessUnit &unit);

} // namespace spice_overlay::guest
