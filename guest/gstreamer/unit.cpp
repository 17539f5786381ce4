// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unit.h"

#include "guest/conversation/access_unit.h"

#include <cstddef>

namespace spice_overlay::gst {
namespace {

/// Behind the next start code (three bytes) at or after `at`; the size where there is none.
std::size_t next_nal(std::span<const std::uint8_t> unit, std::size_t at)
{
    for (; at + 3 < unit.size(); at++)
        if (unit[at] == 0 && unit[at + 1] == 0 && unit[at + 2] == 1)
            return at + 3;
    return unit.size();
}

struct Kind {
    bool sequence, set, picture;
};

Kind kind(spice_overlay_codec codec, std::uint8_t header)
{
    if (codec == SPICE_OVERLAY_CODEC_H264) {
        int type = header & 31;
        return {type == 7, type == 7 || type == 8, type >= 1 && type <= 5};
    }
    int type = header >> 1 & 63;
    return {type == 33, type >= 32 && type <= 34, type < 32};
}

} // namespace

std::vector<std::uint8_t> parameter_sets(spice_overlay_codec codec, std::span<const std::uint8_t> unit)
{
    std::vector<std::uint8_t> sets;
    bool sequence = false;
    if (codec != SPICE_OVERLAY_CODEC_H264 && codec != SPICE_OVERLAY_CODEC_HEVC)
        return sets;
    for (std::size_t nal = next_nal(unit, 0); nal < unit.size();) {
        std::size_t next = next_nal(unit, nal);
        Kind found = kind(codec, unit[nal]);
        if (found.picture)
            break; // parameter sets come first; the pictures are most of the bytes
        if (found.set) {
            std::size_t end = next == unit.size() ? next : next - 3;
            while (end > nal && unit[end - 1] == 0)
                end--;
            sequence |= found.sequence;
            sets.insert(sets.end(), {0, 0, 0, 1});
            sets.insert(sets.end(), unit.begin() + static_cast<std::ptrdiff_t>(nal),
                        unit.begin() + static_cast<std::ptrdiff_t>(end));
        }
        nal = next;
    }
    if (!sequence)
        sets.clear();
    return sets;
}

void ParameterSets::begin(spice_overlay_codec codec)
{
    codec_ = codec;
    last_.clear();
}

GstBuffer *ParameterSets::complete(GstBuffer *unit)
{
    GstMapInfo map;
    if ((codec_ != SPICE_OVERLAY_CODEC_H264 && codec_ != SPICE_OVERLAY_CODEC_HEVC) || !is_key(codec_, unit)
        || !gst_buffer_map(unit, &map, GST_MAP_READ))
        return unit;
    std::span<const std::uint8_t> bytes(map.data, map.size);
    std::optional<std::size_t> at;
    if (std::vector<std::uint8_t> sets = parameter_sets(codec_, bytes); !sets.empty())
        last_ = std::move(sets);
    else if (!last_.empty())
        at = guest::AccessUnitInspector(static_cast<wire::Codec>(codec_), last_).missing_parameter_sets(bytes);
    gst_buffer_unmap(unit, &map);
    if (!at)
        return unit;

    constexpr auto kAll = static_cast<GstBufferCopyFlags>(GST_BUFFER_COPY_ALL);
    GstBuffer *whole = gst_buffer_copy_region(unit, kAll, 0, *at);
    gst_buffer_append_memory(whole, gst_memory_new_wrapped(static_cast<GstMemoryFlags>(0),
                                                           g_memdup2(last_.data(), last_.size()), last_.size(), 0,
                                                           last_.size(), nullptr, g_free));
    gst_buffer_copy_into(whole, unit, GST_BUFFER_COPY_MEMORY, *at, static_cast<gsize>(-1));
    gst_buffer_unref(unit);
    return whole;
}

bool is_key(spice_overlay_codec codec, GstBuffer *unit)
{
    if (codec == SPICE_OVERLAY_CODEC_VP8) { // has no parser in GStreamer that would tell; RFC 6386, 9.1
        std::uint8_t first = 1;
        return gst_buffer_extract(unit, 0, &first, 1) == 1 && !(first & 1);
    }
    return !GST_BUFFER_FLAG_IS_SET(unit, GST_BUFFER_FLAG_DELTA_UNIT);
}

} // namespace spice_overlay::gst
