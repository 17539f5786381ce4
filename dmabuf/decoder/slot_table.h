// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "ipc.h"
#include "portclient/base/result.h"

#include <array>
#include <vector>

namespace spice_overlay {

/// What the viewer knows of the decoder's slots, and the checks of all that a decoder says about them: it is taken for
/// compromised. A refused message changes nothing. No input or output.
class SlotTable {
public:
    explicit SlotTable(std::vector<std::uint32_t> offered) : offered_(std::move(offered)) {}

    /// New memory for a slot. Returns how its planes lie.
    [[nodiscard]] Result<ImageLayout> buffer(const ipc::Buffer &message, int fd);

    /// A frame: the viewer holds its slot from here on.
    [[nodiscard]] Status frame(const ipc::Frame &message);

    /// False when the slot was not held.
    bool release(std::uint32_t slot);

private:
    struct Slot {
        ImageLayout layout; ///< .bytes 0: no memory yet
        std::size_t size = 0;
        bool held = false;
        bool used = false; ///< a frame came in this memory
    };

    std::vector<std::uint32_t> offered_; ///< fourccs
    std::array<Slot, ipc::kMaxSlots> slots_;
    std::size_t total_ = 0; ///< bytes of all slots
};

} // namespace spice_overlay
