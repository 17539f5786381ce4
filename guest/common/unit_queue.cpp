// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit_queue.h"

#include <algorithm>

namespace spice_overlay::guest {

void UnitQueue::push(Unit unit)
{
    bytes_waiting_ += unit.data.size();
    units_.push_back(std::move(unit));
}

void UnitQueue::advance()
{
    go_to(gone_ + 1);
}

void UnitQueue::advance_all()
{
    go_to(units_.size());
}

void UnitQueue::go_to(std::size_t index)
{
    for (; gone_ < index; gone_++) {
        bytes_waiting_ -= units_[gone_].data.size();
        bytes_kept_ += units_[gone_].data.size();
    }
    for (; gone_ > index; gone_--) {
        bytes_kept_ -= units_[gone_ - 1].data.size();
        bytes_waiting_ += units_[gone_ - 1].data.size();
    }
}

std::int64_t UnitQueue::earliest_pts() const
{
    constexpr std::size_t kMostReordered = 17; // H.264 and HEVC reorder 16 pictures at most
    std::int64_t earliest = INT64_MAX;
    for (std::size_t i = gone_; i < std::min(units_.size(), gone_ + kMostReordered); i++)
        earliest = std::min(earliest, units_[i].pts);
    return earliest;
}

std::size_t UnitQueue::bytes_of_next(std::size_t units) const
{
    std::size_t bytes = 0;
    for (std::size_t i = gone_; i < std::min(units_.size(), gone_ + units); i++)
        bytes += units_[i].data.size();
    return bytes;
}

bool UnitQueue::rewind(std::int64_t now)
{
    std::size_t found = units_.size();
    for (std::size_t i = 0; i < units_.size(); i++)
        if (units_[i].key && (found == units_.size() || units_[i].pts <= now))
            found = i;
    go_to(found);
    return found < units_.size();
}

void UnitQueue::trim(std::int64_t now)
{
    if (bytes_kept_ > kMostKept || gone_ > kMostUnitsKept)
        return forget_first(gone_);
    std::size_t begin = 0;
    for (std::size_t i = std::min(gone_, units_.size() - 1); i < units_.size() && i > 0; i--)
        if (units_[i].key && units_[i].pts <= now) {
            begin = i;
            break;
        }
    if (begin == 0 && gone_ > 0 && !units_[0].key) { // nothing can begin with these
        auto key = std::find_if(units_.begin(), units_.begin() + static_cast<std::ptrdiff_t>(gone_),
                                [](const Unit &unit) { return unit.key; });
        begin = static_cast<std::size_t>(key - units_.begin());
    }
    forget_first(begin);
}

void UnitQueue::forget_first(std::size_t count)
{
    for (std::size_t i = 0; i < count; i++) {
        bytes_kept_ -= units_[i].data.size();
    }
    units_.erase(units_.begin(), units_.begin() + static_cast<std::ptrdiff_t>(count));
    gone_ -= count;
}

void UnitQueue::clear()
{
    units_.clear();
    gone_ = bytes_waiting_ = bytes_kept_ = 0;
}

} // namespace spice_overlay::guest
