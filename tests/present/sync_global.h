// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "surfaces.h"

namespace spice_overlay {

/// wp_linux_drm_syncobj_manager_v1, where this build has the protocol and `without` does not name it.
void add_sync_global(wl_display *server, Surfaces &surfaces, const std::vector<std::string> &without);

/// What a commit would be told that breaks the protocol's rules; null: nothing.
const char *sync_error(const Surfaces::Surface &surface);

} // namespace spice_overlay
