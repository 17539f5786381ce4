// SPDX-License-Identifier: LGPL-2.1-or-later
#include "slot_table.h"

#include "dmabuf/memfd.h"

#include <algorithm>
#include <string>

namespace spice_overlay {

namespace {

/// A whole rectangle of at least one pixel inside width x height.
bool inside(const wire::Rect &rect, std::uint32_t width, std::uint32_t height)
{
    return rect.x >= 0 && rect.y >= 0 && rect.width > 0 && rect.height > 0 && rect.width <= width
           && rect.height <= height && static_cast<std::uint32_t>(rect.x) <= width - rect.width
           && static_cast<std::uint32_t>(rect.y) <= height - rect.height;
}

} // namespace

Result<ImageLayout> SlotTable::buffer(const ipc::Buffer &message, int fd)
{
    if (message.slot >= slots_.size())
        return Error{"buffer for slot " + std::to_string(message.slot) + ", which does not exist"};
    Slot &slot = slots_[message.slot];
    if (slot.held)
        return Error{"new memory for a slot that is still on show"};
    if (slot.layout.bytes != 0 && !slot.used)
        return Error{"new memory for a slot that was never used"};
    if (std::find(offered_.begin(), offered_.end(), message.fourcc) == offered_.end())
        return Error{"buffer of a format that was not offered"};
    const auto layout = shm_layout(message.fourcc, message.width, message.height, message.stride);
    if (!layout)
        return Error{"buffer of an impossible size or stride"};
    if (message.size < layout->bytes || message.size > kMaxBufferBytes + (1u << 20))
        return Error{"buffer memory too small or too large for its picture"};
    const auto size = static_cast<std::size_t>(message.size);
    const std::size_t total = total_ - slot.size + size;
    if (total > ipc::kMaxFrameMemory)
        return Error{"more than " + std::to_string(ipc::kMaxFrameMemory >> 20) + " MiB of frames"};
    if (Status status = check_sealed_memfd(fd, size); !status)
        return status.error();
    slot = {*layout, size, false, false};
    total_ = total;
    return *layout;
}

Status SlotTable::frame(const ipc::Frame &message)
{
    if (message.slot >= slots_.size())
        return Error{"frame in slot " + std::to_string(message.slot) + ", which does not exist"};
    Slot &slot = slots_[message.slot];
    if (slot.layout.bytes == 0)
        return Error{"frame in a slot without memory"};
    if (slot.held)
        return Error{"frame in a slot that is still on show"};
    if (!inside(message.crop, slot.layout.width, slot.layout.height))
        return Error{"picture outside its buffer"};
    if (message.decode_ns < 0)
        return Error{"negative decoding time"};
    slot.held = true;
    slot.used = true;
    return Success{};
}

bool SlotTable::release(std::uint32_t slot)
{
    if (slot >= slots_.size() || !slots_[slot].held)
        return false;
    slots_[slot].held = false;
    return true;
}

} // namespace spice_overlay
