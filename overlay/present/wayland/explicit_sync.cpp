// SPDX-License-Identifier: LGPL-2.1-or-later
#include "explicit_sync.h"

#include "linux-drm-syncobj-v1-client-protocol.h"
#include "portclient/base/unique_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <wayland-client.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace spice_overlay {

namespace {

constexpr std::uint32_t high(std::uint64_t point)
{
    return static_cast<std::uint32_t>(point >> 32);
}
constexpr std::uint32_t low(std::uint64_t point)
{
    return static_cast<std::uint32_t>(point);
}

/// A timeline that the compositor has as well.
struct SharedTimeline {
    ~SharedTimeline()
    {
        if (object)
            wp_linux_drm_syncobj_timeline_v1_destroy(object);
    }
    std::unique_ptr<Timeline> timeline;
    wp_linux_drm_syncobj_timeline_v1 *object = nullptr;
};

class Manager;

/// A compositor may reach the points of two commits in either order, and to reach one is to reach all before it on its timeline: so each buffer
/// has timelines of its own, and a commit takes one of which nothing is awaited. One is enough for a buffer that is shown once.
class BufferRelease : public ExplicitSync::Release {
public:
    struct Line {
        std::unique_ptr<SharedTimeline> shared;
        std::uint64_t point = 0; ///< of the last commit with it
        bool awaited = false;
    };

    BufferRelease(Manager &manager, std::function<void()> on_release)
        : manager_(manager), on_release_(std::move(on_release))
    {
    }
    ~BufferRelease() override;
    BufferRelease(const BufferRelease &) = delete;
    BufferRelease &operator=(const BufferRelease &) = delete;

    [[nodiscard]] bool awaited() const override { return std::any_of(lines_.begin(), lines_.end(), is_awaited); }
    /// Looks at what is awaited. True: nothing is any more.
    [[nodiscard]] bool settle();
    void release() const
    {
        const auto call = on_release_; // which may destroy this
        call();
    }

    /// The next point, which is awaited from now on; null: it cannot be.
    [[nodiscard]] const Line *next();
    void forget();

private:
    static bool is_awaited(const Line &line) { return line.awaited; }

    Manager &manager_;
    std::function<void()> on_release_;
    std::vector<Line> lines_;
};

class Manager : public ExplicitSync {
public:
    explicit Manager(wp_linux_drm_syncobj_manager_v1 *manager) : manager_(manager) {}
    ~Manager() override
    {
        acquire_.reset();
        wp_linux_drm_syncobj_manager_v1_destroy(manager_);
    }
    Manager(const Manager &) = delete;
    Manager &operator=(const Manager &) = delete;

    void use_default_queue() override { wl_proxy_set_queue(reinterpret_cast<wl_proxy *>(manager_), nullptr); }

    [[nodiscard]] int begin(OpenDevice open) override
    {
        reached_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (reached_.valid())
            open_ = std::move(open);
        return reached_.get();
    }

    void dispatch() override;
    [[nodiscard]] std::unique_ptr<Release> release(std::function<void()> on_release) override;
    [[nodiscard]] std::unique_ptr<Surface> surface(wl_surface *surface) override;

    /// Nothing is synchronised explicitly any more. Points that are awaited still are.
    void give_up() { acquire_.reset(); }

    [[nodiscard]] SharedTimeline *acquire() const { return acquire_.get(); }
    [[nodiscard]] int eventfd() const { return reached_.get(); }
    [[nodiscard]] wp_linux_drm_syncobj_manager_v1 *get() const { return manager_; }
    [[nodiscard]] Result<std::unique_ptr<SharedTimeline>> make();
    std::vector<BufferRelease *> awaiting; ///< buffers

private:
    void open();

