// SPDX-License-Identifier: LGPL-2.1-or-later
#include "surfaces.h"

#include <drm_fourcc.h>
#include <fcntl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

namespace spice_overlay {

namespace {

constexpr std::uint32_t kAlignment = 64; ///< pixels: like a GPU's, wider and higher than the picture

std::uint32_t aligned(std::uint32_t value, std::uint32_t to)
{
    return (value + to - 1) / to * to;
}

} // namespace

Layers layers_from_environment()
{
    const char *value = std::getenv("LIBVA_TEST_LAYERS");
    const std::string text = value ? value : "";
    return text == "separate" ? Layers::kSeparate : text == "objects" ? Layers::kObjects : Layers::kAny;
}

bool processes_from_environment()
{
    const char *value = std::getenv("LIBVA_TEST_PROCESSING");
    return value && *value;
}

std::optional<Surface> make_surface(int udmabuf, std::uint32_t fourcc, std::uint32_t width, std::uint32_t height)
{
    Surface surface;
    surface.fourcc = fourcc;
    surface.width = width;
    surface.height = height;
    surface.pitch = aligned(width, kAlignment) * surface.sample_bytes();
    surface.chroma_offset = surface.pitch * aligned(height, kAlignment);
    const std::size_t size = std::size_t{surface.chroma_offset} / 2 * (surface.rgb() ? 2 : 3);
    auto memory = allocate_frame(udmabuf >= 0 ? Allocator::kUdmabuf : Allocator::kStandIn, udmabuf,
                                 "spice-overlay-frame-va", whole_pages(size));
    if (!memory)
        return std::nullopt;
    surface.memory = std::move(*memory);
    return surface;
}

void Surface::blacken() const
{
    const std::size_t luma = chroma_offset;
    std::memset(plane(0), 0, luma);
    if (rgb())
        return;
    if (sample_bytes() == 1)
        std::memset(plane(1), 0x80, luma / 2);
    else
        std::fill_n(reinterpret_cast<std::uint16_t *>(plane(1)), luma / 4, std::uint16_t{0x8000});
}

VAStatus export_surface(const Surface &surface, std::uint32_t flags, Layers layers, const Fault &fault,
                        VADRMPRIMESurfaceDescriptor &out)
{
    const bool separate = (flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS) != 0;
    if (fault.is("export") || (!separate && layers != Layers::kAny && !surface.rgb()))
        return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    const bool deep = surface.fourcc == VA_FOURCC_P010;
    out = {};
    out.fourcc = surface.fourcc;
    out.width = surface.width;
    out.height = surface.height;
    out.num_objects = layers == Layers::kObjects && !surface.rgb() ? 2 : 1;
    for (unsigned i = 0; i < out.num_objects; ++i) {
        int source = surface.memory.dmabuf.get();
        UniqueFd other;
        if (fault.is("memory")) {
            auto elsewhere =
                allocate_frame(Allocator::kStandIn, -1, "spice-overlay-frame-no", surface.memory.pixels.size());
            if (!elsewhere)
                return VA_STATUS_ERROR_ALLOCATION_FAILED;
            other = std::move(elsewhere->dmabuf);
            source = other.get();
        }
        out.objects[i].fd = ::fcntl(source, F_DUPFD_CLOEXEC, 0);
        out.objects[i].size = static_cast<std::uint32_t>(surface.memory.pixels.size());
        out.objects[i].drm_format_modifier =
            fault.is("modifier") && !surface.linear_wanted ? I915_FORMAT_MOD_Y_TILED : DRM_FORMAT_MOD_LINEAR;
    }
    constexpr std::uint32_t kLayers[2][2] = {{DRM_FORMAT_R8, DRM_FORMAT_GR88}, {DRM_FORMAT_R16, DRM_FORMAT_GR1616}};
    if (surface.rgb()) {
        out.num_layers = 1;
        out.layers[0].drm_format = DRM_FORMAT_XRGB8888;
        out.layers[0].num_planes = 1;
        out.layers[0].pitch[0] = fault.is("stride") ? surface.pitch * 4 : surface.pitch;
        return VA_STATUS_SUCCESS;
    }
    out.num_layers = separate ? 2 : 1;
    for (unsigned plane = 0; plane < 2; ++plane) {
        auto &layer = out.layers[separate ? plane : 0];
        const unsigned at = separate ? 0 : plane;
        layer.drm_format = separate ? kLayers[deep][plane] : deep ? DRM_FORMAT_P010 : DRM_FORMAT_NV12;
        layer.num_planes = at + 1;
        layer.object_index[at] = out.num_objects > 1 ? plane : 0;
        layer.offset[at] = plane ? surface.chroma_offset : 0;
        layer.pitch[at] = fault.is("stride") ? surface.pitch * 4 : surface.pitch;
    }
    return VA_STATUS_SUCCESS;
}

} // namespace spice_overlay
