// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <cstdint>
#include <memory>
#include <string>

namespace spice_overlay {

/// Points that are reached one after the other as work gets done, known to every process that has its descriptor: a timeline of the
/// kernel's drm_syncobj. A new one has reached point 0.
class Timeline {
public:
    virtual ~Timeline() = default;

    /// A descriptor for another process, which can then await points and reach them.
    [[nodiscard]] virtual Result<UniqueFd> share() const = 0;
    /// The point is reached now. Points rise.
    [[nodiscard]] virtual Status reach(std::uint64_t point) = 0;
    /// Whether it is reached, or one after it.
    [[nodiscard]] virtual bool reached(std::uint64_t point) const = 0;
    /// Adds one to the eventfd (borrowed, during the call) once the point is reached: at once if it is.
    [[nodiscard]] virtual Status notify(std::uint64_t point, int eventfd) = 0;
};

/// What makes them. Outlives what it has made.
class TimelineDevice {
public:
    virtual ~TimelineDevice() = default;
    [[nodiscard]] virtual Result<std::unique_ptr<Timeline>> make() = 0;
};

/// A DRM device whose driver has timelines, and a kernel that tells of them by eventfd (from 6.6 on).
[[nodiscard]] Result<std::unique_ptr<TimelineDevice>> open_timeline_device(const std::string &render_node);

} // namespace spice_overlay
