// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocator.h"

namespace spice_overlay {

/// Alone in its file, so that a program of the tests links another in its place.
std::span<const AllocatorDriver> allocator_drivers()
{
    static constexpr AllocatorDriver kDrivers[] = {
        {Allocator::kUdmabuf, "udmabuf", probe_udmabuf},
        {Allocator::kDmaHeap, "dma-heap", probe_dma_heap},
    };
    return kDrivers;
}

} // namespace spice_overlay
