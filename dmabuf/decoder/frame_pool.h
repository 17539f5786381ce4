// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"
#include "ipc.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace spice_overlay {

/// The decoder's frames in memory that the viewer can hand to a compositor. A slot is free again when both have let go
/// of it: the codec (which goes on referring to pictures that are on show) and the viewer. Any thread: FFmpeg allocates
/// and frees from its own.
class FramePool {
public:
    /// `layout` and `memory` belong to whoever holds the slot; the rest is the pool's.
    struct Slot {
        FramePool *pool = nullptr;
        std::uint32_t index = 0;
        ImageLayout layout;
        Mapping memory;
        UniqueFd memfd;  ///< until the viewer has been told of this memory
        UniqueFd dmabuf; ///< of this memory, for its fences; invalid: it is none

    private:
        friend class FramePool;
        bool in_codec = false;
        bool in_viewer = false;
        bool announced = false;
        std::size_t known_size = 0; ///< bytes of the memory that the viewer knows for this slot
        unsigned descriptors = 0;   ///< of the memory, as the viewer is told of it
        unsigned known_descriptors = 0; ///< of the memory that the viewer knows for this slot
        [[nodiscard]] bool free() const { return !in_codec && !in_viewer; }
        [[nodiscard]] std::size_t charge() const { return memory.size() > known_size ? memory.size() : known_size; }
        [[nodiscard]] unsigned descriptor_charge() const
        {
            return descriptors > known_descriptors ? descriptors : known_descriptors;
        }
    };

    FramePool();

    /// From here on memory for these formats is made into dmabufs; what fails to be one is plain memory.
    void make_dmabufs(Allocator allocator, UniqueFd device, std::vector<std::uint32_t> fourccs);

    /// A slot with memory for `layout` that may be written, held for the codec; null when all are in use or the memory's limit is
    /// reached.
    [[nodiscard]] Slot *acquire(const ImageLayout &layout);
    void codec_done(Slot &slot);

    /// Marks the slot as held by the viewer; false when it is already.
    [[nodiscard]] bool lend(Slot &slot);
    /// What the viewer is to be told of the slot's memory; nothing when it knows it.
    struct Announcement {
        UniqueFd memfd;
        int dmabuf = -1; ///< borrowed from the slot
    };
    [[nodiscard]] std::optional<Announcement> announce(Slot &slot);
    void viewer_done(std::uint64_t slots); ///< bit per slot

    /// The slot whose address this is, or null.
    [[nodiscard]] Slot *find(const void *address);

    /// The viewer has as many frames as it is to have: decode no further ahead.
    [[nodiscard]] bool viewer_has_enough();

private:
    [[nodiscard]] bool fill(Slot &slot, const ImageLayout &layout, std::size_t size);
    [[nodiscard]] Allocator allocator_for(const ImageLayout &layout) const;

    std::mutex mutex_;
    std::array<Slot, ipc::kMaxSlots> slots_;
    std::size_t held_ = 0;
    std::size_t frame_bytes_ = 1; ///< of the newest layout
    Allocator allocator_ = Allocator::kNone;
    UniqueFd device_;
    std::vector<std::uint32_t> dmabuf_fourccs_;
};

} // namespace spice_overlay
