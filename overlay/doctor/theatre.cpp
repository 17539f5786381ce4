// SPDX-License-Identifier: LGPL-2.1-or-later
#include "theatre.h"

#include "dmabuf/memfd.h"
#include "performer.h"
#include "portclient/base/clock.h"
#include "xdg-shell-client-protocol.h"

#include <poll.h>
#include <wayland-client.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace spice_overlay::doctor {

namespace {

constexpr std::int64_t kWindowPatience = 5'000'000'000; ///< ns
constexpr std::int64_t kClipPatience = 10'000'000'000;

constexpr int kDefaultWidth = 1280; ///< where the compositor leaves it to us
constexpr int kDefaultHeight = 720;
constexpr int kMaxSide = 16384;

/// A desktop of black pixels, as wide to its height as the clips are; the compositor scales it.
constexpr int kDesktopWidth = 16;
constexpr int kDesktopHeight = 9;
constexpr std::array<std::uint32_t, std::size_t{kDesktopWidth} * kDesktopHeight> kDesktop{};
constexpr Picture kPicture{kDesktop.data(), kDesktopWidth, kDesktopWidth, kDesktopHeight};

} // namespace

bool wait_for_events(wl_display *display, int fd, std::int64_t until)
{
    while (wl_display_prepare_read(display) != 0)
        if (wl_display_dispatch_pending(display) < 0)
            return false;
    wl_display_flush(display);
    std::array<pollfd, 2> fds{{{wl_display_get_fd(display), POLLIN, 0}, {fd, POLLIN, 0}}};
    const std::int64_t left = std::max<std::int64_t>(until - monotonic_now(), 0);
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    const int ready = ::ppoll(fds.data(), fds.size(), &timeout, nullptr); // a negative descriptor is passed over
    if (ready > 0 && fds[0].revents != 0) {
        if (wl_display_read_events(display) < 0)
            return false;
    } else {
        wl_display_cancel_read(display);
    }
    return wl_display_dispatch_pending(display) >= 0 && wl_display_get_error(display) == 0;
}

struct TheatreEvents {
    static Theatre *self(void *data) { return static_cast<Theatre *>(data); }

    static void global(void *data, wl_registry *registry, std::uint32_t name, const char *interface, std::uint32_t)
    {
        if (!self(data)->shell_ && std::string_view(interface) == xdg_wm_base_interface.name)
            self(data)->shell_ =
                static_cast<xdg_wm_base *>(wl_registry_bind(registry, name, &xdg_wm_base_interface, 1));
    }
    static void ping(void *, xdg_wm_base *shell, std::uint32_t serial) { xdg_wm_base_pong(shell, serial); }
    static void configure(void *data, xdg_surface *surface, std::uint32_t serial)
    {
        xdg_surface_ack_configure(surface, serial);
        self(data)->configured_ = true;
    }
    static void size(void *data, xdg_toplevel *, std::int32_t width, std::int32_t height, wl_array *)
    {
        self(data)->width_ = width;
        self(data)->height_ = height;
    }
    static void close(void *, xdg_toplevel *) {}
};

Result<std::unique_ptr<Theatre>> Theatre::open(wl_display *display, WaylandConnection &connection)
{
    std::unique_ptr<Theatre> theatre(new Theatre(display, connection));
    if (Status built = theatre->build(); !built)
        return built.error();
    return theatre;
}

