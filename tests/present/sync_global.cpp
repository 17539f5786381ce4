// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sync_global.h"

#include "linux-drm-syncobj-v1-server-protocol.h"
#include "portclient/base/unique_fd.h"

#include <wayland-server.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace spice_overlay {

namespace {

using Surface = Surfaces::Surface;

void destroy(wl_client *, wl_resource *resource)
{
    wl_resource_destroy(resource);
}

Surfaces::SyncPoint point_of(wl_resource *timeline, std::uint32_t high, std::uint32_t low)
{
    const auto number = reinterpret_cast<std::uintptr_t>(wl_resource_get_user_data(timeline));
    return {static_cast<unsigned>(number), std::uint64_t{high} << 32 | low};
}

void get_surface(wl_client *client, wl_resource *, std::uint32_t id, wl_resource *of)
{
    static const struct wp_linux_drm_syncobj_surface_v1_interface implementation = {
        destroy,
        [](wl_client *, wl_resource *r, wl_resource *timeline, std::uint32_t high, std::uint32_t low) {
            static_cast<Surface *>(wl_resource_get_user_data(r))->pending.acquire = point_of(timeline, high, low);
        },
        [](wl_client *, wl_resource *r, wl_resource *timeline, std::uint32_t high, std::uint32_t low) {
            static_cast<Surface *>(wl_resource_get_user_data(r))->pending.release = point_of(timeline, high, low);
        }};
    auto *surface = static_cast<Surface *>(wl_resource_get_user_data(of));
    if (surface->explicit_sync)
        surface->errors.emplace_back("surface_exists");
    surface->explicit_sync = true;
    wl_resource *resource = wl_resource_create(client, &wp_linux_drm_syncobj_surface_v1_interface, 1, id);
    wl_resource_set_implementation(resource, &implementation, surface, [](wl_resource *r) {
        static_cast<Surface *>(wl_resource_get_user_data(r))->explicit_sync = false;
    });
}

void import_timeline(wl_client *client, wl_resource *manager, std::uint32_t id, std::int32_t fd)
{
    static const struct wp_linux_drm_syncobj_timeline_v1_interface implementation = {destroy};
    const UniqueFd closed(fd);
    auto *surfaces = static_cast<Surfaces *>(wl_resource_get_user_data(manager));
    wl_resource *resource = wl_resource_create(client, &wp_linux_drm_syncobj_timeline_v1_interface, 1, id);
    wl_resource_set_implementation(resource, &implementation,
                                   reinterpret_cast<void *>(std::uintptr_t{++surfaces->timelines}), nullptr);
}

} // namespace

void add_sync_global(wl_display *server, Surfaces &surfaces, const std::vector<std::string> &without)
{
    const wl_interface &interface = wp_linux_drm_syncobj_manager_v1_interface;
    if (std::find(without.begin(), without.end(), interface.name) != without.end())
        return;
    wl_global_create(server, &interface, 1, &surfaces,
                     [](wl_client *client, void *data, std::uint32_t, std::uint32_t id) {
                         static const struct wp_linux_drm_syncobj_manager_v1_interface implementation = {
                             destroy, get_surface, import_timeline};
                         wl_resource_set_implementation(
                             wl_resource_create(client, &wp_linux_drm_syncobj_manager_v1_interface, 1, id),
                             &implementation, data, nullptr);
                     });
}

const char *sync_error(const Surface &surface)
{
    if (!surface.explicit_sync)
        return nullptr;
    const Surfaces::State &s = surface.pending;
    const bool acquire = s.acquire.timeline != 0;
    const bool release = s.release.timeline != 0;
    if (!s.attached || s.kind == Surfaces::Kind::kNone)
        return acquire || release ? "no_buffer" : nullptr;
    if (s.kind != Surfaces::Kind::kDmabuf)
        return "unsupported_buffer";
    if (!acquire)
        return "no_acquire_point";
    if (!release)
        return "no_release_point";
    if (s.acquire.timeline == s.release.timeline && s.acquire.point >= s.release.point)
        return "conflicting_points";
    return nullptr;
}

} // namespace spice_overlay
