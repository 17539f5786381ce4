// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "driver.h"

#include <string>
#include <vector>

namespace spice_overlay {

/// A short clip that the ffmpeg program made, cut into access units.
struct Clip {
    std::vector<Driver::Unit> units; ///< in decoding order, pts in ns from 0
    std::string path;                ///< the file it came from
};

/// True when the ffmpeg and ffprobe programs are there, with this encoder.
[[nodiscard]] bool can_encode(const std::string &encoder);

/// Encodes `source` (a lavfi graph, "testsrc2=s=320x180:r=30") with `options` ("-c:v libx264 -bf 2"), `frames` frames.
/// Kept in the build directory by what it was made of. Empty units: ffmpeg failed.
[[nodiscard]] Clip make_clip(const std::string &source, const std::string &options, int frames);

/// The video of a NUT file, cut into access units as they lie in it. Empty units: it could not be read.
[[nodiscard]] Clip read_clip(const std::string &path);

/// Takes parameter sets (H.264, HEVC) or sequence headers (AV1, MPEG-2) out of all units. Returns those of the first.
[[nodiscard]] std::vector<std::uint8_t> take_headers(wire::Codec codec, std::vector<Driver::Unit> &units);

/// The clip's pictures, one after the other, as the ffmpeg program decodes them into `format` ("yuv420p", "bgr0").
[[nodiscard]] std::vector<std::uint8_t> reference(const Clip &clip, const std::string &format,
                                                  const std::string &options = "");

} // namespace spice_overlay
