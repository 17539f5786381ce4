// SPDX-License-Identifier: LGPL-2.1-or-later
#include "slices.h"

#include <cstring>

namespace spice_overlay {

namespace {

/// Whether a slice begins with this byte behind a start code (00 00 01).
bool begins_slice(wire::Codec codec, std::uint8_t byte)
{
    switch (codec) {
    case wire::Codec::kH264: { // nal_unit_type: slices, whole or partitioned, and those of extensions
        const unsigned type = byte & 0x1f;
        return (type >= 1 && type <= 5) || (type >= 19 && type <= 21);
    }
    case wire::Codec::kHevc:
        return (byte >> 1 & 0x3f) < 32;
    default: // MPEG-2: slice_start_code
        return byte >= 0x01 && byte <= 0xaf;
    }
}

} // namespace

std::size_t count_slices(wire::Codec codec, std::span<const std::uint8_t> unit)
{
    const bool scans = codec == wire::Codec::kMjpeg;
    if (!scans && codec != wire::Codec::kH264 && codec != wire::Codec::kHevc && codec != wire::Codec::kMpeg2)
        return 0;
    std::size_t count = 0;
    const std::uint8_t *at = unit.data();
    const std::uint8_t *const end = at + unit.size();
    while (count <= kMaxSlices && at < end) {
        // The rarer byte of either mark: FF of JPEG's SOS, 01 of the start code.
        at =
            static_cast<const std::uint8_t *>(std::memchr(at, scans ? 0xff : 0x01, static_cast<std::size_t>(end - at)));
        if (!at || ++at == end)
            break;
        const bool slice =
            scans ? *at == 0xda : at - unit.data() >= 3 && at[-2] == 0 && at[-3] == 0 && begins_slice(codec, *at);
        count += slice ? 1 : 0;
    }
    return count;
}

} // namespace spice_overlay
