// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/common/spice-overlay-guest.h"

#include <string>

namespace spice_overlay::gst {

/// The process's one connection to the agent at `socket_path` (empty: the default), kept until the process ends: elements come
/// and go with every file that is played. Any thread. NULL only without memory.
[[nodiscard]] spice_overlay_guest *agent_link(const std::string &socket_path);

} // namespace spice_overlay::gst
