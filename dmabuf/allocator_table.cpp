// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocator.h"

namespace spice_overlay {

/// Alone in its file, so that a program of the tests links another in its place.
std::span<const AllocatorDriver> allocator_drivers()
{
    static const AllocatorDriver kDrivers[] = {
        {Allocator::kUdmabuf, name(Allocator::kUdmabuf), probe_udmabuf},
        {Allocator::kDmaHeap, name(Allocator::kDmaHeap), probe_dma_heap},
    };
    return kDrivers;
}

} // namespace spice_overlay
