// SPDX-License-Identifier: LGPL-2.1-or-later
#include "compositor.h"

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "portclient/base/unique_fd.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <wayland-server-protocol.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

namespace spice_overlay {

namespace {

void destroy(wl_client *, wl_resource *resource)
{
    wl_resource_destroy(resource);
}

/// A wl_array of whatever is plain bytes.
template <typename T>
struct Bytes {
    explicit Bytes(const std::vector<T> &values)
    {
        wl_array_init(&array);
        if (!values.empty())
            std::memcpy(wl_array_add(&array, values.size() * sizeof(T)), values.data(), values.size() * sizeof(T));
    }
    ~Bytes() { wl_array_release(&array); }
    wl_array array;
};

} // namespace

struct CompositorRequests {
    /// What a params object has been told so far, and the request that comes of it.
    struct Params {
        Compositor *compositor;
        std::shared_ptr<Compositor::Request> request = std::make_shared<Compositor::Request>();
    };

    static void count_buffer(wl_client *client, wl_resource *buffer, unsigned &counter)
    {
        static const struct wl_buffer_interface implementation = {destroy};
        static_cast<void>(client);
        ++counter;
        wl_resource_set_implementation(buffer, &implementation, &counter, [](wl_resource *r) {
            --*static_cast<unsigned *>(wl_resource_get_user_data(r));
        });
    }

