// SPDX-License-Identifier: LGPL-2.1-or-later
#include "device.h"

#include <sys/sysmacros.h>

#include <filesystem>
#include <system_error>

namespace spice_overlay {

Result<DrmDevice> find_drm_device(dev_t device, const std::string &sysfs)
{
    namespace fs = std::filesystem;
    const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
    const fs::path node = fs::path(sysfs) / "dev/char" / number / "device";
    std::error_code error;
    const fs::path driver = fs::read_symlink(node / "driver", error);
    if (error)
        return Error{"device " + number + " is unknown to " + sysfs + ": " + error.message()};
    DrmDevice found{driver.filename(), false, {}, {}};
    if (found.driver.starts_with("virtio-")) // a virtio GPU stands on the bus's device, since Linux 6
        found.driver = "virtio_gpu";
    for (fs::directory_iterator entry(node / "drm", error), end; !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename();
        if (name.starts_with("renderD")) {
            found.renders = true;
            found.render_node = "/dev/dri/" + name;
        } else if (name.starts_with("card")) {
            found.primary_node = "/dev/dri/" + name;
        }
    }
    return found;
}

} // namespace spice_overlay
