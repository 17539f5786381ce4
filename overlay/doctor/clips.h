// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/messages.h"

#include <cstdint>
#include <span>
#include <vector>

namespace spice_overlay::doctor {

/// Half a second of film, in this program (made by make_clips.py): a box that moves over colour bars. Says nothing of its colours.
struct Clip {
    wire::Codec codec = wire::Codec::kH264;
    std::uint32_t width = 0; ///< pixels
    std::uint32_t height = 0;
    std::vector<std::span<const std::uint8_t>> units; ///< one picture each, in order, the first a key unit
};

inline constexpr std::uint32_t kFrameRate = 30; ///< of all clips

/// H.264, HEVC, VP9, AV1, each in 1080p and 2160p.
[[nodiscard]] std::vector<Clip> clips();

} // namespace spice_overlay::doctor
