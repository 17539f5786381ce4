// SPDX-License-Identifier: LGPL-2.1-or-later
#include "outbox.h"

#include <algorithm>

namespace spice_overlay::guest {

void Outbox::control(const wire::Message &message)
{
    const auto *geometry = std::get_if<wire::Geometry>(&message);
    Entry entry{geometry ? geometry->stream : 0, {}};
    wire::encode(message, entry.bytes);
    if (geometry) {
        auto older = std::find_if(control_.begin(), control_.end(),
                                  [&](const Entry &e) { return e.geometry_of == geometry->stream; });
        if (older != control_.end()) {
            *older = std::move(entry);
            return;
        }
    }
    control_.push_back(std::move(entry));
}

bool Outbox::take_control()
{
    if (control_.empty())
        return false;
    current_ = std::move(control_.front().bytes);
    control_.pop_front();
    return true;
}

void Outbox::clear()
{
    control_.clear();
    current_.clear();
    written_ = 0;
}

} // namespace spice_overlay::guest
