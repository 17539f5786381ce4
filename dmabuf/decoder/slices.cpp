// SPDX-License-Identifier: LGPL-2.1-or-later
#include "slices.h"

#include <cstring>
#include <iterator>

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

std::vector<std::uint8_t> with_extradata(wire::Codec codec, std::span<const std::uint8_t> extradata,
                                         std::span<const std::uint8_t> unit)
{
    std::vector<std::uint8_t> whole(unit.begin(), unit.end());
    if (codec == wire::Codec::kVp8 || codec == wire::Codec::kVp9 || codec == wire::Codec::kMjpeg)
        return whole;
    const bool delimited = codec == wire::Codec::kAv1 && unit.size() >= 2 && unit[0] == 0x12 && unit[1] == 0; // 5.6
    whole.insert(whole.begin() + (delimited ? 2 : 0), extradata.begin(), extradata.end());
    return whole;
}

std::vector<std::uint8_t> beginning_anew(wire::Codec codec, std::span<const std::uint8_t> key_unit)
{
    std::vector<std::uint8_t> unit(key_unit.begin(), key_unit.end());
    if (codec == wire::Codec::kH264) {
        constexpr std::uint8_t kEndOfSequence[] = {0, 0, 0, 1, 10}; // 7.3.2.5
        unit.insert(unit.begin(), std::begin(kEndOfSequence), std::end(kEndOfSequence));
    }
    if (codec == wire::Codec::kHevc) {
        constexpr unsigned kBla = 16; // BLA_W_LP; 7.4.2.2
        constexpr unsigned kCra = 21;
        for (std::size_t i = 3; i < unit.size(); ++i)
            if (unit[i - 3] == 0 && unit[i - 2] == 0 && unit[i - 1] == 1 && (unit[i] >> 1 & 0x3f) == kCra)
                unit[i] = static_cast<std::uint8_t>((unit[i] & 0x81) | kBla << 1);
    }
    return unit;
}

} // namespace spice_overlay
