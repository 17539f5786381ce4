// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/messages.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace spice_overlay {

/// Of one access unit. A picture of 8192 lines has 512 rows of macroblocks, which MPEG-2 puts into slices of their own.
inline constexpr std::size_t kMaxSlices = 1024;

/// Slices of an access unit of H.264, HEVC or MPEG-2, and scans of a JPEG picture; counts no further than to kMaxSlices + 1.
/// 0 for codecs whose format has a limit of its own.
[[nodiscard]] std::size_t count_slices(wire::Codec codec, std::span<const std::uint8_t> unit);

} // namespace spice_overlay
