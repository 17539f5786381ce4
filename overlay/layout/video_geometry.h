// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/region/region.h"
#include "portclient/wire/messages.h"

#include <optional>

namespace spice_overlay {

/// wire::Geometry in this room's terms. The visible region lies inside the target and inside the display.
struct VideoGeometry {
    /// A visible region that takes more (256 rectangles that cross each other make thousands) is taken for none: nothing of the video is
    /// seen, and nobody reckons with it.
    static constexpr std::size_t kMostBoxes = 512;

    std::uint32_t serial = 0;
    GuestRect target;
    wire::SourceCrop crop;
    std::optional<std::uint32_t> placeholder; ///< 0x00RRGGBB
    GuestRegion visible;

    VideoGeometry() = default;
    /// `geometry` has been checked by the wire decoder: coordinates cannot overflow.
    VideoGeometry(const wire::Geometry &geometry, const GuestRect &display);
};

} // namespace spice_overlay
