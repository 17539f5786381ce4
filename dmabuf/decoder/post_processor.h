// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "colour.h"
#include "portclient/base/result.h"

extern "C" {
#include <libavutil/frame.h>
}

#include <cstdint>
#include <memory>
#include <vector>

namespace spice_overlay {

/// A GPU that converts its decoder's pictures into surfaces of another kind, without a processor. One thread.
class PostProcessor {
public:
    virtual ~PostProcessor() = default;

    /// A picture of the same size and cropping as the surface `frame`, whose colours are `colour`, in a surface of the processor's: a
    /// frame like the decoder's own. It is not finished yet (Hardware::finish()).
    [[nodiscard]] virtual Result<std::shared_ptr<AVFrame>> convert(const AVFrame &frame, const Colour &colour) = 0;
};

/// What a PostProcessor makes.
struct ProcessedKind {
    std::uint32_t fourcc = 0;             ///< NV12, P010 or XRGB8888, the latter in full range
    std::vector<std::uint64_t> modifiers; ///< any of these; a driver that cannot be told takes one of its own choice
};

/// Of the device that decodes (borrowed), for pictures of `width` x `height` pixels.
[[nodiscard]] Result<std::unique_ptr<PostProcessor>> open_post_processor(AVBufferRef *device, const ProcessedKind &kind,
                                                                         int width, int height);

} // namespace spice_overlay
