// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace spice_overlay {

constexpr std::uint32_t fourcc_code(char a, char b, char c, char d)
{
    return static_cast<std::uint32_t>(static_cast<unsigned char>(a))
           | static_cast<std::uint32_t>(static_cast<unsigned char>(b)) << 8
           | static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 16
           | static_cast<std::uint32_t>(static_cast<unsigned char>(d)) << 24;
}

// DRM_FORMAT_*, the formats that frames in shared memory come in.
inline constexpr std::uint32_t kFourccYu12 = fourcc_code('Y', 'U', '1', '2');
inline constexpr std::uint32_t kFourccNv12 = fourcc_code('N', 'V', '1', '2');
inline constexpr std::uint32_t kFourccXrgb8888 = fourcc_code('X', 'R', '2', '4');
// And others that images in dmabufs come in.
inline constexpr std::uint32_t kFourccArgb8888 = fourcc_code('A', 'R', '2', '4');
inline constexpr std::uint32_t kFourccXbgr8888 = fourcc_code('X', 'B', '2', '4');
inline constexpr std::uint32_t kFourccYuyv = fourcc_code('Y', 'U', 'Y', 'V');
inline constexpr std::uint32_t kFourccP010 = fourcc_code('P', '0', '1', '0');

// DRM_FORMAT_MOD_*
inline constexpr std::uint64_t kModifierLinear = 0;
inline constexpr std::uint64_t kModifierInvalid = 0x00ffffffffffffff; ///< the driver knows the layout, or guesses it

/// Whether its samples are colours themselves; else they are YUV.
constexpr bool holds_rgb(std::uint32_t fourcc)
{
    return fourcc == kFourccXrgb8888 || fourcc == kFourccArgb8888 || fourcc == kFourccXbgr8888;
}

/// The four characters of a fourcc, for people.
[[nodiscard]] std::string fourcc_name(std::uint32_t fourcc);

/// Allocated pictures may exceed the largest coded picture by a decoder's alignment, and by no more than this.
inline constexpr std::uint32_t kMaxBufferSide = 8192 + 256;    ///< pixels
inline constexpr std::uint64_t kMaxBufferBytes = 160ull << 20; ///< of one image

/// Where the planes of an image lie in one block of memory.
struct ImageLayout {
    std::uint32_t fourcc = 0;
    std::uint32_t width = 0; ///< pixels, allocated
    std::uint32_t height = 0;
    struct Plane {
        std::uint32_t offset = 0; ///< bytes
        std::uint32_t stride = 0; ///< bytes
        bool operator==(const Plane &) const = default;
    };
    unsigned plane_count = 0;
    std::array<Plane, 3> planes{};
    std::size_t bytes = 0; ///< end of the last plane
    bool operator==(const ImageLayout &) const = default;
};

/// The layout that wl_shm reads into a buffer of this size: it knows the stride of the first plane alone and derives
/// the rest, chroma planes following with half of it (YU12) or all of it (NV12). Nothing for a format not listed above,
/// a zero or odd (YUV) size, a stride that does not hold a line, or anything beyond the limits.
[[nodiscard]] std::optional<ImageLayout> shm_layout(std::uint32_t fourcc, std::uint32_t width, std::uint32_t height,
                                                    std::uint32_t stride);

/// Continues the picture of `width` x `height` pixels, which fills the top left of the image, by one sample to the right,
/// where a row goes on, and below, where the image does: what filters at the picture's edge reads that sample too. YUV formats only;
/// `memory` holds layout.bytes.
void extend_edges(const ImageLayout &layout, std::span<std::uint8_t> memory, std::uint32_t width, std::uint32_t height);

} // namespace spice_overlay
