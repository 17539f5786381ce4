// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/common/spice-overlay-guest.h"

#include <gst/gst.h>

#include <cstdint>
#include <span>
#include <vector>

namespace spice_overlay::gst {

/// The parameter sets of an H.264 or HEVC access unit (Annex B), as a byte stream: what a decoder needs before the unit.
/// Empty when the unit does not carry a sequence parameter set, and for other codecs.
[[nodiscard]] std::vector<std::uint8_t> parameter_sets(spice_overlay_codec codec, std::span<const std::uint8_t> unit);

/// Parsers put parameter sets before the first key unit only, but a decoder may begin with any. One thread at a time.
class ParameterSets {
public:
    void begin(spice_overlay_codec codec);
    /// The unit with what it lacks; takes it and returns it, or another one in its place.
    [[nodiscard]] GstBuffer *complete(GstBuffer *unit);

private:
    spice_overlay_codec codec_{};
    std::vector<std::uint8_t> last_;
};

/// True when decoding can begin with this unit.
[[nodiscard]] bool is_key(spice_overlay_codec codec, GstBuffer *unit);

} // namespace spice_overlay::gst