    static void add(wl_client *, wl_resource *resource, std::int32_t fd, std::uint32_t, std::uint32_t offset,
                    std::uint32_t stride, std::uint32_t high, std::uint32_t low)
    {
        const UniqueFd closed(fd);
        auto &request = *static_cast<Params *>(wl_resource_get_user_data(resource))->request;
        request.planes.emplace_back(offset, stride);
        request.modifier = std::uint64_t{high} << 32 | low;
    }
    static void create(wl_client *, wl_resource *resource, std::int32_t width, std::int32_t height,
                       std::uint32_t format, std::uint32_t)
    {
        auto *params = static_cast<Params *>(wl_resource_get_user_data(resource));
        auto &request = *params->request;
        request.width = width;
        request.height = height;
        request.fourcc = format;
        request.params = resource;
        params->compositor->requests.push_back(params->request);
    }
    static void create_immed(wl_client *client, wl_resource *resource, std::uint32_t id, std::int32_t, std::int32_t,
                             std::uint32_t, std::uint32_t)
    {
        auto *params = static_cast<Params *>(wl_resource_get_user_data(resource));
        ++params->compositor->immediate;
        count_buffer(client, wl_resource_create(client, &wl_buffer_interface, 1, id),
                     params->compositor->dmabuf_buffers);
    }
    static void create_params(wl_client *client, wl_resource *resource, std::uint32_t id)
    {
        static const struct zwp_linux_buffer_params_v1_interface implementation = {destroy, add, create, create_immed};
        wl_resource *params =
            wl_resource_create(client, &zwp_linux_buffer_params_v1_interface, wl_resource_get_version(resource), id);
        auto *data = new Params{static_cast<Compositor *>(wl_resource_get_user_data(resource))};
        wl_resource_set_implementation(params, &implementation, data, [](wl_resource *r) {
            auto *mine = static_cast<Params *>(wl_resource_get_user_data(r));
            mine->request->params = nullptr;
            delete mine;
        });
    }
    static void feedback(wl_client *client, wl_resource *resource, std::uint32_t id)
    {
        static const struct zwp_linux_dmabuf_feedback_v1_interface implementation = {destroy};
        auto *compositor = static_cast<Compositor *>(wl_resource_get_user_data(resource));
        wl_resource *object =
            wl_resource_create(client, &zwp_linux_dmabuf_feedback_v1_interface, wl_resource_get_version(resource), id);
        wl_resource_set_implementation(object, &implementation, compositor, [](wl_resource *r) {
            std::erase(static_cast<Compositor *>(wl_resource_get_user_data(r))->feedbacks_, r);
        });
        compositor->feedbacks_.push_back(object);
        compositor->send_feedback_to(object);
    }
    static void surface_feedback(wl_client *client, wl_resource *resource, std::uint32_t id, wl_resource *)
    {
        feedback(client, resource, id);
    }
    static void bind_dmabuf(wl_client *client, void *data, std::uint32_t version, std::uint32_t id)
    {
        static const struct zwp_linux_dmabuf_v1_interface implementation = {destroy, create_params, feedback,
                                                                            surface_feedback};
        wl_resource *resource =
            wl_resource_create(client, &zwp_linux_dmabuf_v1_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(resource, &implementation, data, nullptr);
        if (version >= 4)
            return;
        for (const auto &[fourcc, modifier] : static_cast<Compositor *>(data)->offer_.dmabuf_formats.entries()) {
            zwp_linux_dmabuf_v1_send_format(resource, fourcc);
            if (version == 3)
                zwp_linux_dmabuf_v1_send_modifier(resource, fourcc, static_cast<std::uint32_t>(modifier >> 32),
                                                  static_cast<std::uint32_t>(modifier));
        }
    }

    // ---- what the viewer wants to find besides

    static void create_shm_buffer(wl_client *client, wl_resource *pool, std::uint32_t id, std::int32_t, std::int32_t,
                                  std::int32_t, std::int32_t, std::uint32_t)
    {
        auto *compositor = static_cast<Compositor *>(wl_resource_get_user_data(pool));
        count_buffer(client, wl_resource_create(client, &wl_buffer_interface, 1, id), compositor->shm_buffers);
    }
    static void create_pool(wl_client *client, wl_resource *shm, std::uint32_t id, std::int32_t fd, std::int32_t)
    {
        static const struct wl_shm_pool_interface implementation = {create_shm_buffer, destroy,
                                                                    [](wl_client *, wl_resource *, std::int32_t) {}};
        const UniqueFd closed(fd);
        wl_resource_set_implementation(wl_resource_create(client, &wl_shm_pool_interface, 1, id), &implementation,
                                       wl_resource_get_user_data(shm), nullptr);
    }
    static void bind_shm(wl_client *client, void *data, std::uint32_t version, std::uint32_t id)
    {
        static const struct wl_shm_interface implementation = {create_pool};
        wl_resource *shm = wl_resource_create(client, &wl_shm_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(shm, &implementation, data, nullptr);
        wl_shm_send_format(shm, WL_SHM_FORMAT_ARGB8888);
        wl_shm_send_format(shm, WL_SHM_FORMAT_XRGB8888);
        for (const std::uint32_t format : static_cast<Compositor *>(data)->offer_.shm_formats)
            wl_shm_send_format(shm, format);
    }
};

struct Compositor::Thread {
    std::thread thread;
    std::atomic<bool> stop = false;
};

Compositor::Compositor(Offer offer) : offer_(std::move(offer))
{
    server_ = wl_display_create();
    surfaces = std::make_unique<Surfaces>(server_, offer_.without, [this](wl_resource *buffer) {
        return wl_resource_get_user_data(buffer) == &shm_buffers ? Surfaces::Kind::kShm : Surfaces::Kind::kDmabuf;
    });
    wl_global_create(server_, &wl_shm_interface, 1, this, CompositorRequests::bind_shm);
    if (offer_.version > 0)
        wl_global_create(server_, &zwp_linux_dmabuf_v1_interface, static_cast<int>(offer_.version), this,
                         CompositorRequests::bind_dmabuf);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    client_ = wl_client_create(server_, ends[0]);
    display = wl_display_connect_to_fd(ends[1]);
}

Compositor::~Compositor()
{
    wl_display_disconnect(display);
    wl_display_destroy_clients(server_);
    wl_display_destroy(server_);
}

void Compositor::start_thread()
{
    thread_ = std::make_unique<Thread>();
    thread_->thread = std::thread([this, t = thread_.get()] {
        while (!t->stop) {
            wl_event_loop_dispatch(wl_display_get_event_loop(server_), 10);
            wl_display_flush_clients(server_);
        }
    });
}

void Compositor::stop_thread()
{
    thread_->stop = true;
    thread_->thread.join();
    thread_.reset();
}

void Compositor::exchange()
{
    for (int i = 0; i < 4; ++i) { // there and back, and once more for what that caused
        wl_display_flush(display);
        wl_event_loop_dispatch(wl_display_get_event_loop(server_), 0);
        wl_display_flush_clients(server_);
        if (wl_display_prepare_read(display) == 0)
            wl_display_read_events(display);
        wl_display_dispatch_pending(display);
    }
}

void Compositor::send_feedback(dev_t main_device, std::vector<FormatSet::Entry> table, std::vector<Tranche> tranches)
{
    main_device_ = main_device;
    table_ = std::move(table);
    tranches_ = std::move(tranches);
    for (wl_resource *feedback : feedbacks_)
        send_feedback_to(feedback);
}

void Compositor::send_feedback_to(wl_resource *feedback)
{
    std::vector<std::uint64_t> words;
    for (const auto &[fourcc, modifier] : table_)
        words.insert(words.end(), {fourcc, modifier});
    const UniqueFd fd(::memfd_create("table", MFD_CLOEXEC));
    const auto size = words.size() * sizeof words[0];
    if (::write(fd.get(), words.data(), size) != static_cast<ssize_t>(size))
        return;
    zwp_linux_dmabuf_feedback_v1_send_format_table(feedback, fd.get(), static_cast<std::uint32_t>(size));
    Bytes<dev_t> device({main_device_});
    zwp_linux_dmabuf_feedback_v1_send_main_device(feedback, &device.array);
    for (const Tranche &tranche : tranches_) {
        Bytes<dev_t> target({tranche.device});
        zwp_linux_dmabuf_feedback_v1_send_tranche_target_device(feedback, &target.array);
        Bytes<std::uint16_t> formats(tranche.formats);
        zwp_linux_dmabuf_feedback_v1_send_tranche_formats(feedback, &formats.array);
        zwp_linux_dmabuf_feedback_v1_send_tranche_flags(
            feedback, tranche.scanout ? ZWP_LINUX_DMABUF_FEEDBACK_V1_TRANCHE_FLAGS_SCANOUT : 0);
        zwp_linux_dmabuf_feedback_v1_send_tranche_done(feedback);
    }
    zwp_linux_dmabuf_feedback_v1_send_done(feedback);
}

void Compositor::accept(std::size_t index)
{
    Request &request = *requests.at(index);
    if (!request.params)
        return;
    wl_resource *buffer = wl_resource_create(client_, &wl_buffer_interface, 1, 0);
    CompositorRequests::count_buffer(client_, buffer, dmabuf_buffers);
    zwp_linux_buffer_params_v1_send_created(request.params, buffer);
}

void Compositor::refuse(std::size_t index)
{
    if (wl_resource *params = requests.at(index)->params)
        zwp_linux_buffer_params_v1_send_failed(params);
}

} // namespace spice_overlay
