// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/messages.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace spice_overlay {

/// Of one access unit. A picture of 8192 lines has 512 rows of macroblocks, which MPEG-2 puts into slices of their own.
inline constexpr std::size_t kMaxSlices = 1024;

/// Slices of an access unit of H.264, HEVC or MPEG-2, and scans of a JPEG picture; counts no further than to kMaxSlices + 1.
/// 0 for codecs whose format has a limit of its own.
[[nodiscard]] std::size_t count_slices(wire::Codec codec, std::span<const std::uint8_t> unit);

/// A unit with the stream's extradata in front of it, of AV1 behind the temporal delimiter that it begins with. Codecs that have none (VP8,
/// VP9, MJPEG) get the unit alone.
[[nodiscard]] std::vector<std::uint8_t> with_extradata(wire::Codec codec, std::span<const std::uint8_t> extradata,
                                                       std::span<const std::uint8_t> unit);

/// A key unit in such a way that a decoder, in the middle of a stream, shows all pictures before it and begins anew with it: where H.264 has
/// no IDR picture the sequence is ended, and a CRA picture of HEVC is made a BLA picture (which, unlike one behind an end, drops none).
[[nodiscard]] std::vector<std::uint8_t> beginning_anew(wire::Codec codec, std::span<const std::uint8_t> key_unit);

} // namespace spice_overlay
