// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/layout/plan.h"
#include "overlay/present/wayland/ladder.h"
#include "portclient/wire/messages.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace spice_overlay {

/// How one stream gets to the screen just now.
struct StreamFacts {
    std::uint32_t stream = 0;
    wire::Codec codec = wire::Codec::kH264;
    std::uint32_t width = 0; ///< coded, pixels
    std::uint32_t height = 0;
    std::uint64_t frames = 0; ///< decoded
    Placement placement = Placement::kHidden;
    std::string transport; ///< of the newest frame, "wl_shm/YU12"; empty: there is none yet
    std::string memory;    ///< what its frames lie in: an allocator's name, "memfd", or "gpu"; empty as well
    std::string rung;      ///< Rung::name
    std::vector<std::pair<std::string, std::string>> passed_over; ///< better rungs, and why
    CpuCopies copies;                                             ///< of a frame
};

} // namespace spice_overlay
