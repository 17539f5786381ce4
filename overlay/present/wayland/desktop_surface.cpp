// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desktop_surface.h"

#include "copy_opaque.h"
#include "overlay/layout/damage.h"
#include "portclient/base/clock.h"
#include "portclient/base/unique_fd.h"
#include "single_event.h"
#include "viewporter-client-protocol.h"

#include <sys/mman.h>
#include <wayland-client.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace spice_overlay {

struct DesktopEvents {
    static void frame_done(DesktopSurface *d)
    {
        wl_callback_destroy(std::exchange(d->frame_, nullptr));
        d->ready_at_ = 0;
        d->on_ready_();
    }
    static void buffer_release(void *data, wl_buffer *buffer)
    {
        auto *d = static_cast<DesktopSurface *>(data);
        const bool awaited = !d->has_free_buffer();
        for (auto &b : d->buffers_)
            if (b.buffer == buffer)
                b.busy = false;
        if (awaited)
            d->on_ready_();
    }
};

Result<std::unique_ptr<DesktopSurface>> DesktopSurface::create(WaylandConnection &connection, wl_surface *parent,
                                                               std::function<void()> on_ready)
{
    std::unique_ptr<DesktopSurface> d(new DesktopSurface(connection, parent, std::move(on_ready)));
    d->surface_ = wl_compositor_create_surface(connection.compositor());
    d->subsurface_ = wl_subcompositor_get_subsurface(connection.subcompositor(), d->surface_, parent);
    d->viewport_ = wp_viewporter_get_viewport(connection.viewporter(), d->surface_);
    if (!d->surface_ || !d->subsurface_ || !d->viewport_)
        return Error{"the desktop surface cannot be made: out of memory"};
    wl_region *nothing = wl_compositor_create_region(connection.compositor());
    wl_surface_set_input_region(d->surface_, nothing);
    wl_region_destroy(nothing);
    wl_subsurface_set_desync(d->subsurface_);
    return d;
}

DesktopSurface::~DesktopSurface()
{
    free_buffers();
    if (frame_)
        wl_callback_destroy(frame_);
    if (viewport_)
        wp_viewport_destroy(viewport_);
    if (subsurface_)
        wl_subsurface_destroy(subsurface_);
    if (surface_)
        wl_surface_destroy(surface_);
}

void DesktopSurface::free_buffers()
{
    for (Buffer &b : buffers_) {
        if (b.buffer)
            wl_buffer_destroy(b.buffer);
        b = {};
    }
    if (memory_)
        munmap(memory_, memory_size_);
    memory_ = nullptr;
}

