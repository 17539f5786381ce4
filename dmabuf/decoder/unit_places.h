// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>

namespace spice_overlay {

/// Hands out places for access units in a block of memory, each in one piece, freed in the order they were taken. The
/// lowest gap that is large enough is used, so that memory further up is touched by oversized units alone. (A ring
/// would keep less account, but refuses units while most of it is free once a large one has gone through.) Offsets
/// only: no memory of its own.
class UnitPlaces {
public:
    UnitPlaces(std::size_t size, std::size_t max_units) : size_(size), max_units_(max_units) {}

    /// Offset of a place of `bytes` (not 0), or nothing when there is none.
    std::optional<std::size_t> put(std::size_t bytes);
    void undo_put(); ///< of the newest place

    /// Frees the oldest `units` places; false when there are not as many.
    [[nodiscard]] bool take(std::size_t units);

    [[nodiscard]] std::size_t units() const { return order_.size(); }
    [[nodiscard]] std::size_t high_water() const
    {
        return high_water_;
    } ///< end of the highest place since reset_high_water()
    void reset_high_water() { high_water_ = 0; }

private:
    std::size_t size_;
    std::size_t max_units_;
    std::size_t high_water_ = 0;
    std::map<std::size_t, std::size_t> used_; ///< offset to end
    std::deque<std::size_t> order_;           ///< offsets, oldest first
};

} // namespace spice_overlay
