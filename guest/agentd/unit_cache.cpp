// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit_cache.h"

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

void UnitCache::add(const wire::AccessUnit &unit)
{
    bool key = unit.flags & wire::kKey;
    if (key)
        clear();
    end_++;
    if (!key && units_.empty())
        return;
    std::size_t size = unit.data.size() + sizeof(Unit);
    if (units_.size() >= kMostUnits || size > own_.left || size > player_.left || size > all_.left) {
        clear();
        overflows_++;
        return;
    }
    for (MemoryBudget *budget : {&own_, &player_, &all_})
        budget->left -= size;
    bytes_ += size;
    units_.push_back(copy_of(unit));
}

void UnitCache::clear()
{
    for (MemoryBudget *budget : {&own_, &player_, &all_})
        budget->left += bytes_;
    bytes_ = 0;
    units_.clear();
}

} // namespace spice_overlay::guest
