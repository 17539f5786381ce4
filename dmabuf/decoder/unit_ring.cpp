// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit_ring.h"

#include <algorithm>

namespace spice_overlay {

std::optional<std::size_t> UnitRing::put(std::size_t bytes)
{
    if (bytes == 0 || bytes > size_ || used_.size() >= max_units_)
        return std::nullopt;
    std::size_t offset = 0;
    if (!used_.empty()) {
        const std::size_t tail = used_.front().offset;
        const std::size_t head = used_.back().offset + used_.back().bytes;
        if (head > tail) { // in use: [tail, head)
            const bool fits_behind = bytes <= size_ - head;
            const bool fits_before = bytes <= tail;
            if (!fits_behind && !fits_before)
                return std::nullopt;
            offset = fits_before && (!fits_behind || head + bytes > soft_size_) ? 0 : head;
        } else { // free: [head, tail)
            if (bytes > tail - head)
                return std::nullopt;
            offset = head;
        }
    }
    used_.push_back({offset, bytes});
    high_water_ = std::max(high_water_, offset + bytes);
    return offset;
}

bool UnitRing::take(std::size_t units)
{
    if (units > used_.size())
        return false;
    used_.erase(used_.begin(), used_.begin() + static_cast<std::ptrdiff_t>(units));
    return true;
}

} // namespace spice_overlay
