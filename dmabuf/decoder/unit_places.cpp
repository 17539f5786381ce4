// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit_places.h"

#include <algorithm>

namespace spice_overlay {

std::optional<std::size_t> UnitPlaces::put(std::size_t bytes)
{
    if (bytes == 0 || order_.size() >= max_units_)
        return std::nullopt;
    std::size_t offset = 0;
    for (const auto &[start, end] : used_) {
        if (start - offset >= bytes)
            break;
        offset = end;
    }
    if (bytes > size_ - offset)
        return std::nullopt;
    used_.emplace(offset, offset + bytes);
    order_.push_back(offset);
    high_water_ = std::max(high_water_, offset + bytes);
    return offset;
}

void UnitPlaces::undo_put()
{
    used_.erase(order_.back());
    order_.pop_back();
}

bool UnitPlaces::take(std::size_t units)
{
    if (units > order_.size())
        return false;
    for (; units > 0; --units) {
        used_.erase(order_.front());
        order_.pop_front();
    }
    return true;
}

} // namespace spice_overlay