    wp_linux_drm_syncobj_manager_v1 *manager_;
    UniqueFd reached_; ///< an eventfd for all points
    OpenDevice open_;
    std::unique_ptr<TimelineDevice> device_;
    std::unique_ptr<SharedTimeline> acquire_; ///< its point 1 is reached; null: implicit
};

BufferRelease::~BufferRelease()
{
    std::erase(manager_.awaiting, this);
}

bool BufferRelease::settle()
{
    for (Line &line : lines_)
        line.awaited = line.awaited && !line.shared->timeline->reached(line.point);
    return !awaited();
}

const BufferRelease::Line *BufferRelease::next()
{
    auto line = std::find_if_not(lines_.begin(), lines_.end(), is_awaited);
    if (line == lines_.end()) {
        auto shared = manager_.make();
        if (!shared)
            return nullptr;
        line = lines_.insert(lines_.end(), Line{std::move(*shared)});
    }
    if (!line->shared->timeline->notify(line->point + 1, manager_.eventfd()))
        return nullptr;
    ++line->point;
    if (!awaited())
        manager_.awaiting.push_back(this);
    line->awaited = true;
    return &*line;
}

void BufferRelease::forget()
{
    for (Line &line : lines_)
        line.awaited = false;
    std::erase(manager_.awaiting, this);
}

class SyncedSurface : public ExplicitSync::Surface {
public:
    SyncedSurface(Manager &manager, wl_surface *surface) : manager_(manager), surface_(surface) {}
    ~SyncedSurface() override { SyncedSurface::attach_implicit(); }

    void attach(ExplicitSync::Release &of_buffer) override
    {
        auto &release = static_cast<BufferRelease &>(of_buffer);
        const BufferRelease::Line *line = manager_.acquire() ? release.next() : nullptr;
        if (!line) {
            manager_.give_up();
            release.forget(); // the message about this commit comes after what was said of those before
            return attach_implicit();
        }
        if (!object_)
            object_ = wp_linux_drm_syncobj_manager_v1_get_surface(manager_.get(), surface_);
        // The decoder sends a frame when its memory is written, so that no surface has to wait for it.
        wp_linux_drm_syncobj_surface_v1_set_acquire_point(object_, manager_.acquire()->object, 0, 1);
        wp_linux_drm_syncobj_surface_v1_set_release_point(object_, line->shared->object, high(line->point), low(line->point));
    }

    /// While the object exists every buffer must be a dmabuf with points.
    void attach_implicit() override
    {
        if (object_)
            wp_linux_drm_syncobj_surface_v1_destroy(std::exchange(object_, nullptr));
    }

private:
    Manager &manager_;
    wl_surface *surface_;
    wp_linux_drm_syncobj_surface_v1 *object_ = nullptr; ///< while buffers are synchronised explicitly
};

/// Once, when it is first needed.
void Manager::open()
{
    const OpenDevice open = std::exchange(open_, nullptr);
    if (!open)
        return;
    auto device = open();
    if (!device)
        return;
    device_ = std::move(*device);
    auto acquire = make();
    if (acquire && (*acquire)->timeline->reach(1))
        acquire_ = std::move(*acquire);
}

Result<std::unique_ptr<SharedTimeline>> Manager::make()
{
    auto shared = std::make_unique<SharedTimeline>();
    auto timeline = device_->make();
    if (!timeline)
        return timeline.error();
    shared->timeline = std::move(*timeline);
    auto fd = shared->timeline->share();
    if (!fd)
        return fd.error();
    shared->object = wp_linux_drm_syncobj_manager_v1_import_timeline(manager_, fd->get());
    return shared;
}

std::unique_ptr<ExplicitSync::Release> Manager::release(std::function<void()> on_release)
{
    open();
    if (!acquire_)
        return nullptr;
    return std::make_unique<BufferRelease>(*this, std::move(on_release));
}

std::unique_ptr<ExplicitSync::Surface> Manager::surface(wl_surface *surface)
{
    return std::make_unique<SyncedSurface>(*this, surface);
}

void Manager::dispatch()
{
    std::uint64_t times = 0;
    static_cast<void>(::read(reached_.get(), &times, sizeof times));
    for (;;) { // each call may destroy any of them
        const auto found = std::find_if(awaiting.begin(), awaiting.end(), [](BufferRelease *r) { return r->settle(); });
        if (found == awaiting.end())
            return;
        const BufferRelease *settled = *found;
        awaiting.erase(found);
        settled->release();
    }
}

} // namespace

std::unique_ptr<ExplicitSync> ExplicitSync::bind(wl_registry *registry, std::uint32_t name, const char *interface)
{
    if (std::string_view(interface) != wp_linux_drm_syncobj_manager_v1_interface.name)
        return nullptr;
    return std::make_unique<Manager>(static_cast<wp_linux_drm_syncobj_manager_v1 *>(
        wl_registry_bind(registry, name, &wp_linux_drm_syncobj_manager_v1_interface, 1)));
}

} // namespace spice_overlay
