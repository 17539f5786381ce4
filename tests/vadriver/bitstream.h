// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "surfaces.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

#include <va/va.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace spice_overlay {

/// One frame as a driver is given it: parameters and slice data, nothing else of the bitstream.
struct Picture {
    std::vector<std::uint8_t> parameters;       ///< VAPictureParameterBufferVP8 or VADecPictureParameterBufferVP9
    std::vector<std::uint8_t> slice_parameters; ///< VASliceParameterBufferVP8 or VP9
    std::vector<std::uint8_t> slice;
};

/// Decodes VP8 and VP9 frames from what libva hands to a driver: from the slice data alone, with what FFmpeg takes off a VP8
/// frame put before it again. Where a real driver reads references from surfaces, this has its own copies of them: it is to be given
/// all frames of one stream, in order.
class SliceDecoder {
public:
    [[nodiscard]] static std::unique_ptr<SliceDecoder> open(VAProfile profile);

    /// Decodes the frame into the surface, whether it is to be shown or not. False: it cannot be decoded.
    [[nodiscard]] bool decode(const Picture &picture, const Surface &surface);

private:
    struct FreeContext {
        void operator()(AVCodecContext *context) const { avcodec_free_context(&context); }
    };
    [[nodiscard]] bool send(std::span<const std::uint8_t> data, const Surface &surface);

    std::unique_ptr<AVCodecContext, FreeContext> context_;
};

} // namespace spice_overlay
