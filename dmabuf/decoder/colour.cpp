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
    : stream_(open.colour), matrix_(canonical(static_cast<int>(open.yuv_matrix)))
{
    for (unsigned i = 0; i < open.fourcc_count && open.fourccs[i] != kFourccXrgb8888; ++i) {
        yu12_ = yu12_ || open.fourccs[i] == kFourccYu12;
        nv12_ = nv12_ || open.fourccs[i] == kFourccNv12;
    }
}

std::uint32_t DirectRule::fourcc(const AVFrame &frame) const
{
    const bool yu12 = yu12_ && frame.format == AV_PIX_FMT_YUV420P;
    const bool nv12 = nv12_ && frame.format == AV_PIX_FMT_NV12;
    if (!yu12 && !nv12)
        return 0;
    const Colour colour = colour_of(frame, stream_);
    if (colour.full_range)
        return 0;
    if (matrix_ != 0 && colour.matrix != AVCOL_SPC_UNSPECIFIED && canonical(colour.matrix) != matrix_)
        return 0;
    return yu12 ? kFourccYu12 : kFourccNv12;
}

} // namespace spice_overlay
