// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"
#include "post_processor.h"

namespace spice_overlay {

/// In place of vaapi.cpp and vaapi_post_processor.cpp, where libva is missing.
Result<std::unique_ptr<Hardware>> open_vaapi(int, bool, Image::Backing)
{
    return Error{"this build has no VA-API"};
}

Result<std::unique_ptr<PostProcessor>> open_post_processor(AVBufferRef *, const ProcessedKind &, int, int)
{
    return Error{"this build has no VA-API"};
}

} // namespace spice_overlay
