// SPDX-License-Identifier: LGPL-2.1-or-later
#include "surfaces.h"

#include "content-type-v1-server-protocol.h"
#include "single-pixel-buffer-v1-server-protocol.h"
#include "sync_global.h"
#include "viewporter-server-protocol.h"

#include <wayland-server-protocol.h>

#include <algorithm>
#include <climits>
#include <utility>

namespace spice_overlay {

namespace {

void destroy(wl_client *, wl_resource *resource)
{
    wl_resource_destroy(resource);
}

template <typename T>
T *of(wl_resource *resource)
{
    return resource ? static_cast<T *>(wl_resource_get_user_data(resource)) : nullptr;
}

wl_resource *make(wl_client *client, const wl_interface *interface, std::uint32_t version, std::uint32_t id,
                  const void *implementation, void *data, wl_resource_destroy_func_t gone = nullptr)
{
    wl_resource *resource = wl_resource_create(client, interface, static_cast<int>(version), id);
    wl_resource_set_implementation(resource, implementation, data, gone);
    return resource;
}

} // namespace

struct SurfaceRequests {
    using Surface = Surfaces::Surface;

    // ---- regions: their bounds are enough

    static void create_region(wl_client *client, wl_resource *, std::uint32_t id)
    {
        static const struct wl_region_interface implementation = {
            destroy,
            [](wl_client *, wl_resource *r, std::int32_t x, std::int32_t y, std::int32_t width, std::int32_t height) {
                Box &b = *of<Box>(r);
                const auto end = [](int from, int size) { return static_cast<int>(std::min<std::int64_t>(std::int64_t{from} + size, INT_MAX)); };
                const Box added{x, y, end(x, width), end(y, height)};
                b = b.empty() ? added
                              : Box{std::min(b.x1, added.x1), std::min(b.y1, added.y1), std::max(b.x2, added.x2),
                                    std::max(b.y2, added.y2)};
            },
            [](wl_client *, wl_resource *, std::int32_t, std::int32_t, std::int32_t, std::int32_t) {}};
        make(client, &wl_region_interface, 1, id, &implementation, new Box, [](wl_resource *r) { delete of<Box>(r); });
    }

    // ---- surfaces

    static void attach(wl_client *, wl_resource *resource, wl_resource *buffer, std::int32_t, std::int32_t)
    {
        Surface &s = *of<Surface>(resource);
        s.pending.attached = true;
        s.pending.buffer = buffer;
        s.pending.kind = buffer ? s.all->kind_of_(buffer) : Surfaces::Kind::kNone;
        if (s.pending.kind == Surfaces::Kind::kPixel)
            s.pending.rgba = *of<std::array<std::uint32_t, 4>>(buffer);
    }
    static void frame(wl_client *client, wl_resource *resource, std::uint32_t id)
    {
        Surface &s = *of<Surface>(resource);
        s.frames.push_back(make(client, &wl_callback_interface, 1, id, nullptr, &s, [](wl_resource *r) {
            std::erase(of<Surface>(r)->frames, r);
        }));
    }
    static void commit(wl_client *, wl_resource *resource)
    {
        Surface &s = *of<Surface>(resource);
        if (const char *error = sync_error(s))
            s.errors.emplace_back(error);
        s.now = s.pending;
        s.pending.attached = false;
        s.pending.acquire = s.pending.release = {};
        ++s.commits;
    }
    static void create_surface(wl_client *client, wl_resource *compositor, std::uint32_t id)
    {
        static const struct wl_surface_interface implementation = {
            destroy,
            attach,
            [](wl_client *, wl_resource *, std::int32_t, std::int32_t, std::int32_t, std::int32_t) {},
            frame,
            [](wl_client *, wl_resource *r, wl_resource *region) {
                of<Surface>(r)->pending.opaque = region ? *of<Box>(region) : Box();
            },
            [](wl_client *, wl_resource *r, wl_resource *region) {
                of<Surface>(r)->pending.takes_input = !region || !of<Box>(region)->empty();
            },
            commit,
            [](wl_client *, wl_resource *, std::int32_t) {},
            [](wl_client *, wl_resource *, std::int32_t) {},
            [](wl_client *, wl_resource *, std::int32_t, std::int32_t, std::int32_t, std::int32_t) {}};
        auto *all = of<Surfaces>(compositor);
        all->list.push_back(std::make_unique<Surface>());
        Surface *s = all->list.back().get();
        s->all = all;
        s->stack = {s};
        s->resource = make(client, &wl_surface_interface, 4, id, &implementation, s,
                           [](wl_resource *r) { of<Surface>(r)->resource = nullptr; });
    }

    // ---- subsurfaces

