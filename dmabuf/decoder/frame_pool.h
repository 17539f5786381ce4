// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"
#include "ipc.h"

#include <array>
#include <cstdint>
#include <mutex>

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
        UniqueFd fd; ///< until the viewer has been told of this memory

    private:
        friend class FramePool;
        bool in_codec = false;
        bool in_viewer = false;
        std::size_t known_size = 0; ///< bytes of the memory that the viewer knows for this slot
        [[nodiscard]] bool free() const { return !in_codec && !in_viewer; }
        [[nodiscard]] std::size_t charge() const { return memory.size() > known_size ? memory.size() : known_size; }
    };

    FramePool();

    /// A slot with memory for `layout`, held for the codec; null when all are in use or the memory's limit is reached.
    [[nodiscard]] Slot *acquire(const ImageLayout &layout);
    void codec_done(Slot &slot);

    /// Marks the slot as held by the viewer; false when it is already.
    [[nodiscard]] bool lend(Slot &slot);
    /// The viewer was told of the slot's memory: takes the descriptor that it was told with.
    [[nodiscard]] UniqueFd announce(Slot &slot);
    void viewer_done(std::uint64_t slots); ///< bit per slot

    /// The slot whose address this is, or null.
    [[nodiscard]] Slot *find(const void *address);

    /// The viewer has as many frames as it is to have: decode no further ahead.
    [[nodiscard]] bool viewer_has_enough();

private:
    std::mutex mutex_;
    std::array<Slot, ipc::kMaxSlots> slots_;
    std::size_t held_ = 0;
    std::size_t frame_bytes_ = 1; ///< of the newest layout
};

} // namespace spice_overlay
