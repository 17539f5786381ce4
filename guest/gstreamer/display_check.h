// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gst/gst.h>

#include <string>

namespace spice_overlay::gst {

/// Whether everything that `src` leads to ends in a sink that shows pictures to somebody: in a transcoder, or in what makes
/// thumbnails, a placeholder would be taken for the video. Empty, or what is there instead. "not linked" while there is no end.
[[nodiscard]] std::string why_not_displayed(GstPad *src);

} // namespace spice_overlay::gst
