// SPDX-License-Identifier: LGPL-2.1-or-later
#include "convert.h"

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace spice_overlay {

namespace {

/// The ffmpeg program's own. Within 3 of 255 of the exact value for 4:2:0 and 4:2:2, exact for 4:4:4; 0.5 ms for a
/// 1080p picture where SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, exact for all, takes 18.
constexpr int kFlags = SWS_BICUBIC;

/// The formats that say full range by their name are deprecated, and warned about; the range is said separately.
AVPixelFormat without_range(int format)
{
    switch (format) {
    case AV_PIX_FMT_YUVJ420P:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ411P:
        return AV_PIX_FMT_YUV411P;
    case AV_PIX_FMT_YUVJ422P:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ440P:
        return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ444P:
        return AV_PIX_FMT_YUV444P;
    default:
        return static_cast<AVPixelFormat>(format);
    }
}

} // namespace

Status RgbConverter::convert(const AVFrame &picture, const Colour &colour, std::uint8_t *destination,
                             std::uint32_t stride)
{
    const Key key{picture.width, picture.height, picture.format, colour.matrix, colour.full_range};
    if (!context_ || key != key_) {
        const AVPixelFormat format = without_range(picture.format);
        const auto error = [&] {
            const char *name = av_get_pix_fmt_name(format);
            return Error{std::string("cannot show pictures of format ") + (name ? name : "unknown")};
        };
        context_.reset();
        if (!sws_isSupportedInput(format))
            return error();
        context_.reset(sws_getContext(key.width, key.height, format, key.width, key.height, AV_PIX_FMT_BGR0, kFlags,
                                      nullptr, nullptr, nullptr));
        if (!context_)
            return error();
        // An unspecified matrix is BT.601 to swscale, as it is to the ffmpeg program.
        sws_setColorspaceDetails(context_.get(), sws_getCoefficients(key.matrix), key.full_range,
                                 sws_getCoefficients(SWS_CS_DEFAULT), 0, 0, 1 << 16, 1 << 16);
        key_ = key;
    }
    std::uint8_t *const planes[4] = {destination, nullptr, nullptr, nullptr};
    const int strides[4] = {static_cast<int>(stride), 0, 0, 0};
    if (sws_scale(context_.get(), picture.data, picture.linesize, 0, picture.height, planes, strides) != picture.height)
        return Error{"cannot convert a picture to RGB"};
    return Success{};
}

} // namespace spice_overlay
