// SPDX-License-Identifier: LGPL-2.1-or-later
#include "access_unit.h"

#include <algorithm>

namespace spice_overlay::guest {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// A piece of a byte stream behind a start code 00 00 01: a NAL unit, or an MPEG-2 start-code unit.
struct Piece {
    Bytes bytes;        ///< without the start code, with trailing zeros
    std::size_t offset; ///< of its start code in the unit
};

/// Walks a byte stream from start code to start code.
class Pieces {
public:
    explicit Pieces(Bytes unit) : unit_(unit), at_(find(0)) {}

    std::optional<Piece> next()
    {
        if (at_ >= unit_.size())
            return {};
        std::size_t begin = at_ + 3;
        std::size_t end = find(begin);
        Piece piece{unit_.subspan(begin, end - begin), at_};
        at_ = end;
        return piece;
    }

private:
    std::size_t find(std::size_t from) const
    {
        static constexpr std::uint8_t kStartCode[] = {0, 0, 1};
        auto found = std::search(unit_.begin() + static_cast<std::ptrdiff_t>(std::min(from, unit_.size())), unit_.end(),
                                 std::begin(kStartCode), std::end(kStartCode));
        return static_cast<std::size_t>(found - unit_.begin());
    }

    Bytes unit_;
    std::size_t at_;
};

int h264_type(Bytes nal)
{
    return nal[0] & 0x1f;
}

int hevc_type(Bytes nal)
{
    return (nal[0] >> 1) & 0x3f;
}

constexpr int kH264Sps = 7, kH264Pps = 8, kH264Delimiter = 9;
constexpr int kHevcVps = 32, kHevcSps = 33, kHevcPps = 34, kHevcDelimiter = 35;
constexpr std::uint8_t kMpeg2Picture = 0x00, kMpeg2Sequence = 0xb3;
constexpr int kAv1SequenceHeader = 1, kAv1TemporalDelimiter = 2;

bool h264_droppable(Bytes unit)
{
    bool slices = false;
    Pieces pieces(unit);
    while (auto piece = pieces.next()) {
        if (piece->bytes.empty())
            continue;
        int type = h264_type(piece->bytes);
        bool slice = type >= 1 && type <= 5;
        // Other layers' slices (14, 20, 21) are rare enough to leave such units alone.
        if (type == kH264Sps || type == kH264Pps || type == 14 || type == 20 || type == 21)
            return false;
        if (slice && (piece->bytes[0] & 0x60) != 0)
            return false;
        slices |= slice;
    }
    return slices;
}

bool hevc_droppable(Bytes unit, int highest_layer)
{
    bool slices = false;
    Pieces pieces(unit);
    while (auto piece = pieces.next()) {
        if (piece->bytes.size() < 2)
            continue;
        int type = hevc_type(piece->bytes);
        if (type >= kHevcVps && type <= kHevcPps)
            return false;
        if (type >= 32)
            continue;
        // A sub-layer non-reference picture (even, below 16) may still be referred to from a higher layer.
        bool non_reference = type < 16 && type % 2 == 0;
        int temporal_layer = (piece->bytes[1] & 7) - 1;
        if (!non_reference || temporal_layer < highest_layer)
            return false;
        slices = true;
    }
    return slices;
}

bool mpeg2_droppable(Bytes unit)
{
    bool pictures = false;
    Pieces pieces(unit);
    while (auto piece = pieces.next()) {
        if (piece->bytes.empty())
            continue;
        if (piece->bytes[0] == kMpeg2Sequence)
            return false;
        if (piece->bytes[0] != kMpeg2Picture)
            continue;
        constexpr int kB = 3;
        if (piece->bytes.size() < 3 || ((piece->bytes[2] >> 3) & 7) != kB)
            return false;
        pictures = true;
    }
    return pictures;
}

/// Where a sequence header is missing in a temporal unit: behind its delimiter.
std::optional<std::size_t> av1_missing_sequence_header(Bytes unit)
{
    std::size_t at = 0;
    std::size_t behind_delimiter = 0;
    while (at < unit.size()) {
        int type = (unit[at] >> 3) & 15;
        bool extension = unit[at] & 4;
        bool has_size = unit[at] & 2;
        at += extension ? 2 : 1;
        if (type == kAv1SequenceHeader)
            return {};
        if (!has_size)
            break;
        std::uint64_t size = 0;
        for (int i = 0; i < 8; i++) {
            if (at >= unit.size())
                return behind_delimiter;
            std::uint8_t byte = unit[at++];
            size |= static_cast<std::uint64_t>(byte & 0x7f) << (i * 7);
            if (!(byte & 0x80))
                break;
        }
        if (size > unit.size() - at)
            break;
        at += size;
        if (type == kAv1TemporalDelimiter)
            behind_delimiter = at;
    }
    return behind_delimiter;
}

} // namespace

AccessUnitInspector::AccessUnitInspector(wire::Codec codec, Bytes parameter_sets) : codec_(codec)
{
    note_temporal_layers(parameter_sets);
}

void AccessUnitInspector::note_temporal_layers(Bytes unit)
{
    if (codec_ != wire::Codec::kHevc)
        return;
    Pieces pieces(unit);
    while (auto piece = pieces.next())
        if (piece->bytes.size() >= 3 && hevc_type(piece->bytes) == kHevcSps)
            hevc_highest_layer_ = (piece->bytes[2] >> 1) & 7;
}

bool AccessUnitInspector::droppable(Bytes unit)
{
    note_temporal_layers(unit);
    switch (codec_) {
    case wire::Codec::kH264:
        return h264_droppable(unit);
    case wire::Codec::kHevc:
        return hevc_droppable(unit, hevc_highest_layer_);
    case wire::Codec::kMpeg2:
        return mpeg2_droppable(unit);
    case wire::Codec::kMjpeg:
        return true;
    case wire::Codec::kVp8:
    case wire::Codec::kVp9:
    case wire::Codec::kAv1:
        break;
    }
    return false;
}

std::optional<std::size_t> AccessUnitInspector::missing_parameter_sets(Bytes unit) const
{
    if (codec_ == wire::Codec::kAv1)
        return av1_missing_sequence_header(unit);
    if (codec_ != wire::Codec::kH264 && codec_ != wire::Codec::kHevc && codec_ != wire::Codec::kMpeg2)
        return {};

    std::size_t behind_delimiter = 0;
    bool first = true;
    Pieces pieces(unit);
    while (auto piece = pieces.next()) {
        Bytes bytes = piece->bytes;
        if (bytes.empty())
            continue;
        bool found = codec_ == wire::Codec::kH264   ? h264_type(bytes) == kH264Sps
                     : codec_ == wire::Codec::kHevc ? hevc_type(bytes) == kHevcSps
                                                    : bytes[0] == kMpeg2Sequence;
        if (found)
            return {};
        bool delimiter = codec_ == wire::Codec::kH264   ? h264_type(bytes) == kH264Delimiter
                         : codec_ == wire::Codec::kHevc ? hevc_type(bytes) == kHevcDelimiter
                                                        : false;
        if (first && delimiter) {
            // Up to the next start code; a zero in front of that code belongs to it and may stay here as well.
            behind_delimiter = piece->offset + 3 + bytes.size();
        }
        first = false;
    }
    return behind_delimiter;
}

} // namespace spice_overlay::guest
