// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/messages.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spice_overlay::guest {

/// One access unit of a file, in the form the wire carries. Times are nanoseconds of media time: 0 is where the file
/// begins.
struct Unit {
    std::vector<std::uint8_t> data;
    std::int64_t pts = 0; ///< when to show it
    std::int64_t dts = 0; ///< when to send it; never after pts
    std::int64_t duration = 0;
    bool key = false;
    bool droppable = false;
    bool discontinuity = false; ///< the source left out something before it
};

/// Looks into access units, without decoding them. Reads hostile bytes; never looks outside what it is given.
class AccessUnitInspector {
public:
    /// `parameter_sets` (what a decoder needs before the first key frame) has the same form as the units; may be empty.
    AccessUnitInspector(wire::Codec codec, std::span<const std::uint8_t> parameter_sets);

    /// True when no other unit refers to this one, so that it may be left out. Never true for VP8, VP9 and AV1: their
    /// frames also hand on probabilities and motion vectors.
    [[nodiscard]] bool droppable(std::span<const std::uint8_t> unit);

    /// Where parameter sets have to be put into a key unit: nothing when it carries its own, or needs none.
    [[nodiscard]] std::optional<std::size_t> missing_parameter_sets(std::span<const std::uint8_t> unit) const;

private:
    void note_temporal_layers(std::span<const std::uint8_t> unit);

    wire::Codec codec_;
    int hevc_highest_layer_ = 0; ///< sps_max_sub_layers_minus1, as last seen
};

} // namespace spice_overlay::guest
