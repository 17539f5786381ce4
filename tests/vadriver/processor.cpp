// SPDX-License-Identifier: LGPL-2.1-or-later
#include "processor.h"

extern "C" {
#include <libavutil/pixfmt.h>
}

#include <cstring>

namespace spice_overlay {

namespace {

AVPixelFormat format_of(const Surface &surface)
{
    return surface.rgb() ? AV_PIX_FMT_BGR0 : surface.fourcc == VA_FOURCC_P010 ? AV_PIX_FMT_P010 : AV_PIX_FMT_NV12;
}

const int *coefficients(VAProcColorStandardType standard)
{
    return sws_getCoefficients(standard == VAProcColorStandardBT709    ? SWS_CS_ITU709
                               : standard == VAProcColorStandardBT2020 ? SWS_CS_BT2020
                                                                       : SWS_CS_ITU601);
}

bool whole(const VARectangle *region, const Surface &surface)
{
    return !region
           || (region->x == 0 && region->y == 0 && region->width == surface.width && region->height == surface.height);
}

} // namespace

bool Processor::process(const VAProcPipelineParameterBuffer &parameters, const Surface &source, const Surface &target)
{
    if (!whole(parameters.surface_region, source) || !whole(parameters.output_region, target)
        || source.width != target.width || source.height != target.height || source.rgb())
        return false;
    const auto same_colours =
        parameters.surface_color_standard == parameters.output_color_standard
        && parameters.input_color_properties.color_range == parameters.output_color_properties.color_range;
    if (source.fourcc == target.fourcc && same_colours) { // and so are pitch and memory
        std::memcpy(target.memory.pixels.data(), source.memory.pixels.data(), source.memory.pixels.size());
        return true;
    }
    const auto width = static_cast<int>(source.width);
    const auto height = static_cast<int>(source.height);
    context_.reset(sws_getCachedContext(context_.release(), width, height, format_of(source), width, height,
                                        format_of(target), SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT,
                                        nullptr, nullptr, nullptr));
    if (!context_)
        return false;
    const auto full = [](const VAProcColorProperties &p) { return p.color_range == VA_SOURCE_RANGE_FULL ? 1 : 0; };
    sws_setColorspaceDetails(context_.get(), coefficients(parameters.surface_color_standard),
                             full(parameters.input_color_properties), coefficients(parameters.output_color_standard),
                             full(parameters.output_color_properties), 0, 1 << 16, 1 << 16);
    const std::uint8_t *const from[4] = {source.plane(0), source.plane(1), nullptr, nullptr};
    std::uint8_t *const to[4] = {target.plane(0), target.rgb() ? nullptr : target.plane(1), nullptr, nullptr};
    const int from_strides[4] = {static_cast<int>(source.pitch), static_cast<int>(source.pitch), 0, 0};
    const int to_strides[4] = {static_cast<int>(target.pitch), static_cast<int>(target.pitch), 0, 0};
    return sws_scale(context_.get(), from, from_strides, 0, height, to, to_strides) == height;
}

} // namespace spice_overlay
