// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

extern "C" {
#include <libavutil/frame.h>
}

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace spice_overlay {

/// A planar 4:2:0 picture as NV12 or P010: `shift` moves samples up to where P010 has them. `pitch` is that of both planes, bytes.
template <typename Sample>
void interleave(const AVFrame &frame, std::uint8_t *luma, std::uint8_t *chroma, std::size_t pitch, unsigned shift)
{
    for (int y = 0; y < frame.height; ++y) {
        auto *to = reinterpret_cast<Sample *>(luma + static_cast<std::size_t>(y) * pitch);
        const auto *from = reinterpret_cast<const Sample *>(frame.data[0] + y * frame.linesize[0]);
        std::transform(from, from + frame.width, to, [&](Sample s) { return static_cast<Sample>(s << shift); });
    }
    for (int y = 0; y < (frame.height + 1) / 2; ++y) {
        auto *to = reinterpret_cast<Sample *>(chroma + static_cast<std::size_t>(y) * pitch);
        const auto *u = reinterpret_cast<const Sample *>(frame.data[1] + y * frame.linesize[1]);
        const auto *v = reinterpret_cast<const Sample *>(frame.data[2] + y * frame.linesize[2]);
        for (int x = 0; x < (frame.width + 1) / 2; ++x) {
            to[2 * x] = static_cast<Sample>(u[x] << shift);
            to[2 * x + 1] = static_cast<Sample>(v[x] << shift);
        }
    }
}

} // namespace spice_overlay
