// SPDX-License-Identifier: LGPL-2.1-or-later
#include "note_surface.h"

#include "dmabuf/memfd.h"

#include <wayland-client.h>

#include <cstring>

namespace spice_overlay {

struct NoteEvents {
    static void release(void *data, wl_buffer *buffer)
    {
        wl_buffer_destroy(buffer);
        static_cast<NoteSurface *>(data)->buffers_.remove(buffer);
    }
};

Result<std::unique_ptr<NoteSurface>> NoteSurface::create(WaylandConnection &connection, wl_surface *parent)
{
    std::unique_ptr<NoteSurface> note(new NoteSurface(connection));
    note->surface_ = wl_compositor_create_surface(connection.compositor());
    note->subsurface_ = wl_subcompositor_get_subsurface(connection.subcompositor(), note->surface_, parent);
    if (!note->surface_ || !note->subsurface_)
        return Error{"the surface for figures cannot be made: out of memory"};
    wl_region *nothing = wl_compositor_create_region(connection.compositor());
    wl_surface_set_input_region(note->surface_, nothing);
    wl_region_destroy(nothing);
    wl_subsurface_set_desync(note->subsurface_);
    return note;
}

NoteSurface::~NoteSurface()
{
    for (wl_buffer *buffer : buffers_)
        wl_buffer_destroy(buffer);
    if (subsurface_)
        wl_subsurface_destroy(subsurface_);
    if (surface_)
        wl_surface_destroy(surface_);
}

void NoteSurface::move(int x, int y)
{
    wl_subsurface_set_position(subsurface_, x, y);
}

Status NoteSurface::show(std::span<const std::uint32_t> pixels, int width, int height, int scale)
{
    static const wl_buffer_listener listener = {NoteEvents::release};

    const std::size_t size = whole_pages(pixels.size_bytes());
    auto memory = make_sealed_memfd("spice-overlay-note", size);
    if (!memory)
        return memory.error();
    auto mapping = Mapping::map(memory->get(), size, Mapping::Access::kReadWrite);
    if (!mapping)
        return mapping.error();
    std::memcpy(mapping->data(), pixels.data(), pixels.size_bytes());
    wl_shm_pool *pool = wl_shm_create_pool(connection_.shm(), memory->get(), static_cast<std::int32_t>(size));
    wl_buffer *buffer = wl_shm_pool_create_buffer(pool, 0, width, height, width * 4, WL_SHM_FORMAT_XRGB8888);
    wl_shm_pool_destroy(pool);
    wl_buffer_add_listener(buffer, &listener, this);
    buffers_.push_back(buffer);
    wl_surface_attach(surface_, buffer, 0, 0);
    wl_surface_set_buffer_scale(surface_, scale);
    wl_surface_damage_buffer(surface_, 0, 0, width, height);
    wl_surface_commit(surface_);
    connection_.flush();
    return Success{};
}

} // namespace spice_overlay
