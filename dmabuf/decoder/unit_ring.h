// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

namespace spice_overlay {

/// Hands out places for access units in a block of memory, first in, first out, each in one piece. Begins again at the start
/// whenever it can once `soft_size` is reached, so that pages further up are touched by oversized units alone.
/// Offsets only: no memory of its own.
class UnitRing {
public:
    UnitRing(std::size_t size, std::size_t soft_size, std::size_t max_units)
        : size_(size), soft_size_(soft_size), max_units_(max_units)
    {
    }

    /// Offset of a place of `bytes` (not 0), or nothing when there is none.
    std::optional<std::size_t> put(std::size_t bytes);

    /// Frees the oldest `units` places; false when there are not as many.
    [[nodiscard]] bool take(std::size_t units);

    void undo_put() { used_.pop_back(); } ///< of the newest place

    [[nodiscard]] std::size_t units() const { return used_.size(); }
    [[nodiscard]] std::size_t high_water() const { return high_water_; } ///< end of the highest place since reset_high_water()
    void reset_high_water() { high_water_ = 0; }

private:
    struct Place {
        std::size_t offset;
        std::size_t bytes;
    };

    std::size_t size_;
    std::size_t soft_size_;
    std::size_t max_units_;
    std::size_t high_water_ = 0;
    std::deque<Place> used_;
};

} // namespace spice_overlay
