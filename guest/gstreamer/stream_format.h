// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/common/spice-overlay-guest.h"
#include "portclient/base/result.h"

#include <gst/gst.h>

namespace spice_overlay::gst {

/// What the sink pads take: H.264 and HEVC (byte stream, whole access units), VP8, VP9, AV1 and MPEG-2 video.
extern const char *const kEncodedCaps;

/// The codec of caps, as far as a name alone tells; 0 when it is none of ours.
[[nodiscard]] spice_overlay_codec codec_of(const GstCaps *caps);

/// What the protocol says of a stream with these fixed caps; extradata is left empty. The error says why such a stream
/// cannot be redirected.
[[nodiscard]] Result<spice_overlay_format> stream_format(const GstCaps *caps);

} // namespace spice_overlay::gst
