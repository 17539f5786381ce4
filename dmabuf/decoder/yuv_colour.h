// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace spice_overlay {

/// What the samples of a YUV picture mean, as compositors can be told.
enum class YuvColour : std::uint32_t {
    kUnsaid = 0, ///< nothing is to be said of it
    kBt601 = 1,
    kBt601Full = 2, ///< full range
    kBt709 = 3,
    kBt709Full = 4,
    kBt2020 = 5,
    kBt2020Full = 6,
};
inline constexpr std::uint32_t kYuvColours = 7; ///< how many there are

/// Several of them, a bit each.
using YuvColourSet = std::uint32_t;
constexpr YuvColourSet set_of(YuvColour colour)
{
    return colour == YuvColour::kUnsaid ? 0 : YuvColourSet{1} << static_cast<std::uint32_t>(colour);
}

/// Of an H.273 MatrixCoefficients; kUnsaid for one that is not among them.
constexpr YuvColour yuv_colour(int matrix, bool full_range)
{
    switch (matrix) {
    case 1:
        return full_range ? YuvColour::kBt709Full : YuvColour::kBt709;
    case 5:
    case 6:
        return full_range ? YuvColour::kBt601Full : YuvColour::kBt601;
    case 9:
        return full_range ? YuvColour::kBt2020Full : YuvColour::kBt2020;
    default:
        return YuvColour::kUnsaid;
    }
}

} // namespace spice_overlay
