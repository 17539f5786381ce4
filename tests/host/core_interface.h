// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <spice.h>

#include <functional>

namespace spice_overlay::host {

/// spice-server's timers and watches on GLib's default main context.
/// spice-server keeps the pointer, and its channel events carry no context: one for the whole process.
SpiceCoreInterface *core_interface();

/// Called on the main loop for every channel that appears or goes: one of SPICE_CHANNEL_EVENT_*, and SPICE_CHANNEL_*.
void on_channel_event(std::function<void(int event, int channel_type)> handler);

} // namespace spice_overlay::host
