// SPDX-License-Identifier: LGPL-2.1-or-later
#include "surface_image.h"

#include <algorithm>
#include <string>

namespace spice_overlay {

namespace {

/// Layers of one plane each, and the format that they are together.
struct Fusion {
    std::uint32_t luma;
    std::uint32_t chroma;
    std::uint32_t fused;
};
constexpr Fusion kFusions[] = {
    {fourcc_code('R', '8', ' ', ' '), fourcc_code('G', 'R', '8', '8'), kFourccNv12},
    {fourcc_code('R', '1', '6', ' '), fourcc_code('G', 'R', '3', '2'), kFourccP010},
};

Result<std::uint32_t> format_of(const AVDRMFrameDescriptor &frame)
{
    if (frame.nb_layers == 1)
        return frame.layers[0].format;
    if (frame.nb_layers == 2 && frame.layers[0].nb_planes == 1 && frame.layers[1].nb_planes == 1)
        for (const Fusion &fusion : kFusions)
            if (frame.layers[0].format == fusion.luma && frame.layers[1].format == fusion.chroma)
                return fusion.fused;
    return Error{"it is exported in " + std::to_string(frame.nb_layers) + " layers that make no known format"};
}

/// Whether lines hold `width` pixels and planes `height` lines, with what follows each in its object.
bool has_room(const ImageDescription &d, const FormatInfo &format, std::uint32_t width, std::uint32_t height)
{
    if (d.modifier != kModifierLinear && d.modifier != kModifierInvalid)
        return true; // tiles are larger than two pixels
    for (unsigned i = 0; i < format.plane_count; ++i) {
        const auto &plane = d.planes[i];
        if ((width >> format.planes[i].x_shift) * format.planes[i].bytes > plane.stride)
            return false;
        const std::uint64_t end = plane.offset + std::uint64_t{plane.stride} * (height >> format.planes[i].y_shift);
        for (unsigned k = 0; k < format.plane_count; ++k)
            if (d.planes[k].object == plane.object && d.planes[k].offset > plane.offset && d.planes[k].offset < end)
                return false;
    }
    return true;
}

} // namespace

Result<Image> image_of(const AVDRMFrameDescriptor &frame, std::vector<UniqueFd> objects, std::uint32_t width,
                       std::uint32_t height, Image::Backing backing)
{
    if (frame.nb_objects < 1 || frame.nb_objects > static_cast<int>(kMaxPlanes) || frame.nb_layers < 1
        || frame.nb_layers > static_cast<int>(kMaxPlanes)
        || objects.size() != static_cast<std::size_t>(frame.nb_objects))
        return Error{"it is exported as nonsense"};
    auto fourcc = format_of(frame);
    if (!fourcc)
        return fourcc.error();
    const FormatInfo *format = format_info(*fourcc);
    if (!format)
        return Error{"it is exported as " + fourcc_name(*fourcc) + ", which is not known here"};

    ImageDescription d;
    d.fourcc = *fourcc;
    d.modifier = frame.objects[0].format_modifier;
    for (int i = 1; i < frame.nb_objects; ++i)
        if (frame.objects[i].format_modifier != d.modifier)
            return Error{"its planes have different modifiers"};
    for (int layer = 0; layer < frame.nb_layers; ++layer) {
        for (int i = 0; i < frame.layers[layer].nb_planes; ++i) {
            if (i >= AV_DRM_MAX_PLANES || d.plane_count == kMaxPlanes)
                return Error{"it is exported in too many planes"};
            const AVDRMPlaneDescriptor &plane = frame.layers[layer].planes[i];
            if (plane.object_index < 0 || plane.offset < 0 || plane.pitch < 0 || plane.offset > UINT32_MAX
                || plane.pitch > UINT32_MAX)
                return Error{"it is exported as nonsense"};
            d.planes[d.plane_count++] = {static_cast<std::uint32_t>(plane.object_index),
                                         static_cast<std::uint32_t>(plane.offset),
                                         static_cast<std::uint32_t>(plane.pitch)};
        }
    }
    d.width = width;
    d.height = height;
    const std::uint32_t even_width = width + width % 2;
    const std::uint32_t even_height = height + height % 2;
    if (d.plane_count >= format->plane_count && has_room(d, *format, even_width, even_height)) {
        d.width = even_width;
        d.height = even_height;
    }
    return Image::make(d, std::move(objects), backing);
}

} // namespace spice_overlay
