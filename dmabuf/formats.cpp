// SPDX-License-Identifier: LGPL-2.1-or-later
#include "formats.h"

#include <cassert>
#include <cstring>

namespace spice_overlay {

std::string fourcc_name(std::uint32_t fourcc)
{
    std::string name;
    for (int shift = 0; shift < 32; shift += 8) {
        const char c = static_cast<char>(fourcc >> shift & 0x7f);
        name += c >= ' ' && c <= '~' ? c : '?';
    }
    return name;
}

std::optional<ImageLayout> shm_layout(std::uint32_t fourcc, std::uint32_t width, std::uint32_t height,
                                      std::uint32_t stride)
{
    if (width == 0 || height == 0 || width > kMaxBufferSide || height > kMaxBufferSide || stride > 8 * kMaxBufferSide)
        return std::nullopt;
    // With these bounds no product below comes near 2^64; offsets fit 32 bits by the check of the sum.
    const std::uint64_t luma = std::uint64_t{stride} * height;
    ImageLayout layout{fourcc, width, height, 1, {{{0, stride}}}, 0};
    std::uint64_t bytes = luma;
    switch (fourcc) {
    case kFourccXrgb8888:
        if (stride < 4 * width || stride % 4 != 0)
            return std::nullopt;
        break;
    case kFourccNv12:
    case kFourccYu12:
        if (stride < width || stride % 2 != 0 || width % 2 != 0 || height % 2 != 0)
            return std::nullopt;
        bytes = luma + luma / 2;
        if (bytes > kMaxBufferBytes)
            return std::nullopt;
        layout.planes[1] = {static_cast<std::uint32_t>(luma), fourcc == kFourccNv12 ? stride : stride / 2};
        layout.plane_count = 2;
        if (fourcc == kFourccYu12) {
            layout.planes[2] = {static_cast<std::uint32_t>(luma + luma / 4), stride / 2};
            layout.plane_count = 3;
        }
        break;
    default:
        return std::nullopt;
    }
    if (bytes > kMaxBufferBytes)
        return std::nullopt;
    layout.bytes = static_cast<std::size_t>(bytes);
    return layout;
}

void extend_edges(const ImageLayout &layout, std::span<std::uint8_t> memory, std::uint32_t width, std::uint32_t height)
{
    assert(memory.size() >= layout.bytes && width <= layout.width && height <= layout.height);
    for (unsigned i = 0; i < layout.plane_count; ++i) {
        const bool chroma = i > 0;
        const std::size_t sample = layout.fourcc == kFourccNv12 && chroma ? 2 : 1; // bytes
        const std::size_t columns = chroma ? (width + 1) / 2 : width;
        const std::size_t rows = chroma ? (height + 1) / 2 : height;
        const std::size_t stride = layout.planes[i].stride;
        std::uint8_t *plane = memory.data() + layout.planes[i].offset;
        if (columns * sample < stride)
            for (std::size_t y = 0; y < rows; ++y)
                std::memcpy(plane + y * stride + columns * sample, plane + y * stride + (columns - 1) * sample, sample);
        if (rows < (chroma ? layout.height / 2 : layout.height))
            std::memcpy(plane + rows * stride, plane + (rows - 1) * stride, stride);
    }
}

} // namespace spice_overlay
