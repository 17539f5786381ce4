// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/decoder/decoder_process.h"

#include <cstdint>

namespace spice_overlay {

/// Memory of 64x32 pixels as the decoder sends it: a memfd, if `with_memfd`, and the same as a dmabuf.
inline FrameBuffer test_frame(std::uint32_t fourcc = kFourccYu12, bool with_memfd = true)
{
    const auto layout = *shm_layout(fourcc, 64, 32, fourcc == kFourccXrgb8888 ? 256 : 64);
    auto memory = allocate_frame(Allocator::kStandIn, -1, "test", whole_pages(layout.bytes)).value();
    ImageDescription description{fourcc, 64, 32, kModifierLinear, layout.plane_count, {}};
    FrameBuffer buffer;
    for (unsigned i = 0; i < layout.plane_count; ++i) {
        description.planes[i] = {0, layout.planes[i].offset, layout.planes[i].stride};
        buffer.planes[i] = {layout.planes[i].offset, layout.planes[i].stride};
    }
    std::vector<UniqueFd> objects;
    objects.push_back(std::move(memory.dmabuf));
    buffer.image = Image::make(description, std::move(objects), Image::Backing::kStandIn).value();
    buffer.fourcc = fourcc;
    buffer.width = 64;
    buffer.height = 32;
    if (with_memfd) {
        buffer.size = memory.pixels.size();
        buffer.fd = std::move(memory.memfd);
    }
    return buffer;
}

} // namespace spice_overlay
