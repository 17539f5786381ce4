// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"

namespace spice_overlay {

/// In place of vulkan.cpp, where FFmpeg is older than 6.1 or Vulkan's headers are missing.
Result<std::unique_ptr<Hardware>> open_vulkan(int, bool, Image::Backing)
{
    return Error{"this build has none (it takes FFmpeg 6.1 and Vulkan's headers)"};
}

} // namespace spice_overlay
