// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <sys/types.h>

#include <string>

namespace spice_overlay {

/// What the kernel says of a DRM device.
struct DrmDevice {
    std::string driver;   ///< "i915", "vgem", "virtio_gpu"
    bool renders = false; ///< has a render node: more than a display without a GPU
    std::string render_node; ///< its path, if it has one
    std::string primary_node; ///< the path of the display's node, if it has one
};

/// Looks a device number up in `sysfs`.
[[nodiscard]] Result<DrmDevice> find_drm_device(dev_t device, const std::string &sysfs = "/sys");

} // namespace spice_overlay