bool DesktopSurface::allocate(int width, int height)
{
    static const wl_buffer_listener buffer_listener = {DesktopEvents::buffer_release};

    std::size_t one = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 4;
    std::size_t size = one * buffers_.size();
    UniqueFd fd(memfd_create("spice-overlay-desktop", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (size > INT32_MAX || !fd.valid() || ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        return false;
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED)
        return false;
    free_buffers();
    memory_ = static_cast<std::uint32_t *>(memory);
    memory_size_ = size;
    wl_shm_pool *pool = wl_shm_create_pool(connection_.shm(), fd.get(), static_cast<std::int32_t>(size));
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
        Buffer &b = buffers_[i];
        b.pixels = memory_ + i * one / 4;
        b.buffer = wl_shm_pool_create_buffer(pool, static_cast<std::int32_t>(i * one), width, height, width * 4,
                                             WL_SHM_FORMAT_ARGB8888);
        b.stale = GuestRect{{0, 0, width, height}};
        wl_buffer_add_listener(b.buffer, &buffer_listener, this);
    }
    wl_shm_pool_destroy(pool);
    width_ = width;
    height_ = height;
    return true;
}

void DesktopSurface::set_fit(const Fit &fit)
{
    if (fit == fit_ || fit.empty())
        return;
    wl_subsurface_set_position(subsurface_, fit.x, fit.y);
    wp_viewport_set_destination(viewport_, fit.width, fit.height);
    fit_ = fit;
    update_opaque_region();
}

void DesktopSurface::place(bool below_parent)
{
    if (std::exchange(below_parent_, below_parent) == below_parent)
        return;
    if (below_parent)
        wl_subsurface_place_below(subsurface_, parent_);
    else
        wl_subsurface_place_above(subsurface_, parent_);
}

void DesktopSurface::clear()
{
    free_buffers();
    width_ = height_ = 0;
    if (frame_)
        wl_callback_destroy(std::exchange(frame_, nullptr)); // what is not shown has no frames
    ready_at_ = 0;
    wl_surface_attach(surface_, nullptr, 0, 0);
    commit_state();
}

bool DesktopSurface::has_free_buffer() const
{
    return std::any_of(buffers_.begin(), buffers_.end(), [](const Buffer &b) { return !b.busy; });
}

/// Tells the compositor what of the surface is opaque: everything but the hole, rounded outwards, or the box around it if it takes too many.
void DesktopSurface::update_opaque_region()
{
    if (fit_.empty())
        return;
    wl_region *opaque = wl_compositor_create_region(connection_.compositor());
    wl_region_add(opaque, 0, 0, fit_.width, fit_.height);
    const GuestRegion around = hole_.bounds();
    for (const Box &b : (hole_.boxes().size() > kMostDamage ? around : hole_).boxes()) {
        int x1 = static_cast<int>(std::floor(b.x1 * fit_.scale_x()));
        int y1 = static_cast<int>(std::floor(b.y1 * fit_.scale_y()));
        int x2 = static_cast<int>(std::ceil(b.x2 * fit_.scale_x()));
        int y2 = static_cast<int>(std::ceil(b.y2 * fit_.scale_y()));
        wl_region_subtract(opaque, x1, y1, x2 - x1, y2 - y1);
    }
    wl_surface_set_opaque_region(surface_, opaque);
    wl_region_destroy(opaque);
}

bool DesktopSurface::commit(const Picture &picture, const GuestRegion &damage, const GuestRegion &hole, bool seen)
{
    bool resized = picture.width != width_ || picture.height != height_;
    if (resized && !allocate(picture.width, picture.height))
        return false;
    GuestRegion changed = resized ? picture.bounds() : damage;
    add_damage(changed, hole.difference(hole_));
    changed &= picture.bounds();
    if (changed.empty()) {
        commit_state();
        return true;
    }
    Buffer *target = nullptr;
    for (Buffer &b : buffers_)
        if (!b.busy && (!target || b.stale.area() < target->stale.area()))
            target = &b;
    if (!target)
        return false;
    for (Buffer &b : buffers_)
        add_damage(b.stale, changed);
    if (hole != hole_) {
        hole_ = hole;
        update_opaque_region();
    }

    GuestRegion copy = target->stale - hole;
    for (const Box &b : copy.boxes())
        for (int y = b.y1; y < b.y2; ++y)
            copy_opaque(picture.row(y) + b.x1, target->pixels + std::ptrdiff_t{y} * width_ + b.x1,
                        static_cast<std::size_t>(b.width()));
    finish_copies();
    GuestRegion clear = target->stale & hole;
    for (const Box &b : clear.boxes())
        for (int y = b.y1; y < b.y2; ++y)
            std::memset(target->pixels + std::ptrdiff_t{y} * width_ + b.x1, 0, std::size_t(b.width()) * 4);
    copied_pixels_ += static_cast<std::uint64_t>(target->stale.area());
    target->stale = {};
    target->busy = true;
    wl_surface_attach(surface_, target->buffer, 0, 0);
    // A compositor that scales mixes a pixel into those beside it, and need not draw them again by itself.
    const bool scaled = fit_.width != width_ || fit_.height != height_ || fit_.output_scale != 1;
    const int reach = scaled ? 1 : 0;
    for (const Box &b : changed.boxes())
        wl_surface_damage_buffer(surface_, b.x1 - reach, b.y1 - reach, b.width() + 2 * reach, b.height() + 2 * reach);
    ready_at_ = monotonic_now() + (seen ? kMostWait : kUnseenWait);
    if (seen && !frame_) {
        frame_ = wl_surface_frame(surface_);
        listen_to_single_event<DesktopEvents::frame_done>(frame_, this);
    }
    commit_state();
    return true;
}

void DesktopSurface::commit_state()
{
    wl_surface_commit(surface_);
}

void DesktopSurface::set_synchronised(bool on)
{
    if (on)
        wl_subsurface_set_sync(subsurface_);
    else
        wl_subsurface_set_desync(subsurface_);
}

} // namespace spice_overlay
