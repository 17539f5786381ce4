// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent_link.h"

#include <map>
#include <mutex>

namespace spice_overlay::gst {

spice_overlay_guest *agent_link(const std::string &socket_path)
{
    // Never destroyed: threads of the process may outlive its static objects.
    static auto &links = *new std::map<std::string, spice_overlay_guest *>;
    static auto &mutex = *new std::mutex;
    std::lock_guard lock(mutex);
    spice_overlay_guest *&link = links[socket_path];
    if (!link)
        link = spice_overlay_guest_new(socket_path.empty() ? nullptr : socket_path.c_str(),
                                       "GStreamer plugin " SPICE_OVERLAY_VERSION);
    return link;
}

} // namespace spice_overlay::gst