    /// Directly above or below `sibling`, which is the parent or another subsurface of it.
    static void restack(Surface &s, Surface &sibling, bool above)
    {
        auto &stack = s.parent->stack;
        std::erase(stack, &s);
        auto place = std::find(stack.begin(), stack.end(), &sibling);
        stack.insert(above && place != stack.end() ? place + 1 : place, &s);
    }
    static void get_subsurface(wl_client *client, wl_resource *, std::uint32_t id, wl_resource *surface,
                               wl_resource *parent)
    {
        static const struct wl_subsurface_interface implementation = {
            destroy,
            [](wl_client *, wl_resource *r, std::int32_t x, std::int32_t y) {
                of<Surface>(r)->x = x;
                of<Surface>(r)->y = y;
            },
            [](wl_client *, wl_resource *r, wl_resource *sibling) { restack(*of<Surface>(r), *of<Surface>(sibling), true); },
            [](wl_client *, wl_resource *r, wl_resource *sibling) { restack(*of<Surface>(r), *of<Surface>(sibling), false); },
            [](wl_client *, wl_resource *) {},
            [](wl_client *, wl_resource *) {}};
        auto *s = of<Surface>(surface);
        s->parent = of<Surface>(parent);
        s->parent->stack.push_back(s);
        make(client, &wl_subsurface_interface, 1, id, &implementation, s, [](wl_resource *r) {
            Surface *gone = of<Surface>(r);
            std::erase(gone->parent->stack, gone);
        });
    }

    // ---- what is said of a surface

    static void get_viewport(wl_client *client, wl_resource *, std::uint32_t id, wl_resource *surface)
    {
        static const struct wp_viewport_interface implementation = {
            destroy,
            [](wl_client *, wl_resource *r, wl_fixed_t x, wl_fixed_t y, wl_fixed_t width, wl_fixed_t height) {
                auto &source = of<Surface>(r)->pending.source;
                source.reset();
                if (width != wl_fixed_from_int(-1))
                    source = {wl_fixed_to_double(x), wl_fixed_to_double(y), wl_fixed_to_double(width),
                              wl_fixed_to_double(height)};
            },
            [](wl_client *, wl_resource *r, std::int32_t width, std::int32_t height) {
                of<Surface>(r)->pending.width = width;
                of<Surface>(r)->pending.height = height;
            }};
        make(client, &wp_viewport_interface, 1, id, &implementation, of<Surface>(surface));
    }
    static void get_content_type(wl_client *client, wl_resource *, std::uint32_t id, wl_resource *surface)
    {
        static const struct wp_content_type_v1_interface implementation = {
            destroy, [](wl_client *, wl_resource *r, std::uint32_t type) { of<Surface>(r)->pending.content_type = type; }};
        make(client, &wp_content_type_v1_interface, 1, id, &implementation, of<Surface>(surface));
    }
    static void create_pixel(wl_client *client, wl_resource *, std::uint32_t id, std::uint32_t r, std::uint32_t g,
                             std::uint32_t b, std::uint32_t a)
    {
        using Colour = std::array<std::uint32_t, 4>;
        make(client, &wl_buffer_interface, 1, id, &pixel_implementation, new Colour{r, g, b, a},
             [](wl_resource *resource) { delete of<Colour>(resource); });
    }
    static constexpr struct wl_buffer_interface pixel_implementation = {destroy};

    // ---- globals

    template <const wl_interface *Interface, const auto *Implementation>
    static void bind(wl_client *client, void *data, std::uint32_t version, std::uint32_t id)
    {
        make(client, Interface, version, id, Implementation, data);
    }
    static constexpr struct wl_compositor_interface compositor = {create_surface, create_region};
    static constexpr struct wl_subcompositor_interface subcompositor = {destroy, get_subsurface};
    static constexpr struct wp_viewporter_interface viewporter = {destroy, get_viewport};
    static constexpr struct wp_content_type_manager_v1_interface content_types = {destroy, get_content_type};
    static constexpr struct wp_single_pixel_buffer_manager_v1_interface pixels = {destroy, create_pixel};
};

Surfaces::Surfaces(wl_display *server, const std::vector<std::string> &without, std::function<Kind(wl_resource *)> kind_of)
    : kind_of_([kind_of = std::move(kind_of)](wl_resource *buffer) {
          return wl_resource_instance_of(buffer, &wl_buffer_interface, &SurfaceRequests::pixel_implementation)
                     ? Kind::kPixel
                     : kind_of(buffer);
      })
{
    using R = SurfaceRequests;
    const auto add = [&](const wl_interface &interface, int version, wl_global_bind_func_t bind) {
        if (std::find(without.begin(), without.end(), interface.name) == without.end())
            wl_global_create(server, &interface, version, this, bind);
    };
    add(wl_compositor_interface, 4, R::bind<&wl_compositor_interface, &R::compositor>);
    add(wl_subcompositor_interface, 1, R::bind<&wl_subcompositor_interface, &R::subcompositor>);
    add(wp_viewporter_interface, 1, R::bind<&wp_viewporter_interface, &R::viewporter>);
    add(wp_content_type_manager_v1_interface, 1, R::bind<&wp_content_type_manager_v1_interface, &R::content_types>);
    add(wp_single_pixel_buffer_manager_v1_interface, 1,
        R::bind<&wp_single_pixel_buffer_manager_v1_interface, &R::pixels>);
    add_sync_global(server, *this, without);
}

void Surfaces::draw()
{
    for (const auto &surface : list)
        for (wl_resource *callback : std::exchange(surface->frames, {})) {
            wl_callback_send_done(callback, 0);
            wl_resource_destroy(callback);
        }
}

} // namespace spice_overlay
