// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace spice_overlay {

/// H.264 parameter sets as NAL units with start codes, from what Vulkan hands to a driver: the rest of the bitstream refers to them.
/// Left out is what does not change a decoded sample (cropping, VUI). Nothing: they use what is not written here (scaling lists,
/// picture order by type 1).
[[nodiscard]] std::optional<std::vector<std::uint8_t>> write_sps(const StdVideoH264SequenceParameterSet &sps);
[[nodiscard]] std::optional<std::vector<std::uint8_t>> write_pps(const StdVideoH264PictureParameterSet &pps);

} // namespace spice_overlay