Status Theatre::build()
{
    static const wl_registry_listener registry_listener = {TheatreEvents::global,
                                                           [](void *, wl_registry *, std::uint32_t) {}};
    static const xdg_wm_base_listener shell_listener = {TheatreEvents::ping};
    static const xdg_surface_listener surface_listener = {TheatreEvents::configure};
    static const xdg_toplevel_listener toplevel_listener = {TheatreEvents::size, TheatreEvents::close};

    const WaylandPtr<wl_registry, wl_registry_destroy> registry(wl_display_get_registry(display_));
    wl_registry_add_listener(registry.get(), &registry_listener, this);
    wl_display_roundtrip(display_);
    if (!shell_)
        return Error{"the compositor has no xdg_wm_base: nothing can be shown on it"};
    xdg_wm_base_add_listener(shell_, &shell_listener, this);
    surface_ = wl_compositor_create_surface(connection_.compositor());
    role_ = xdg_wm_base_get_xdg_surface(shell_, surface_);
    xdg_surface_add_listener(role_, &surface_listener, this);
    toplevel_ = xdg_surface_get_toplevel(role_);
    xdg_toplevel_add_listener(toplevel_, &toplevel_listener, this);
    xdg_toplevel_set_title(toplevel_, "spice-overlay-doctor");
    xdg_toplevel_set_app_id(toplevel_, "spice-overlay-doctor");
    xdg_toplevel_set_fullscreen(toplevel_, nullptr);
    wl_surface_commit(surface_);
    if (Status sized = wait_for_size(); !sized)
        return sized;

    const std::size_t size = whole_pages(std::size_t(width_) * std::size_t(height_) * 4);
    auto memory = make_sealed_memfd("spice-overlay-backdrop", size);
    if (!memory)
        return memory.error();
    wl_shm_pool *pool = wl_shm_create_pool(connection_.shm(), memory->get(), static_cast<std::int32_t>(size));
    backdrop_ = wl_shm_pool_create_buffer(pool, 0, width_, height_, width_ * 4, WL_SHM_FORMAT_XRGB8888);
    wl_shm_pool_destroy(pool);
    auto scene = Scene::create(connection_, surface_, [] {});
    if (!scene)
        return scene.error();
    scene_ = std::move(*scene);
    wl_surface_attach(surface_, backdrop_, 0, 0);
    wl_surface_damage_buffer(surface_, 0, 0, width_, height_);
    wl_surface_commit(surface_);
    return Success{};
}

Status Theatre::wait_for_size()
{
    const std::int64_t deadline = monotonic_now() + kWindowPatience;
    while (!configured_) {
        if (monotonic_now() > deadline || !wait_for_events(display_, -1, deadline))
            return Error{"the compositor shows no window: it is locked, or gives no size"};
    }
    if (width_ <= 0 || height_ <= 0 || width_ > kMaxSide || height_ > kMaxSide) {
        width_ = kDefaultWidth;
        height_ = kDefaultHeight;
    }
    return Success{};
}

Theatre::~Theatre()
{
    scene_.reset();
    if (backdrop_)
        wl_buffer_destroy(backdrop_);
    if (toplevel_)
        xdg_toplevel_destroy(toplevel_);
    if (role_)
        xdg_surface_destroy(role_);
    if (surface_)
        wl_surface_destroy(surface_);
    if (shell_)
        xdg_wm_base_destroy(shell_);
    wl_display_flush(display_);
}

Performance Theatre::play(const Programme &programme)
{
    const std::uint32_t stream = ++streams_;
    const Fit fit(kDesktopWidth, kDesktopHeight, 0, 0, width_, height_);
    VideoPlan place{stream, Placement::kAbove, {{0, 0, fit.width, fit.height}}, {}, {}};
    Performer performer(connection_, programme);
    VideoSurface &video = scene_->add(stream, 0, performer);
    video.measure_all();
    performer.start(video);
    const std::int64_t deadline = monotonic_now() + kClipPatience;
    bool placed = false;
    while (!performer.finished()) {
        const std::int64_t now = monotonic_now();
        if (now > deadline) {
            performer.give_up("it took more than 10 seconds");
            break;
        }
        performer.work(now);
        if (!placed && video.has_frame()) {
            placed = scene_->commit(kPicture, {}, {{place}, {}}, fit);
            wl_surface_commit(surface_); // the desktop's position is the window's
        }
        const std::int64_t due = performer.next_due();
        if (!wait_for_events(display_, performer.fd(), due < 0 ? deadline : std::min(due, deadline))) {
            performer.give_up("the compositor has ended the connection (it crashed, or a request was wrong)");
            break;
        }
        performer.dispatch();
    }
    scene_->commit(kPicture, {}, {}, fit); // the video is gone with it
    return performer.result();
}

} // namespace spice_overlay::doctor
