// SPDX-License-Identifier: LGPL-2.1-or-later
// weston-shot: pictures of what a Weston output shows, pixel by pixel. Weston must run with --debug.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "capture_protocol.h"
#include "portclient/base/unique_fd.h"

using namespace spice_overlay;

namespace {

constexpr int kDeadlineMs = 60000; ///< Weston may be emulated, on a busy computer

[[noreturn]] void fail(const std::string &what)
{
    std::fprintf(stderr, "weston-shot: %s\n", what.c_str());
    std::exit(1);
}

std::int64_t now_ns()
{
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

/// One connection to Weston and one shared buffer as large as its first output.
class Camera {
public:
    explicit Camera(const char *display_name);

    /// The output's pixels (BGRX, rows of width() * 4 bytes) as of its next repaint. Ends the program after kDeadlineMs
    /// without one.
    const std::uint8_t *shoot();

    [[nodiscard]] int width() const { return width_; }
    [[nodiscard]] int height() const { return height_; }
    [[nodiscard]] std::size_t size() const { return std::size_t(width_) * std::size_t(height_) * 4; }

private:
    void bind(wl_registry *registry, std::uint32_t name, const char *interface);
    void wait_until(const bool &flag, const char *what);
    static int source_event(const void *, void *object, std::uint32_t opcode, const wl_message *, wl_argument *args);
    static int shooter_event(const void *, void *object, std::uint32_t opcode, const wl_message *, wl_argument *args);

    wl_display *display_ = nullptr;
    wl_shm *shm_ = nullptr;
    wl_output *output_ = nullptr;
    wl_proxy *shooter_ = nullptr;
    wl_proxy *capture_ = nullptr;
    wl_proxy *source_ = nullptr;
    wl_buffer *buffer_ = nullptr;
    const std::uint8_t *pixels_ = nullptr;
    std::uint32_t shm_format_ = WL_SHM_FORMAT_XRGB8888;
    int width_ = 0;
    int height_ = 0;
    bool sized_ = false;
    bool done_ = false;
};

Camera::Camera(const char *display_name)
{
    display_ = wl_display_connect(display_name);
    if (!display_)
        fail("no Wayland compositor answers on '" + std::string(display_name ? display_name : "$WAYLAND_DISPLAY")
             + "'");
    static const wl_registry_listener listener = {
        [](void *self, wl_registry *registry, std::uint32_t name, const char *interface, std::uint32_t) {
            static_cast<Camera *>(self)->bind(registry, name, interface);
        },
        [](void *, wl_registry *, std::uint32_t) {}};
    wl_registry_add_listener(wl_display_get_registry(display_), &listener, this);
    wl_display_roundtrip(display_);
    if (!shm_ || !output_ || (!shooter_ && !capture_))
        fail("the compositor offers no screenshots: is it Weston, started with --debug?");
    if (capture_) {
        source_ = wl_proxy_marshal_flags(capture_, kCaptureCreate, &kCaptureSourceInterface, 1, 0, output_,
                                         kCaptureFramebuffer, nullptr);
        wl_proxy_add_dispatcher(source_, source_event, nullptr, this);
    }
    wait_until(sized_, "the size of the output");

    UniqueFd fd(memfd_create("weston-shot", MFD_CLOEXEC));
    if (!fd.valid() || ftruncate(fd.get(), off_t(size())) < 0)
        fail(std::string("shared memory: ") + std::strerror(errno));
    void *memory = mmap(nullptr, size(), PROT_READ, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED)
        fail(std::string("shared memory: ") + std::strerror(errno));
    pixels_ = static_cast<const std::uint8_t *>(memory);
    wl_shm_pool *pool = wl_shm_create_pool(shm_, fd.get(), int(size()));
    buffer_ = wl_shm_pool_create_buffer(pool, 0, width_, height_, width_ * 4, shm_format_);
    wl_shm_pool_destroy(pool);
}

void Camera::bind(wl_registry *registry, std::uint32_t name, const char *interface)
{
    const std::string_view global = interface;
    if (global == wl_shm_interface.name) {
        shm_ = static_cast<wl_shm *>(wl_registry_bind(registry, name, &wl_shm_interface, 1));
    } else if (global == wl_output_interface.name && !output_) {
        output_ = static_cast<wl_output *>(wl_registry_bind(registry, name, &wl_output_interface, 2));
        static const wl_output_listener listener = {
            [](void *, wl_output *, int, int, int, int, int, const char *, const char *, int) {},
            [](void *data, wl_output *, std::uint32_t flags, int width, int height, int) {
                auto *self = static_cast<Camera *>(data);
                if (!(flags & WL_OUTPUT_MODE_CURRENT) || self->capture_)
                    return;
                self->width_ = width;
                self->height_ = height;
                self->sized_ = true;
            },
            [](void *, wl_output *) {},
            [](void *, wl_output *, int) {},
            nullptr,
            nullptr};
        wl_output_add_listener(output_, &listener, this);
    } else if (global == kScreenshooterInterface.name) {
        shooter_ = static_cast<wl_proxy *>(wl_registry_bind(registry, name, &kScreenshooterInterface, 1));
        wl_proxy_add_dispatcher(shooter_, shooter_event, nullptr, this);
    } else if (global == kCaptureInterface.name) {
        capture_ = static_cast<wl_proxy *>(wl_registry_bind(registry, name, &kCaptureInterface, 1));
    }
}

int Camera::shooter_event(const void *, void *object, std::uint32_t, const wl_message *, wl_argument *)
{
    static_cast<Camera *>(wl_proxy_get_user_data(static_cast<wl_proxy *>(object)))->done_ = true;
    return 0;
}

int Camera::source_event(const void *, void *object, std::uint32_t opcode, const wl_message *, wl_argument *args)
{
    auto *self = static_cast<Camera *>(wl_proxy_get_user_data(static_cast<wl_proxy *>(object)));
    constexpr std::uint32_t kDrmArgb = 0x34325241;
    constexpr std::uint32_t kDrmXrgb = 0x34325258;
    switch (opcode) {
    case 0:
        if (args[0].u != kDrmArgb && args[0].u != kDrmXrgb)
            fail("Weston captures in a format that weston-shot does not read");
        self->shm_format_ = args[0].u == kDrmArgb ? WL_SHM_FORMAT_ARGB8888 : WL_SHM_FORMAT_XRGB8888;
        break;
    case 1:
        if (self->sized_ && (self->width_ != args[0].i || self->height_ != args[1].i))
            fail("the output changed its size");
        self->width_ = args[0].i;
        self->height_ = args[1].i;
        self->sized_ = true;
        break;
    case 2:
        self->done_ = true;
        break;
    case 3:
        fail("the output changed while it was captured");
    case 4:
        fail(std::string("Weston cannot capture: ") + (args[0].s ? args[0].s : "no reason given"));
    }
    return 0;
}

void Camera::wait_until(const bool &flag, const char *what)
{
    const std::int64_t deadline = now_ns() + kDeadlineMs * std::int64_t{1000000};
    while (!flag) {
        while (wl_display_prepare_read(display_) != 0)
            if (wl_display_dispatch_pending(display_) < 0)
                fail("the compositor is gone");
        if (flag) {
            wl_display_cancel_read(display_);
            return;
        }
        wl_display_flush(display_);
        pollfd poller{wl_display_get_fd(display_), POLLIN, 0};
        const int left = int((deadline - now_ns()) / 1000000);
        if (left <= 0 || poll(&poller, 1, left) <= 0) {
            wl_display_cancel_read(display_);
            fail("Weston did not answer in " + std::to_string(kDeadlineMs / 1000) + " s: " + what);
        }
        if (wl_display_read_events(display_) < 0 || wl_display_dispatch_pending(display_) < 0)
            fail("the compositor is gone");
    }
}

const std::uint8_t *Camera::shoot()
{
    done_ = false;
    if (capture_)
        wl_proxy_marshal_flags(source_, kCapture, nullptr, 1, 0, buffer_);
    else
        wl_proxy_marshal_flags(shooter_, kTakeShot, nullptr, 1, 0, output_, buffer_);
    wait_until(done_, "a screenshot");
    return pixels_;
}

void write_all(int fd, const void *data, std::size_t size)
{
    auto *p = static_cast<const char *>(data);
    while (size > 0) {
        const ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(std::string("cannot write a picture: ") + std::strerror(errno));
        p += n;
        size -= std::size_t(n);
    }
}

void write_ppm(const Camera &camera, const std::uint8_t *bgrx, const char *path)
{
    std::vector<std::uint8_t> rgb;
    rgb.reserve(camera.size());
    for (std::size_t i = 0; i < camera.size(); i += 4)
        rgb.insert(rgb.end(), {bgrx[i + 2], bgrx[i + 1], bgrx[i]});
    UniqueFd fd(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd.valid())
        fail(std::string(path) + ": " + std::strerror(errno));
    const std::string head =
        "P6\n" + std::to_string(camera.width()) + " " + std::to_string(camera.height()) + "\n255\n";
    write_all(fd.get(), head.data(), head.size());
    write_all(fd.get(), rgb.data(), rgb.size());
}

/// What stands before each picture on standard output, in native byte order: requested_ns and done_ns are
/// CLOCK_MONOTONIC.
struct StreamHeader {
    char magic[4] = {'S', 'H', 'O', 'T'};
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t stride = 0;
    std::int64_t requested_ns = 0;
    std::int64_t done_ns = 0;
};

void write_record(Camera &camera)
{
    StreamHeader header;
    header.requested_ns = now_ns();
    const std::uint8_t *pixels = camera.shoot();
    header.done_ns = now_ns();
    header.width = std::uint32_t(camera.width());
    header.height = std::uint32_t(camera.height());
    header.stride = header.width * 4;
    write_all(STDOUT_FILENO, &header, sizeof header);
    write_all(STDOUT_FILENO, pixels, camera.size());
}

/// Shoots until two pictures `apart_ms` apart are the same.
const std::uint8_t *shoot_stable(Camera &camera, int apart_ms)
{
    const std::int64_t deadline = now_ns() + kDeadlineMs * std::int64_t{1000000};
    std::vector<std::uint8_t> before;
    while (now_ns() < deadline) {
        const std::uint8_t *pixels = camera.shoot();
        if (before.size() == camera.size() && std::memcmp(before.data(), pixels, before.size()) == 0)
            return pixels;
        before.assign(pixels, pixels + camera.size());
        poll(nullptr, 0, apart_ms); // the distance between the two pictures is the point here
    }
    fail("the picture did not come to rest in " + std::to_string(kDeadlineMs / 1000) + " s");
}

constexpr char kUsage[] =
    "usage: weston-shot [--display NAME] FILE.ppm                    one picture\n"
    "       weston-shot [--display NAME] --until-stable MS FILE.ppm  once two pictures MS apart are the same\n"
    "       weston-shot [--display NAME] --stream N                  N pictures, as fast as they come, on standard "
    "output\n"
    "       weston-shot [--display NAME] --serve                     one picture for each line read\n"
    "On standard output a picture is a header (\"SHOT\", u32 width, height, stride, i64 requested and done in ns of\n"
    "CLOCK_MONOTONIC) and rows of BGRX. Weston must run with --debug.\n";

} // namespace

int main(int argc, char **argv)
{
    const char *display = nullptr;
    const char *file = nullptr;
    long stream = 0;
    int apart_ms = 0;
    bool serve = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view arg = argv[i];
        const bool more = i + 1 < argc;
        if (arg == "--help") {
            std::fputs(kUsage, stdout);
            return 0;
        } else if (arg == "--version") {
            std::puts("weston-shot " SPICE_OVERLAY_VERSION);
            return 0;
        } else if (arg == "--display" && more) {
            display = argv[++i];
        } else if (arg == "--stream" && more) {
            stream = std::strtol(argv[++i], nullptr, 10);
        } else if (arg == "--until-stable" && more) {
            apart_ms = int(std::strtol(argv[++i], nullptr, 10));
        } else if (arg == "--serve") {
            serve = true;
        } else if (!file && !arg.starts_with("-")) {
            file = argv[i];
        } else {
            std::fputs(kUsage, stderr);
            return 2;
        }
    }
    if ((file ? 1 : 0) + (stream > 0 ? 1 : 0) + (serve ? 1 : 0) != 1) {
        std::fputs(kUsage, stderr);
        return 2;
    }

    Camera camera(display);
    if (file)
        write_ppm(camera, apart_ms > 0 ? shoot_stable(camera, apart_ms) : camera.shoot(), file);
    for (; stream > 0; --stream)
        write_record(camera);
    char line[64];
    while (serve && std::fgets(line, sizeof line, stdin))
        write_record(camera);
    return 0;
}
