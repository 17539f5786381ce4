// SPDX-License-Identifier: LGPL-2.1-or-later
#include "timeline.h"

#include <drm.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay {

namespace {

/// As the kernel's headers have it from 6.6 on.
struct SyncobjEventfd {
    std::uint32_t handle;
    std::uint32_t flags;
    std::uint64_t point;
    std::int32_t fd;
    std::uint32_t pad;
};
constexpr auto kSyncobjEventfd = DRM_IOWR(0xCF, SyncobjEventfd);

/// 0, or an errno.
template <typename Argument>
int request(int device, unsigned long code, Argument &argument)
{
    while (::ioctl(device, code, &argument) != 0)
        if (errno != EINTR && errno != EAGAIN)
            return errno;
    return 0;
}

Error failure(const char *what, int error)
{
    return Error{std::string(what) + ": " + std::strerror(error)};
}

class DrmTimeline : public Timeline {
public:
    DrmTimeline(int device, std::uint32_t handle) : device_(device), handle_(handle) {}
    ~DrmTimeline() override
    {
        drm_syncobj_destroy argument = {handle_, 0};
        request(device_, DRM_IOCTL_SYNCOBJ_DESTROY, argument);
    }
    DrmTimeline(const DrmTimeline &) = delete;
    DrmTimeline &operator=(const DrmTimeline &) = delete;

    [[nodiscard]] Result<UniqueFd> share() const override
    {
        drm_syncobj_handle argument = {};
        argument.handle = handle_;
        argument.fd = -1;
        if (const int error = request(device_, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, argument))
            return failure("a timeline cannot be shared", error);
        return UniqueFd(argument.fd);
    }

    [[nodiscard]] Status reach(std::uint64_t point) override
    {
        drm_syncobj_timeline_array argument = array(&handle_, &point);
        if (const int error = request(device_, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, argument))
            return failure("a point of a timeline cannot be reached", error);
        return Success{};
    }

    [[nodiscard]] bool reached(std::uint64_t point) const override
    {
        std::uint64_t at = 0;
        drm_syncobj_timeline_array argument = array(&handle_, &at);
        return request(device_, DRM_IOCTL_SYNCOBJ_QUERY, argument) == 0 && at >= point;
    }

    [[nodiscard]] Status notify(std::uint64_t point, int eventfd) override
    {
        SyncobjEventfd argument = {handle_, 0, point, eventfd, 0};
        if (const int error = request(device_, kSyncobjEventfd, argument))
            return failure("a point of a timeline cannot be awaited", error);
        return Success{};
    }

private:
    static drm_syncobj_timeline_array array(const std::uint32_t *handle, std::uint64_t *point)
    {
        return {reinterpret_cast<std::uintptr_t>(handle), reinterpret_cast<std::uintptr_t>(point), 1, 0};
    }

    int device_;
    std::uint32_t handle_;
};

class DrmTimelines : public TimelineDevice {
public:
    explicit DrmTimelines(UniqueFd device) : device_(std::move(device)) {}

    [[nodiscard]] Result<std::unique_ptr<Timeline>> make() override
    {
        drm_syncobj_create argument = {};
        if (const int error = request(device_.get(), DRM_IOCTL_SYNCOBJ_CREATE, argument))
            return failure("no timeline can be made", error);
        return std::unique_ptr<Timeline>(std::make_unique<DrmTimeline>(device_.get(), argument.handle));
    }

private:
    UniqueFd device_;
};

} // namespace

Result<std::unique_ptr<TimelineDevice>> open_timeline_device(const std::string &render_node)
{
    UniqueFd device(::open(render_node.c_str(), O_RDWR | O_CLOEXEC));
    if (!device.valid())
        return failure((render_node + " cannot be opened").c_str(), errno);
    drm_get_cap timelines = {DRM_CAP_SYNCOBJ_TIMELINE, 0};
    if (request(device.get(), DRM_IOCTL_GET_CAP, timelines) != 0 || timelines.value == 0)
        return Error{"the driver of " + render_node + " has no timelines"};
    SyncobjEventfd nothing = {0, 0, 0, -1, 0}; // no handle is 0: a kernel that knows the request says that
    if (request(device.get(), kSyncobjEventfd, nothing) != ENOENT)
        return Error{"the kernel does not tell of timelines by eventfd: that takes Linux 6.6"};
    return std::unique_ptr<TimelineDevice>(std::make_unique<DrmTimelines>(std::move(device)));
}

} // namespace spice_overlay
