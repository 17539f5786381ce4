// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model_compositor.h"

#include "portclient/base/unique_fd.h"
#include "portclient/region/region.h"
#include "viewporter-server-protocol.h"

#include <sys/socket.h>
#include <unistd.h>
#include <wayland-server-protocol.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

namespace spice_overlay {

struct ModelCompositor::Pool {
    UniqueFd memory;
};

struct ModelCompositor::Buffer {
    std::shared_ptr<Pool> pool;
    std::int32_t offset = 0;
    std::uint32_t format = 0;
    wl_resource *resource = nullptr; ///< null: the client has let go of it

    /// Which the desktop's alone have.
    [[nodiscard]] bool has_alpha() const { return format == WL_SHM_FORMAT_ARGB8888; }
    [[nodiscard]] FrameTag tag() const
    {
        FrameTag tag;
        if (::pread(pool->memory.get(), &tag, sizeof tag, offset) != sizeof tag)
            return {};
        return tag;
    }
};

/// What a commit brings: of each only what has been set since the one before.
struct ModelCompositor::State {
    std::optional<std::shared_ptr<Buffer>> buffer; ///< null: unmaps
    std::vector<wl_resource *> frames;
    std::optional<std::pair<int, int>> size; ///< of the viewport

    void take(State &newer)
    {
        if (newer.buffer)
            buffer = std::exchange(newer.buffer, {});
        if (newer.size)
            size = std::exchange(newer.size, {});
        frames.insert(frames.end(), newer.frames.begin(), newer.frames.end());
        newer.frames.clear();
    }
};

struct ModelCompositor::Surface {
    ModelCompositor *compositor = nullptr;
    wl_resource *resource = nullptr;
    State pending;
    State cached; ///< of a synchronised subsurface
    std::shared_ptr<Buffer> buffer;
    std::pair<int, int> size;
    std::vector<wl_resource *> frames; ///< callbacks for when it is drawn
    std::vector<Surface *> next_stack = {this};
    std::vector<Surface *> stack = {this}; ///< itself among its subsurfaces, the lowest first

    // Of a subsurface:
    Surface *parent = nullptr;
    bool is_subsurface = false;
    bool synchronised = true;
    bool placed = false; ///< the parent has committed since it became one
    std::pair<int, int> next_position;
    std::pair<int, int> position;

    [[nodiscard]] bool is_synchronised() const
    {
        return is_subsurface && parent && (synchronised || parent->is_synchronised());
    }
    [[nodiscard]] bool is_mapped() const
    {
        if (!is_subsurface)
            return true; // the viewer's window, whose buffers are GTK's affair
        return buffer && placed && parent && parent->is_mapped();
    }
    [[nodiscard]] bool is_video() const
    {
        return is_mapped() && parent && parent->is_subsurface && !buffer->has_alpha();
    }
    void leave_parent()
    {
        if (!parent)
            return;
        std::erase(parent->stack, this);
        std::erase(parent->next_stack, this);
        parent = nullptr;
    }
    /// Requests that run on its queue of callbacks are lost with it.
    void forget(std::vector<wl_resource *> &callbacks)
    {
        for (wl_resource *callback : std::exchange(callbacks, {}))
            wl_resource_destroy(callback);
    }
};

struct ModelRequests {
    using Surface = ModelCompositor::Surface;
    using Buffer = ModelCompositor::Buffer;
    using Pool = ModelCompositor::Pool;

    template <typename T>
    static T *data(wl_resource *resource)
    {
        return static_cast<T *>(wl_resource_get_user_data(resource));
    }
    static void destroy(wl_client *, wl_resource *resource) { wl_resource_destroy(resource); }
    static wl_resource *make(wl_client *client, const wl_interface &interface, wl_resource *of, std::uint32_t id)
    {
        return wl_resource_create(client, &interface, wl_resource_get_version(of), id);
    }

    // ---- memory

