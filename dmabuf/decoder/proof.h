// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "colour.h"
#include "dmabuf/image.h"
#include "portclient/base/result.h"

extern "C" {
#include <libavutil/frame.h>
}

namespace spice_overlay {

/// How a picture of a device's compares with what software makes of the same unit.
enum class Proof {
    kRight,
    kUnreadable, ///< this platform lets nobody look at it
};

/// Reads a surface back and compares it with `reference`, a planar picture of 8 or 10 bits: through its dmabuf where that lies line by
/// line, which proves the dmabuf too, else through the driver. `exact`: the codec leaves no room for rounding. An error says what is
/// wrong.
[[nodiscard]] Result<Proof> prove(const AVFrame &surface, const Image &memory, const AVFrame &reference, bool exact);

/// The same for a picture that a device has converted since, into NV12, P010 or XRGB8888: `colour` is what the samples of `reference`
/// mean. RGB is judged by what its small squares are on average, since devices filter chroma as they like, and has to be nearer to what
/// these colours make than to what any others would.
[[nodiscard]] Result<Proof> prove_converted(const AVFrame &surface, const Image &memory, const AVFrame &reference,
                                            const Colour &colour);

} // namespace spice_overlay
