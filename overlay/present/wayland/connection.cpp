// SPDX-License-Identifier: LGPL-2.1-or-later
#include "connection.h"

#include "content-type-v1-client-protocol.h"
#include "linux-dmabuf-unstable-v1-client-protocol.h"
#include "linux_dmabuf.h"
#include "portclient/base/clock.h"
#include "presentation-time-client-protocol.h"
#include "single-pixel-buffer-v1-client-protocol.h"
#include "transport.h"
#include "viewporter-client-protocol.h"

#include <drm_fourcc.h>
#include <wayland-client.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace spice_overlay {

struct ConnectionEvents {
    static void global(void *data, wl_registry *registry, std::uint32_t name, const char *interface, std::uint32_t version)
    {
        auto *c = static_cast<WaylandConnection *>(data);
        auto bind = [&](const wl_interface &wanted, std::uint32_t max_version, auto *&slot) {
            if (!slot && std::string_view(interface) == wanted.name)
                slot = static_cast<std::remove_reference_t<decltype(slot)>>(
                    wl_registry_bind(registry, name, &wanted, std::min(version, max_version)));
        };
        bind(wl_compositor_interface, 4, c->compositor_);
        bind(wl_subcompositor_interface, 1, c->subcompositor_);
        bind(wl_shm_interface, 1, c->shm_);
        bind(wp_viewporter_interface, 1, c->viewporter_);
        bind(wp_presentation_interface, 1, c->presentation_);
        bind(wp_content_type_manager_v1_interface, 1, c->content_types_);
        bind(wp_single_pixel_buffer_manager_v1_interface, 1, c->single_pixels_);
        bind(zwp_linux_dmabuf_v1_interface, LinuxDmabuf::kMaxVersion, c->dmabuf_global_);
        if (!c->colours_)
            c->colours_ = ColourManager::bind(registry, name, interface);
        if (!c->explicit_sync_)
            c->explicit_sync_ = ExplicitSync::bind(registry, name, interface);
    }
    static void global_remove(void *, wl_registry *, std::uint32_t) {}

    static void shm_format(void *data, wl_shm *, std::uint32_t format)
    {
        static_cast<WaylandConnection *>(data)->shm_formats_.push_back(format);
    }
    static void clock_id(void *data, wp_presentation *, std::uint32_t clock)
    {
        static_cast<WaylandConnection *>(data)->presentation_clock_ = static_cast<int>(clock);
    }
};

WaylandConnection::WaylandConnection(wl_display *display, DmabufUse dmabufs)
    : display_(display), transport_(std::make_unique<Transport>(*this, dmabufs))
{
}

Result<std::unique_ptr<WaylandConnection>> WaylandConnection::connect(wl_display *display, DmabufUse dmabufs)
{
    static const wl_registry_listener registry_listener = {ConnectionEvents::global, ConnectionEvents::global_remove};
    static const wl_shm_listener shm_listener = {ConnectionEvents::shm_format};
    static const wp_presentation_listener presentation_listener = {ConnectionEvents::clock_id};

    // Round trips must not handle the events of others: they are made on a queue that lives as long as this function.
    WaylandPtr<wl_event_queue, wl_event_queue_destroy> queue(wl_display_create_queue(display));
    WaylandPtr<wl_display, wl_proxy_wrapper_destroy> wrapper(
        static_cast<wl_display *>(wl_proxy_create_wrapper(display)));
    if (!queue || !wrapper)
        return Error{"the Wayland display cannot be used: out of memory"};
    wl_proxy_set_queue(reinterpret_cast<wl_proxy *>(wrapper.get()), queue.get());
    WaylandPtr<wl_registry, wl_registry_destroy> registry(wl_display_get_registry(wrapper.get()));
    std::unique_ptr<WaylandConnection> c(new WaylandConnection(display, dmabufs));
    wl_registry_add_listener(registry.get(), &registry_listener, c.get());
    if (wl_display_roundtrip_queue(display, queue.get()) < 0)
        return Error{"the Wayland compositor does not answer"};
    if (!c->compositor_ || wl_compositor_get_version(c->compositor_) < 4 || !c->subcompositor_ || !c->shm_ ||
        !c->viewporter_)
        return Error{"the Wayland compositor lacks wl_compositor 4, wl_subcompositor, wl_shm or wp_viewporter: use one "
                     "that has them (Weston, Mutter, KWin and wlroots do)"};
    wl_shm_add_listener(c->shm_, &shm_listener, c.get());
    if (c->presentation_)
        wp_presentation_add_listener(c->presentation_, &presentation_listener, c.get());
    if (c->dmabuf_global_)
        c->linux_dmabuf_ = std::make_unique<LinuxDmabuf>(std::exchange(c->dmabuf_global_, nullptr),
                                                         [t = c->transport_.get()] { t->reconsider(); });
    if (wl_display_roundtrip_queue(display, queue.get()) < 0)
        return Error{"the Wayland compositor does not answer"};
    for (void *global :
         {static_cast<void *>(c->compositor_), static_cast<void *>(c->subcompositor_), static_cast<void *>(c->shm_),
          static_cast<void *>(c->viewporter_), static_cast<void *>(c->presentation_),
          static_cast<void *>(c->content_types_), static_cast<void *>(c->single_pixels_)})
        if (global)
            wl_proxy_set_queue(static_cast<wl_proxy *>(global), nullptr);
    if (c->colours_)
        c->colours_->use_default_queue();
    if (c->explicit_sync_)
        c->explicit_sync_->use_default_queue();
    if (c->linux_dmabuf_)
        c->linux_dmabuf_->use_default_queue();
    return c;
}

WaylandConnection::~WaylandConnection()
{
    if (dmabuf_global_)
        zwp_linux_dmabuf_v1_destroy(dmabuf_global_);
    if (single_pixels_)
        wp_single_pixel_buffer_manager_v1_destroy(single_pixels_);
    if (content_types_)
        wp_content_type_manager_v1_destroy(content_types_);
    if (presentation_)
        wp_presentation_destroy(presentation_);
    if (viewporter_)
        wp_viewporter_destroy(viewporter_);
    if (shm_)
        wl_shm_destroy(shm_);
    if (subcompositor_)
        wl_subcompositor_destroy(subcompositor_);
    if (compositor_)
        wl_compositor_destroy(compositor_);
}

void WaylandConnection::flush()
{
    wl_display_flush(display_);
}

bool WaylandConnection::shm_takes(std::uint32_t fourcc) const
{
    std::uint32_t code = fourcc == DRM_FORMAT_ARGB8888   ? std::uint32_t{WL_SHM_FORMAT_ARGB8888}
                         : fourcc == DRM_FORMAT_XRGB8888 ? std::uint32_t{WL_SHM_FORMAT_XRGB8888}
                                                         : fourcc;
    return std::find(shm_formats_.begin(), shm_formats_.end(), code) != shm_formats_.end();
}

std::int64_t WaylandConnection::presentation_to_monotonic(std::int64_t ns) const
{
    if (presentation_clock_ == CLOCK_MONOTONIC)
        return ns;
    return ns + monotonic_now() - clock_now(presentation_clock_);
}

} // namespace spice_overlay
