// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "video_buffer.h"

#include <string>
#include <vector>

namespace spice_overlay {

/// A way of frames to the screen.
struct Rung {
    const char *name;    ///< "dmabuf"
    const char *what;    ///< for people
    std::string why_not; ///< what speaks against it here, and what helps; empty: nothing does
};

/// All of them, best first, as far as the presenter knows: what a stream is, and which GPU could decode it, is not looked at. Asks the
/// transport for its offer.
[[nodiscard]] std::vector<Rung> ladder(const WaylandConnection &connection);

/// The rungs above those: a GPU decodes into memory of its own, which is shown as it is, or which it converts (`processed`) for the
/// compositor.
[[nodiscard]] Rung gpu_rung(bool processed, const std::string &why_not = {});

/// The rung that a buffer stands on, when no GPU decodes.
[[nodiscard]] const char *rung_of(const VideoBuffer &buffer);

/// What keeps a film off a rung that is there, where nothing else does.
inline constexpr char kWrongColours[] = "the film's colours are not those that the compositor takes YUV for (BT.601), "
                                        "and it cannot be told (color-representation)";

/// What processors copy of a frame once it has been decoded, in bytes. Of one that a GPU has decoded it is nothing.
struct CpuCopies {
    std::uint64_t by_decoder = 0;    ///< which converts it
    std::uint64_t by_compositor = 0; ///< which copies it into a texture
    [[nodiscard]] std::uint64_t bytes() const { return by_decoder + by_compositor; }
};
[[nodiscard]] CpuCopies cpu_copies(const VideoFrame &frame);

/// For people: "the decoder converts, the compositor copies".
[[nodiscard]] std::string describe(const CpuCopies &copies);

} // namespace spice_overlay
