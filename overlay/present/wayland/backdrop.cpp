// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backdrop.h"

#include "dmabuf/memfd.h"
#include "single-pixel-buffer-v1-client-protocol.h"
#include "viewporter-client-protocol.h"

#include <wayland-client.h>

namespace spice_overlay {

Result<std::unique_ptr<Backdrop>> Backdrop::create(WaylandConnection &connection, wl_surface *parent)
{
    std::unique_ptr<Backdrop> b(new Backdrop(connection));
    b->surface_ = wl_compositor_create_surface(connection.compositor());
    b->subsurface_ = wl_subcompositor_get_subsurface(connection.subcompositor(), b->surface_, parent);
    b->viewport_ = wp_viewporter_get_viewport(connection.viewporter(), b->surface_);
    if (!b->surface_ || !b->subsurface_ || !b->viewport_)
        return Error{"the backdrop cannot be made: out of memory"};
    if (Status made = b->make_pixel(); !made)
        return made.error();
    wl_region *region = wl_compositor_create_region(connection.compositor());
    wl_surface_set_input_region(b->surface_, region);
    wl_region_add(region, 0, 0, INT32_MAX, INT32_MAX);
    wl_surface_set_opaque_region(b->surface_, region);
    wl_region_destroy(region);
    return b;
}

Backdrop::~Backdrop()
{
    if (viewport_)
        wp_viewport_destroy(viewport_);
    if (subsurface_)
        wl_subsurface_destroy(subsurface_);
    if (surface_)
        wl_surface_destroy(surface_);
    if (pixel_)
        wl_buffer_destroy(pixel_);
}

/// A compositor knows the colour of a single-pixel buffer without looking into memory, and may leave it to the display.
Status Backdrop::make_pixel()
{
    if (connection_.single_pixels()) {
        pixel_ = wp_single_pixel_buffer_manager_v1_create_u32_rgba_buffer(connection_.single_pixels(), 0, 0, 0, UINT32_MAX);
    } else {
        const std::size_t size = whole_pages(4);
        auto memory = make_sealed_memfd("spice-overlay-backdrop", size); // zeros are black
        if (!memory)
            return memory.error();
        wl_shm_pool *pool = wl_shm_create_pool(connection_.shm(), memory->get(), static_cast<std::int32_t>(size));
        pixel_ = wl_shm_pool_create_buffer(pool, 0, 1, 1, 4, WL_SHM_FORMAT_XRGB8888);
        wl_shm_pool_destroy(pool);
    }
    if (!pixel_)
        return Error{"the backdrop cannot be made: out of memory"};
    return Success{};
}

void Backdrop::place_below(wl_surface *sibling)
{
    wl_subsurface_place_below(subsurface_, sibling);
}

void Backdrop::cover(int x, int y, int width, int height)
{
    const bool shown = width > 0 && height > 0;
    if (shown) {
        wl_subsurface_set_position(subsurface_, x, y);
        wp_viewport_set_destination(viewport_, width, height);
    }
    if (shown != mapped_) {
        mapped_ = shown;
        wl_surface_attach(surface_, shown ? pixel_ : nullptr, 0, 0);
        wl_surface_damage_buffer(surface_, 0, 0, INT32_MAX, INT32_MAX);
    }
    wl_surface_commit(surface_);
}

} // namespace spice_overlay
