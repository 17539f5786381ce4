// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <spice-client.h>

#include <string>

namespace spice_overlay {

/// Sets up the session for a URI, or for a virt-viewer connection file (group [virt-viewer], type=spice), which is deleted afterwards
/// if it says so. Returns what to call the connection in messages.
Result<std::string> configure_session(SpiceSession *session, const std::string &target);

} // namespace spice_overlay
