// SPDX-License-Identifier: LGPL-2.1-or-later
#include "colour.h"

namespace spice_overlay {

namespace {

/// 5 and 6 are two names for BT.601's coefficients.
int canonical(int matrix)
{
    return matrix == AVCOL_SPC_BT470BG ? AVCOL_SPC_SMPTE170M : matrix;
}

} // namespace

Colour colour_of(const AVFrame &frame, const wire::ColourDescription &stream)
{
    Colour colour{frame.colorspace, false};
    if (colour.matrix == AVCOL_SPC_UNSPECIFIED)
        colour.matrix = stream.matrix;
    switch (frame.format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P:
        colour.full_range = true;
        break;
    default:
        colour.full_range = frame.color_range == AVCOL_RANGE_UNSPECIFIED ? stream.full_range != 0
                                                                         : frame.color_range == AVCOL_RANGE_JPEG;
        break;
    }
    return colour;
}

DirectRule::DirectRule(const ipc::Open &open)
    : stream_(open.colour), matrix_(canonical(static_cast<int>(open.yuv_matrix))), told_(open.told_colours)
{
    for (unsigned i = 0; i < open.fourcc_count && open.fourccs[i] != kFourccXrgb8888; ++i) {
        yu12_ = yu12_ || open.fourccs[i] == kFourccYu12;
        nv12_ = nv12_ || open.fourccs[i] == kFourccNv12;
    }
}

std::uint32_t DirectRule::fourcc(const AVFrame &frame) const
{
    const bool yu12 = yu12_ && (frame.format == AV_PIX_FMT_YUV420P || frame.format == AV_PIX_FMT_YUVJ420P);
    const bool nv12 = nv12_ && frame.format == AV_PIX_FMT_NV12;
    if ((!yu12 && !nv12) || !colours_right(frame))
        return 0;
    return yu12 ? kFourccYu12 : kFourccNv12;
}

bool DirectRule::colours_right(const AVFrame &frame) const
{
    if (to_be_told(frame) != YuvColour::kUnsaid)
        return true;
    const Colour colour = colour_of(frame, stream_);
    return !colour.full_range
           && (matrix_ == 0 || colour.matrix == AVCOL_SPC_UNSPECIFIED || canonical(colour.matrix) == matrix_);
}

/// A picture that does not say what it is gets what the compositor would take it for by itself.
YuvColour DirectRule::to_be_told(const AVFrame &frame) const
{
    const Colour colour = colour_of(frame, stream_);
    const YuvColour meant =
        yuv_colour(colour.matrix == AVCOL_SPC_UNSPECIFIED ? matrix_ : colour.matrix, colour.full_range);
    return (told_ & set_of(meant)) != 0 ? meant : YuvColour::kUnsaid;
}

} // namespace spice_overlay
