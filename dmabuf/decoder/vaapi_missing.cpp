// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"

namespace spice_overlay {

/// In place of vaapi.cpp, where libva is missing.
Result<std::unique_ptr<Hardware>> open_vaapi(int, bool, Image::Backing)
{
    return Error{"this build has no VA-API"};
}

} // namespace spice_overlay
