// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "input.h"
#include "overlay/layout/plan.h"

namespace spice_overlay::fuzz {

/// Holds a video that is to be shown to where it may be. `clip`: its target, as far as it is on the display.
inline void require_in_place(const VideoPlan &video, const GuestRect &clip, const Fit &fit)
{
    const SurfaceRect &r = video.rect;
    require(!r.empty() && r.x1 >= 0 && r.y1 >= 0 && r.x2 <= fit.width && r.y2 <= fit.height,
            "no video outside the desktop's surface");
    // A whole pixel further than the clip at the most.
    require(r.x1 + 1 > clip.x1 * fit.scale_x() - 1e-6 && r.x2 - 1 < clip.x2 * fit.scale_x() + 1e-6
                && r.y1 + 1 > clip.y1 * fit.scale_y() - 1e-6 && r.y2 - 1 < clip.y2 * fit.scale_y() + 1e-6,
            "no video outside its clip");
    const SourcePart &s = video.source;
    require(s.x >= 0 && s.y >= 0 && s.width > 0 && s.height > 0 && s.x + s.width <= 1 + 1e-9
                && s.y + s.height <= 1 + 1e-9,
            "no sample outside the picture");
}

} // namespace spice_overlay::fuzz
