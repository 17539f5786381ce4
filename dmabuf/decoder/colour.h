// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "ipc.h"
#include "yuv_colour.h"

extern "C" {
#include <libavutil/frame.h>
}

#include <cstdint>

namespace spice_overlay {

/// How a picture's samples become RGB: the bitstream's word where it has one, else the stream description's.
struct Colour {
    int matrix = AVCOL_SPC_UNSPECIFIED; ///< H.273 MatrixCoefficients
    bool full_range = false;
};
[[nodiscard]] Colour colour_of(const AVFrame &frame, const wire::ColourDescription &stream);

/// Which pictures the compositor may read as they were decoded.
class DirectRule {
public:
    explicit DirectRule(const ipc::Open &open);

    /// The fourcc as which the compositor shows this picture with the right colours, or 0 when it has to be converted.
    [[nodiscard]] std::uint32_t fourcc(const AVFrame &frame) const;
    /// Whether the compositor would turn the picture's samples into the right colours.
    [[nodiscard]] bool colours_right(const AVFrame &frame) const;
    /// What it has to be told for that.
    [[nodiscard]] YuvColour to_be_told(const AVFrame &frame) const;

private:
    wire::ColourDescription stream_;
    int matrix_;        ///< 0: any
    bool yu12_ = false; ///< accepted, and rather than XRGB8888
    bool nv12_ = false;
    YuvColourSet told_; ///< it can be told these
};

} // namespace spice_overlay
