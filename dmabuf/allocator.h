// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "image.h"
#include "memfd.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace spice_overlay {

/// By what memory becomes a dmabuf that a compositor can import.
enum class Allocator : std::uint16_t {
    kNone = 0,    ///< by nothing: plain shared memory
    kUdmabuf = 1, ///< /dev/udmabuf turns a sealed memfd into one; the memfd stays good for wl_shm
    kDmaHeap = 2, ///< /dev/dma_heap/system; there is no memfd
    kStandIn = 3, ///< the memfd itself is handed out as one: for tests, with compositors that read it by mapping it
    kDisplay = 4, ///< the compositor's own display device, where that imports nothing else; there is no memfd
};

/// "udmabuf", "dma-heap", "display"; for memory that is no dmabuf "memfd".
[[nodiscard]] const char *name(Allocator allocator);

/// Memory for one frame, mapped for writing; zero bytes.
struct FrameMemory {
    Mapping pixels;
    UniqueFd memfd;  ///< sealed (make_sealed_memfd); invalid where there is none
    UniqueFd dmabuf; ///< the same memory; invalid where there is none
};

/// `size` in whole pages, named in /proc/PID/maps. `device` is the allocator's own (AllocatorDriver::probe), borrowed. `stride` is
/// that of the first plane, bytes, a multiple of 4: displays lay their memory out by it, others do not look.
[[nodiscard]] Result<FrameMemory> allocate_frame(Allocator allocator, int device, const char *name, std::size_t size,
                                                 std::size_t stride = 4096);

/// A way to dmabufs. probe() opens its device and proves it by making one; an error says in one line why it cannot be used and what
/// helps.
struct AllocatorDriver {
    Allocator allocator;
    const char *name;
    Result<UniqueFd> (*probe)();
};

/// The table of them, best first. (A program of the tests brings its own.)
[[nodiscard]] std::span<const AllocatorDriver> allocator_drivers();

[[nodiscard]] Result<UniqueFd> probe_udmabuf();
[[nodiscard]] Result<UniqueFd> probe_dma_heap();
/// The same for a display's primary node. In no table: which display it is to be the compositor says.
[[nodiscard]] Result<UniqueFd> probe_display(const std::string &path);

/// The table's first that works.
struct ChosenAllocator {
    Allocator allocator = Allocator::kNone;
    std::string name;
    UniqueFd device;
};
[[nodiscard]] Result<ChosenAllocator> choose_allocator(std::span<const AllocatorDriver> drivers);

/// Why a device could not be opened, for people: `error` is an errno.
[[nodiscard]] Error device_refusal(const char *path, const char *module, int error);

} // namespace spice_overlay
