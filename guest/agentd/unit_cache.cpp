// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit_cache.h"

#include <algorithm>

namespace spice_overlay::guest {

Unit copy_of(const wire::AccessUnit &unit)
{
    Unit copy;
    copy.data.assign(unit.data.begin(), unit.data.end());
    copy.pts = copy.dts = unit.pts;
    copy.key = unit.flags & wire::kKey;
    copy.droppable = unit.flags & wire::kDroppable;
    copy.discontinuity = unit.flags & wire::kDiscontinuity;
    return copy;
}

bool MemoryShare::resize(std::size_t bytes)
{
    if (bytes > bytes_ && bytes - bytes_ > std::min(player_.left, all_.left))
        return false;
    for (MemoryBudget *budget : {&player_, &all_})
        budget->left = budget->left + bytes_ - bytes;
    bytes_ = bytes;
    return true;
}

void UnitCache::add(const wire::AccessUnit &unit)
{
    bool key = unit.flags & wire::kKey;
    if (key)
        clear();
    end_++;
    if (!key && units_.empty())
        return;
    std::size_t bytes = memory_.bytes() + unit.data.size() + sizeof(Unit);
    if (units_.size() >= kMostUnits || bytes > limit_ || !memory_.resize(bytes)) {
        clear();
        overflows_++;
        return;
    }
    units_.push_back(copy_of(unit));
}

void UnitCache::clear()
{
    (void)memory_.resize(0);
    units_.clear();
}

} // namespace spice_overlay::guest
