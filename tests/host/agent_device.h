// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <spice.h>

namespace spice_overlay::host {

/// A guest agent that listens to nobody: clients ask for another display size only where there is an agent, and
/// spice-server itself hands that wish to the QXL device.
class AgentDevice {
public:
    /// `server` must be initialised; this lives until spice_server_destroy().
    explicit AgentDevice(SpiceServer *server);
    AgentDevice(const AgentDevice &) = delete;
    AgentDevice &operator=(const AgentDevice &) = delete;

private:
    SpiceCharDeviceInstance instance_{};
};

} // namespace spice_overlay::host
