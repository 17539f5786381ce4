// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent_device.h"

namespace spice_overlay::host {

AgentDevice::AgentDevice(SpiceServer *server)
{
    static const SpiceCharDeviceInterface table = [] {
        SpiceCharDeviceInterface made{};
        made.base.type = SPICE_INTERFACE_CHAR_DEVICE;
        made.base.description = "spice-overlay-host agent";
        made.base.major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR;
        made.base.minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR;
        made.state = [](SpiceCharDeviceInstance *, int) {};
        made.write = [](SpiceCharDeviceInstance *, const uint8_t *, int count) { return count; };
        made.read = [](SpiceCharDeviceInstance *, uint8_t *, int) { return 0; };
        return made;
    }();
    spice_server_set_agent_mouse(server, 0); // the tablet gets the pointer, as without an agent
    spice_server_set_agent_copypaste(server, 0);
    spice_server_set_agent_file_xfer(server, 0);
    instance_.base.sif = &table.base;
    instance_.subtype = "vdagent";
    spice_server_add_interface(server, &instance_.base);
}

} // namespace spice_overlay::host