    static void create_buffer(wl_client *client, wl_resource *pool, std::uint32_t id, std::int32_t offset, std::int32_t,
                              std::int32_t, std::int32_t, std::uint32_t format)
    {
        static const struct wl_buffer_interface implementation = {destroy};
        wl_resource *resource = make(client, wl_buffer_interface, pool, id);
        auto *buffer = new std::shared_ptr<Buffer>(
            std::make_shared<Buffer>(Buffer{*data<std::shared_ptr<Pool>>(pool), offset, format, resource}));
        wl_resource_set_implementation(resource, &implementation, buffer, [](wl_resource *r) {
            auto *mine = data<std::shared_ptr<Buffer>>(r);
            (*mine)->resource = nullptr;
            delete mine;
        });
    }
    static void create_pool(wl_client *client, wl_resource *shm, std::uint32_t id, std::int32_t fd, std::int32_t)
    {
        static const struct wl_shm_pool_interface implementation = {create_buffer, destroy,
                                                                    [](wl_client *, wl_resource *, std::int32_t) {}};
        auto *pool = new std::shared_ptr<Pool>(std::make_shared<Pool>(Pool{UniqueFd(fd)}));
        wl_resource_set_implementation(make(client, wl_shm_pool_interface, shm, id), &implementation, pool,
                                       [](wl_resource *r) { delete data<std::shared_ptr<Pool>>(r); });
    }
    static void bind_shm(wl_client *client, void *compositor, std::uint32_t version, std::uint32_t id)
    {
        static const struct wl_shm_interface implementation = {create_pool};
        wl_resource *shm = wl_resource_create(client, &wl_shm_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(shm, &implementation, compositor, nullptr);
        wl_shm_send_format(shm, WL_SHM_FORMAT_ARGB8888);
        wl_shm_send_format(shm, WL_SHM_FORMAT_XRGB8888);
    }

    // ---- surfaces

    static void attach(wl_client *, wl_resource *surface, wl_resource *buffer, std::int32_t, std::int32_t)
    {
        data<Surface>(surface)->pending.buffer = buffer ? *data<std::shared_ptr<Buffer>>(buffer) : nullptr;
    }
    static void damage(wl_client *, wl_resource *surface, std::int32_t, std::int32_t, std::int32_t, std::int32_t)
    {
        ++data<Surface>(surface)->compositor->boxes;
    }
    static void change_region(wl_client *, wl_resource *region, std::int32_t, std::int32_t, std::int32_t, std::int32_t)
    {
        ++data<ModelCompositor>(region)->boxes;
    }
    static void frame(wl_client *client, wl_resource *surface, std::uint32_t id)
    {
        wl_resource *callback = wl_resource_create(client, &wl_callback_interface, 1, id);
        wl_resource_set_implementation(callback, nullptr, data<Surface>(surface)->compositor, nullptr);
        data<Surface>(surface)->pending.frames.push_back(callback);
    }
    static void region(wl_client *, wl_resource *, wl_resource *) {}
    static void number(wl_client *, wl_resource *, std::int32_t) {}
    static void commit(wl_client *, wl_resource *surface)
    {
        data<Surface>(surface)->compositor->commit(*data<Surface>(surface));
    }
    static void create_surface(wl_client *client, wl_resource *resource, std::uint32_t id)
    {
        static const struct wl_surface_interface implementation = {destroy, attach, damage, frame,  region, region,
                                                                   commit,  number, number, damage, nullptr};
        auto *compositor = data<ModelCompositor>(resource);
        auto *surface = new Surface;
        surface->compositor = compositor;
        surface->resource = make(client, wl_surface_interface, resource, id);
        compositor->surfaces_.push_back(surface);
        wl_resource_set_implementation(surface->resource, &implementation, surface, [](wl_resource *r) {
            auto *mine = data<Surface>(r);
            ModelCompositor *owner = mine->compositor;
            std::erase(owner->surfaces_, mine);
            for (Surface *other : owner->surfaces_)
                if (other->parent == mine)
                    other->parent = nullptr;
            mine->leave_parent();
            if (mine->buffer)
                owner->replaced_.push_back(mine->buffer);
            delete mine; // callbacks that have not come go with the client's own objects
            owner->changed();
        });
    }
    static void create_region(wl_client *client, wl_resource *resource, std::uint32_t id)
    {
        static const struct wl_region_interface implementation = {destroy, change_region, change_region};
        wl_resource_set_implementation(make(client, wl_region_interface, resource, id), &implementation,
                                       wl_resource_get_user_data(resource), nullptr);
    }
    static void bind_compositor(wl_client *client, void *compositor, std::uint32_t version, std::uint32_t id)
    {
        static const struct wl_compositor_interface implementation = {create_surface, create_region};
        wl_resource *resource = wl_resource_create(client, &wl_compositor_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(resource, &implementation, compositor, nullptr);
    }

    // ---- subsurfaces

    /// Null: the surface is gone.
    static Surface *surface_of(wl_resource *object)
    {
        auto *owner = data<ModelCompositor>(object);
        for (Surface *surface : owner->surfaces_)
            if (surface->resource == wl_resource_get_user_data(object))
                return surface;
        return nullptr;
    }
    struct Role {
        ModelCompositor *compositor;
        Surface *surface;
        [[nodiscard]] Surface *live() const
        {
            auto &all = compositor->surfaces_;
            return std::find(all.begin(), all.end(), surface) == all.end() ? nullptr : surface;
        }
    };
    static void set_position(wl_client *, wl_resource *object, std::int32_t x, std::int32_t y)
    {
        if (Surface *surface = data<Role>(object)->live())
            surface->next_position = {x, y};
    }
    static void place(wl_resource *object, wl_resource *sibling, bool above)
    {
        Surface *surface = data<Role>(object)->live();
        if (!surface || !surface->parent)
            return;
        auto &stack = surface->parent->next_stack;
        std::erase(stack, surface);
        const auto at = std::find(stack.begin(), stack.end(), data<Surface>(sibling));
        stack.insert(above && at != stack.end() ? at + 1 : at, surface);
    }
    static void place_above(wl_client *, wl_resource *object, wl_resource *sibling) { place(object, sibling, true); }
    static void place_below(wl_client *, wl_resource *object, wl_resource *sibling) { place(object, sibling, false); }
    static void set_sync(wl_client *, wl_resource *object)
    {
        if (Surface *surface = data<Role>(object)->live())
            surface->synchronised = true;
    }
    static void set_desync(wl_client *, wl_resource *object)
    {
        Surface *surface = data<Role>(object)->live();
        if (!surface)
            return;
        surface->synchronised = false;
        if (!surface->is_synchronised())
            surface->compositor->apply(*surface, surface->cached);
    }
    static void get_subsurface(wl_client *client, wl_resource *resource, std::uint32_t id, wl_resource *surface,
                               wl_resource *parent)
    {
        static const struct wl_subsurface_interface implementation = {destroy,     set_position, place_above,
                                                                      place_below, set_sync,     set_desync};
        auto *mine = data<Surface>(surface);
        mine->is_subsurface = true;
        mine->parent = data<Surface>(parent);
        mine->parent->next_stack.push_back(mine);
        wl_resource *object = make(client, wl_subsurface_interface, resource, id);
        wl_resource_set_implementation(object, &implementation, new Role{mine->compositor, mine}, [](wl_resource *r) {
            auto *role = data<Role>(r);
            if (Surface *live = role->live()) {
                live->leave_parent(); // unmapped at once
                live->compositor->changed();
            }
            delete role;
        });
    }
    static void bind_subcompositor(wl_client *client, void *compositor, std::uint32_t version, std::uint32_t id)
    {
        static const struct wl_subcompositor_interface implementation = {destroy, get_subsurface};
        wl_resource *resource = wl_resource_create(client, &wl_subcompositor_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(resource, &implementation, compositor, nullptr);
    }

    static void set_source(wl_client *, wl_resource *, wl_fixed_t, wl_fixed_t, wl_fixed_t, wl_fixed_t) {}
    static void set_destination(wl_client *, wl_resource *object, std::int32_t width, std::int32_t height)
    {
        if (Surface *surface = data<Role>(object)->live())
            surface->pending.size = {width, height};
    }
    static void get_viewport(wl_client *client, wl_resource *resource, std::uint32_t id, wl_resource *surface)
    {
        static const struct wp_viewport_interface implementation = {destroy, set_source, set_destination};
        auto *mine = data<Surface>(surface);
        wl_resource_set_implementation(make(client, wp_viewport_interface, resource, id), &implementation,
                                       new Role{mine->compositor, mine}, [](wl_resource *r) { delete data<Role>(r); });
    }
    static void bind_viewporter(wl_client *client, void *compositor, std::uint32_t version, std::uint32_t id)
    {
        static const struct wp_viewporter_interface implementation = {destroy, get_viewport};
        wl_resource *resource = wl_resource_create(client, &wp_viewporter_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(resource, &implementation, compositor, nullptr);
    }
};

ModelCompositor::ModelCompositor() : server_(wl_display_create())
{
    wl_global_create(server_, &wl_compositor_interface, 4, this, ModelRequests::bind_compositor);
    wl_global_create(server_, &wl_subcompositor_interface, 1, this, ModelRequests::bind_subcompositor);
    wl_global_create(server_, &wp_viewporter_interface, 1, this, ModelRequests::bind_viewporter);
    wl_global_create(server_, &wl_shm_interface, 1, this, ModelRequests::bind_shm);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    client_ = wl_client_create(server_, ends[0]);
    display = wl_display_connect_to_fd(ends[1]);
}

ModelCompositor::~ModelCompositor()
{
    on_commit = nullptr;
    wl_display_disconnect(display);
    wl_display_destroy_clients(server_);
    wl_display_destroy(server_);
}

void ModelCompositor::exchange()
{
    for (int i = 0; i < 2; ++i) { // there and back
        wl_display_flush(display);
        wl_event_loop_dispatch(wl_display_get_event_loop(server_), 0);
        wl_display_flush_clients(server_);
        if (wl_display_prepare_read(display) == 0)
            wl_display_read_events(display);
        wl_display_dispatch_pending(display);
    }
}

void ModelCompositor::serve(const std::function<void()> &call)
{
    std::atomic<bool> stop = false;
    std::thread thread([&] {
        while (!stop) {
            wl_event_loop_dispatch(wl_display_get_event_loop(server_), 10);
            wl_display_flush_clients(server_);
        }
    });
    call();
    stop = true;
    thread.join();
}

void ModelCompositor::refresh()
{
    for (Surface *surface : surfaces_) {
        if (!asks_everybody && !is_seen(*surface))
            continue;
        for (wl_resource *callback : std::exchange(surface->frames, {})) {
            wl_callback_send_done(callback, 0);
            wl_resource_destroy(callback);
        }
    }
    for (const std::shared_ptr<Buffer> &buffer : std::exchange(replaced_, {})) {
        const bool in_use =
            std::any_of(surfaces_.begin(), surfaces_.end(), [&](const Surface *s) { return s->buffer == buffer; });
        if (buffer->resource && !in_use)
            wl_buffer_send_release(buffer->resource);
    }
    exchange();
}

void ModelCompositor::commit(Surface &surface)
{
    if (surface.is_synchronised())
        return surface.cached.take(surface.pending);
    surface.cached.take(surface.pending);
    apply(surface, surface.cached);
    changed();
}

/// With all that waits for it in its subsurfaces.
void ModelCompositor::apply(Surface &surface, State &state)
{
    if (state.buffer) {
        if (surface.buffer && surface.buffer != *state.buffer)
            replaced_.push_back(surface.buffer);
        surface.buffer = std::exchange(state.buffer, {}).value();
    }
    if (state.size)
        surface.size = *std::exchange(state.size, {});
    surface.frames.insert(surface.frames.end(), state.frames.begin(), state.frames.end());
    state.frames.clear();
    surface.stack = surface.next_stack;
    for (Surface *child : surfaces_) {
        if (child->parent != &surface)
            continue;
        child->placed = true;
        child->position = child->next_position;
        if (child->is_synchronised())
            apply(*child, child->cached);
    }
}

void ModelCompositor::changed()
{
    if (on_commit)
        on_commit();
}

/// All that is mapped, from the bottom to the top.
void ModelCompositor::draw(Surface &surface, int x, int y, std::vector<std::pair<Surface *, Box>> &drawn) const
{
    for (Surface *s : surface.stack) {
        if (s == &surface)
            drawn.emplace_back(s, Box{x, y, x + s->size.first, y + s->size.second});
        else if (s->placed && s->buffer)
            draw(*s, x + s->position.first, y + s->position.second, drawn);
    }
}

/// Whether anything of it is: nothing is seen below what has no alpha.
bool ModelCompositor::is_seen(const Surface &surface) const
{
    if (covered || !surface.is_mapped())
        return false;
    if (!surface.is_subsurface)
        return true;
    std::vector<std::pair<Surface *, Box>> drawn;
    for (Surface *window : surfaces_)
        if (!window->is_subsurface)
            draw(*window, 0, 0, drawn);
    SurfaceRegion seen;
    for (const auto &[s, box] : drawn) {
        if (s == &surface)
            seen = SurfaceRect{box};
        else if (s->is_subsurface && !s->buffer->has_alpha())
            seen -= SurfaceRect{box};
    }
    return !seen.empty();
}

Box ModelCompositor::desktop() const
{
    for (const Surface *s : surfaces_)
        if (s->is_subsurface && s->is_mapped() && s->buffer->has_alpha())
            return {s->position.first, s->position.second, s->position.first + s->size.first,
                    s->position.second + s->size.second};
    return {};
}

std::vector<ModelCompositor::Shown> ModelCompositor::shown() const
{
    std::vector<Shown> found;
    for (const Surface *s : surfaces_)
        if (s->is_video())
            found.push_back({s->buffer->tag(), s->position.first, s->position.second, s->size.first, s->size.second});
    return found;
}

} // namespace spice_overlay
