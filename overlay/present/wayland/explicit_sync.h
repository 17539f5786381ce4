// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "timeline.h"

#include <cstdint>
#include <functional>
#include <memory>

struct wl_registry;
struct wl_surface;

namespace spice_overlay {

/// The compositor's wp_linux_drm_syncobj_manager_v1: it says when it has done with a dmabuf by a point of a timeline, which is reached when its
/// GPU has done, instead of by a message when it has told its GPU. Of a build whose wayland-protocols lack it (before 1.34), and a
/// compositor that does, there is none. Without a device that has timelines, and after the first failure of one, everything is
/// synchronised implicitly, as without it. One thread.
class ExplicitSync {
public:
    /// Whether `interface` is it. Null: this build does not know it.
    static std::unique_ptr<ExplicitSync> bind(wl_registry *registry, std::uint32_t name, const char *interface);
    virtual ~ExplicitSync() = default;
    virtual void use_default_queue() = 0;

    using OpenDevice = std::function<Result<std::unique_ptr<TimelineDevice>>()>;
    /// Before this nothing is synchronised explicitly. `open` is called when the first dmabuf is shown. Returns a descriptor: whenever it
    /// is readable, dispatch() is to be called. Negative: there is none, and nothing has begun.
    [[nodiscard]] virtual int begin(OpenDevice open) = 0;
    virtual void dispatch() = 0;

    /// One buffer's timeline, on which the compositor says that it has done with it.
    class Release {
    public:
        virtual ~Release() = default;
        /// Whether the buffer has been attached with a point that is not reached yet.
        [[nodiscard]] virtual bool awaited() const = 0;
    };
    /// `on_release` is called by dispatch(), when the last point is reached that the buffer was attached with; it may destroy the Release.
    /// Null: buffers are synchronised implicitly.
    [[nodiscard]] virtual std::unique_ptr<Release> release(std::function<void()> on_release) = 0;

    /// How one surface's buffers are synchronised. Goes with the surface, before it.
    class Surface {
    public:
        virtual ~Surface() = default;
        /// The next commit attaches the dmabuf that this belongs to, whose picture is finished.
        virtual void attach(Release &release) = 0;
        /// The next commit attaches a buffer that is synchronised implicitly, as wl_shm ones are.
        virtual void attach_implicit() = 0;
    };
    [[nodiscard]] virtual std::unique_ptr<Surface> surface(wl_surface *surface) = 0;
};

} // namespace spice_overlay
