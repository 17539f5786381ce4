// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/region/region.h"

#include <cstddef>
#include <utility>

namespace spice_overlay {

/// Boxes. A guest may paint speckles, and a compositor that stands still keeps only so many requests: libwayland ends the connection then.
constexpr std::size_t kMostDamage = 256;

/// What has to be drawn again may always be more: where it takes more than kMostDamage boxes it becomes their bounding box.
inline void add_damage(GuestRegion &damage, const GuestRegion &more)
{
    auto all = damage.plus(more, kMostDamage);
    damage = all ? std::move(*all) : (GuestRegion(damage.bounds()) | more.bounds()).bounds();
}

} // namespace spice_overlay
