// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/format_set.h"
#include "frame_buffer.h"
#include "ipc.h"
#include "portclient/base/result.h"

#include <array>
#include <vector>

namespace spice_overlay {

/// What the viewer knows of the decoder's slots, and the checks of all that a decoder says about them: it is taken for
/// compromised. A refused message changes nothing. No input or output.
class SlotTable {
public:
    /// `offered` are fourccs; `allocator` is what the decoder was told to make dmabufs by, of frames in `dmabuf_fourccs`; `surfaces` are what
    /// a device may decode into.
    SlotTable(std::vector<std::uint32_t> offered, Allocator allocator, std::vector<std::uint32_t> dmabuf_fourccs,
              FormatSet surfaces)
        : offered_(std::move(offered)),
          allocator_(allocator),
          dmabuf_fourccs_(std::move(dmabuf_fourccs)),
          surfaces_(std::move(surfaces))
    {
    }

    /// New memory for a slot, in as many descriptors as the message says.
    [[nodiscard]] Result<FrameBuffer> buffer(const ipc::Buffer &message, std::vector<UniqueFd> fds);

    /// A frame: the viewer holds its slot from here on.
    [[nodiscard]] Status frame(const ipc::Frame &message);

    /// False when the slot was not held.
    bool release(std::uint32_t slot);

    [[nodiscard]] std::size_t bytes() const { return total_; } ///< of all slots
    [[nodiscard]] std::size_t held() const { return held_; } ///< slots that the viewer has

private:
    struct Slot {
        std::size_t size = 0; ///< bytes of its memory; 0: none yet
        bool surface = false;
        std::size_t descriptors = 0;
        std::uint32_t fourcc = 0;
        std::uint32_t width = 0;
        std::uint32_t height = 0;
        bool held = false;
        bool used = false; ///< a frame came in this memory
    };

    std::vector<std::uint32_t> offered_;
    Allocator allocator_;
    std::vector<std::uint32_t> dmabuf_fourccs_;
    FormatSet surfaces_;
    std::array<Slot, ipc::kMaxSlots> slots_;
    std::size_t total_ = 0; ///< bytes of all slots
    std::size_t memory_ = 0;  ///< of those that are no surfaces
    std::size_t largest_ = 0; ///< bytes of the largest there ever was
    std::size_t descriptors_ = 0;
    std::size_t held_ = 0;
};

} // namespace spice_overlay
