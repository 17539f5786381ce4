// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/formats.h"
#include "dmabuf/image.h"
#include "dmabuf/memfd.h"
#include "ipc.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace spice_overlay {

/// The decoder's frames in memory that the viewer can hand to a compositor. A slot is free again when both have let go
/// of it: the codec (which goes on referring to pictures that are on show) and the viewer. Any thread: FFmpeg allocates
/// and frees from its own.
///
/// A slot may also stand for a surface, memory that a device decodes into: the pool knows it by its key, and holds it back from the
/// device while the viewer has it.
class FramePool {
public:
    /// Names a surface; `generation` grows when the device's surfaces are made anew.
    struct SurfaceKey {
        std::uint64_t generation = 0;
        std::uint64_t surface = 0;
        bool operator==(const SurfaceKey &) const = default;
    };
    /// Frames beyond what the codec itself needs at once (its threads and reference frames): on show, at the compositor, and the next.
    static constexpr std::size_t kBeyondCodec = 3;
    /// The least that a device's decoder is to have beyond what it needs itself, and what the viewer gets of it while more than
    /// kUnitsWaiting wait.
    static constexpr std::size_t kSurfacesHeld = 8;
    /// The same of decoders whose number of surfaces is fixed: FFmpeg's rkmpp has 16, of which a stream may refer to 9 at 1280x720.
    static constexpr std::size_t kFixedSurfacesHeld = 4;

    /// `layout` and `memory` belong to whoever holds the slot; the rest is the pool's.
    struct Slot {
        FramePool *pool = nullptr;
        std::uint32_t index = 0;
        ImageLayout layout;
        Mapping memory;
        UniqueFd memfd;  ///< until the viewer has been told of this memory
        UniqueFd dmabuf; ///< of this memory, for its fences; invalid: it is none
        std::optional<Image> surface; ///< instead of the memory

    private:
        friend class FramePool;
        bool in_codec = false;
        bool in_viewer = false;
        bool announced = false;
        std::size_t known_size = 0; ///< bytes of the memory that the viewer knows for this slot
        bool known_surface = false; ///< that is a surface
        unsigned descriptors = 0;   ///< of the memory, as the viewer is told of it
        unsigned known_descriptors = 0; ///< of the memory that the viewer knows for this slot
        SurfaceKey key;
        std::shared_ptr<void> hold; ///< keeps the surface as it is
        [[nodiscard]] bool free() const { return !in_codec && !in_viewer && !hold; }
        [[nodiscard]] std::size_t size() const { return surface ? std::size_t(surface->bytes()) : memory.size(); }
        [[nodiscard]] std::size_t charge() const { return std::max(size(), known_size); }
        [[nodiscard]] std::size_t known_main_memory() const { return known_surface ? 0 : known_size; }
        [[nodiscard]] std::size_t main_memory_charge() const { return std::max(memory.size(), known_main_memory()); }
        [[nodiscard]] unsigned descriptor_charge() const
        {
            return descriptors > known_descriptors ? descriptors : known_descriptors;
        }
        void empty();
    };

    FramePool();

    /// From here on memory for these formats is made into dmabufs; what fails to be one is plain memory.
    void make_dmabufs(Allocator allocator, UniqueFd device, std::vector<std::uint32_t> fourccs);

    /// A slot with memory for `layout` that may be written, held for the codec; null when all are in use or the memory's limit is
    /// reached.
    [[nodiscard]] Slot *acquire(const ImageLayout &layout);
    void codec_done(Slot &slot);

    /// A slot of this surface that the viewer does not hold; null: it has none yet.
    [[nodiscard]] Slot *find_surface(const SurfaceKey &key);
    /// Makes a slot for a surface; null when all are in use or the memory's limit is reached.
    [[nodiscard]] Slot *bind_surface(const SurfaceKey &key, Image image);
    /// Lends the slot of a surface to the viewer; `hold` is dropped when the viewer and every device are through with it.
    void lend_surface(Slot &slot, std::shared_ptr<void> hold);

    /// Marks the slot as held by the viewer; false when it is already.
    [[nodiscard]] bool lend(Slot &slot);
    /// What the viewer is to be told of the slot's memory; nothing when it knows it.
    struct Announcement {
        UniqueFd memfd;
        int dmabuf = -1; ///< borrowed from the slot
    };
    [[nodiscard]] std::optional<Announcement> announce(Slot &slot);
    void viewer_done(std::uint64_t slots); ///< bit per slot

    /// How many surfaces the viewer gets before the decoder waits.
    void hold_surfaces(std::size_t most);

    /// The slot whose address this is, or null.
    [[nodiscard]] Slot *find(const void *address);

    /// Access units that may wait instead of frames. With more the sender's credit (16) would end before a long delay is filled.
    static constexpr std::size_t kUnitsWaiting = 12;

    /// The viewer has as many frames as it is to have: decode no further ahead of the units that wait.
    [[nodiscard]] bool viewer_has_enough(std::size_t units_waiting = 0);

private:
    [[nodiscard]] bool fill(Slot &slot, const ImageLayout &layout, std::size_t size);
    [[nodiscard]] Allocator allocator_for(const ImageLayout &layout) const;
    void drop_unread_surfaces();

    std::mutex mutex_;
    std::array<Slot, ipc::kMaxSlots> slots_;
    std::size_t held_ = 0;
    std::size_t codec_peak_ = 0;  ///< slots that the codec has had at once
    std::size_t frame_bytes_ = 1; ///< of the newest layout
    std::size_t largest_known_ = 0; ///< bytes of the largest memory that the viewer was ever told of
    bool surfaces_ = false;       ///< the newest frame is a surface
    std::size_t surfaces_held_ = kSurfacesHeld; ///< at most
    Allocator allocator_ = Allocator::kNone;
    UniqueFd device_;
    std::vector<std::uint32_t> dmabuf_fourccs_;
};

} // namespace spice_overlay
