// SPDX-License-Identifier: LGPL-2.1-or-later
#include "compositor.h"

#include "dmabuf/device.h"
#include "dmabuf/formats.h"
#include "overlay/present/wayland/connection.h"
#include "overlay/present/wayland/linux_dmabuf.h"

#include <sys/socket.h>
#include <wayland-client.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace spice_overlay::doctor {

namespace {

/// What is used where it is there, and what is lost without it.
struct Wanted {
    const char *interface;
    std::uint32_t version;
    const char *loss;
};
constexpr Wanted kWanted[] = {
    {"zwp_linux_dmabuf_v1", 4, "frames are copied into GPU memory"},
    {"wp_presentation", 1, "nobody knows when a frame was seen"},
    {"wp_color_representation_manager_v1", 1, "films in BT.709 or full range are converted by the processor"},
    {"wp_content_type_manager_v1", 1, "the display does not know that it shows a film"},
    {"wp_linux_drm_syncobj_manager_v1", 1, "the GPU and the compositor wait for each other by implicit fences"},
    {"wp_single_pixel_buffer_manager_v1", 1, "the compositor reads the black around the desktop from memory"},
    {"wp_fractional_scale_manager_v1", 1, "a scaled display is drawn at the next whole scale"},
};

void add_global(void *data, wl_registry *, std::uint32_t, const char *interface, std::uint32_t version)
{
    static_cast<std::vector<Global> *>(data)->push_back({interface, version});
}

std::vector<Global> globals_of(wl_display *display)
{
    static const wl_registry_listener listener = {add_global, [](void *, wl_registry *, std::uint32_t) {}};
    std::vector<Global> found;
    const WaylandPtr<wl_registry, wl_registry_destroy> registry(wl_display_get_registry(display));
    wl_registry_add_listener(registry.get(), &listener, &found);
    wl_display_roundtrip(display);
    std::sort(found.begin(), found.end(), [](const Global &a, const Global &b) { return a.name < b.name; });
    return found;
}

/// No protocol tells it, but the socket has a process at its other end.
std::string program_behind(wl_display *display)
{
    ucred peer = {};
    socklen_t size = sizeof peer;
    std::string name;
    if (::getsockopt(wl_display_get_fd(display), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
        std::ifstream file("/proc/" + std::to_string(peer.pid) + "/comm");
        std::getline(file, name);
    }
    return name;
}

/// wl_shm has numbers of its own for two formats.
std::uint32_t fourcc_of_shm(std::uint32_t code)
{
    return code == WL_SHM_FORMAT_ARGB8888 ? kFourccArgb8888 : code == WL_SHM_FORMAT_XRGB8888 ? kFourccXrgb8888 : code;
}

} // namespace

CompositorFacts examine_compositor(wl_display *display, const WaylandConnection *connection)
{
    CompositorFacts facts;
    const char *socket = std::getenv("WAYLAND_DISPLAY");
    facts.socket = socket ? socket : "wayland-0";
    facts.program = program_behind(display);
    facts.globals = globals_of(display);
    for (const Wanted &wanted : kWanted) {
        const auto global = std::find_if(facts.globals.begin(), facts.globals.end(),
                                         [&](const Global &g) { return g.name == wanted.interface; });
        if (global == facts.globals.end())
            facts.missing.push_back(std::string(wanted.interface) + ": " + wanted.loss);
        else if (global->version < wanted.version)
            facts.missing.push_back(std::string(wanted.interface) + " version " + std::to_string(wanted.version)
                                    + " (it has " + std::to_string(global->version) + "): " + wanted.loss);
    }
    if (!connection)
        return facts;
    for (const std::uint32_t code : connection->shm_formats())
        facts.shm_formats.push_back(fourcc_of_shm(code));
    if (const LinuxDmabuf *dmabuf = connection->linux_dmabuf()) {
        facts.dmabufs = dmabuf->feedback();
        facts.dmabuf_version = dmabuf->version();
        if (facts.dmabufs.has_device)
            if (auto device = find_drm_device(facts.dmabufs.main_device))
                facts.device_driver = device->driver;
    }
    return facts;
}

} // namespace spice_overlay::doctor
