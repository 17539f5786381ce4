// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <string>

typedef struct _SpiceChannel SpiceChannel;
typedef struct _SpiceSession SpiceSession;

namespace spice_overlay {

/// Sets up the session for a URI, or for a virt-viewer connection file (group [virt-viewer], type=spice), which is deleted afterwards
/// if it says so. Returns what to call the connection in messages.
Result<std::string> configure_session(SpiceSession *session, const std::string &target);

/// What a person is told about an event of the main channel (a SpiceChannelEvent) of the connection `name`; empty when
/// the event is no trouble.
std::string connection_trouble(SpiceChannel *main, int event, const std::string &name);

} // namespace spice_overlay
