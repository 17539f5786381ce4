// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "findings.h"

struct wl_display;

namespace spice_overlay {
class WaylandConnection;
}

namespace spice_overlay::doctor {

/// What the compositor says of itself; `connection` is null where the presenter cannot use it. Makes a round trip.
[[nodiscard]] CompositorFacts examine_compositor(wl_display *display, const WaylandConnection *connection);

} // namespace spice_overlay::doctor
