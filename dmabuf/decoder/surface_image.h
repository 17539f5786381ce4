// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/image.h"

extern "C" {
#include <libavutil/hwcontext_drm.h>
}

#include <cstdint>
#include <vector>

namespace spice_overlay {

/// What a driver says of a picture in its memory, as one image, checked whole. One layer is taken as it is; separate layers, each with
/// one plane (R8 and GR88), are fused into what they are together (NV12). `objects` are the descriptors that it names, in its
/// order; those in the struct itself are not looked at. The sides become even, for what reads chroma by halves, where there is memory for it.
[[nodiscard]] Result<Image> image_of(const AVDRMFrameDescriptor &frame, std::vector<UniqueFd> objects,
                                     std::uint32_t width, std::uint32_t height, Image::Backing backing);

} // namespace spice_overlay
