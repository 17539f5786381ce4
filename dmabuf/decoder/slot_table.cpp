// SPDX-License-Identifier: LGPL-2.1-or-later
#include "slot_table.h"

#include "dmabuf/memfd.h"
#include "yuv_colour.h"

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

bool contains(const std::vector<std::uint32_t> &fourccs, std::uint32_t fourcc)
{
    return std::find(fourccs.begin(), fourccs.end(), fourcc) != fourccs.end();
}

constexpr std::uint64_t kMaxMemory = kMaxBufferBytes + (1u << 20); ///< of one frame

/// Checks the memfd that `buffer` holds already, and how the planes lie in it.
Status take_memfd(const ipc::Buffer &message, FrameBuffer &buffer)
{
    const auto layout = shm_layout(message.fourcc, message.width, message.height, message.planes[0].stride);
    if (!layout)
        return Error{"buffer of an impossible size or stride"};
    if (message.size < layout->bytes || message.size > kMaxMemory)
        return Error{"buffer memory too small or too large for its picture"};
    if (message.plane_count != layout->plane_count)
        return Error{"buffer of " + std::to_string(message.plane_count) + " planes"};
    for (unsigned i = 0; i < layout->plane_count; ++i) {
        const ImageDescription::Plane &plane = message.planes[i];
        if (plane.offset != layout->planes[i].offset || plane.stride != layout->planes[i].stride)
            return Error{"plane " + std::to_string(i) + " lies elsewhere than wl_shm has it"};
        buffer.planes[i] = {plane.offset, plane.stride};
    }
    if (Status status = check_sealed_memfd(buffer.fd.get(), static_cast<std::size_t>(message.size)); !status)
        return status;
    buffer.size = static_cast<std::size_t>(message.size);
    return Success{};
}

} // namespace

Result<FrameBuffer> SlotTable::buffer(const ipc::Buffer &message, std::vector<UniqueFd> fds)
{
    if (message.slot >= slots_.size())
        return Error{"buffer for slot " + std::to_string(message.slot) + ", which does not exist"};
    Slot &slot = slots_[message.slot];
    if (slot.held)
        return Error{"new memory for a slot that is still on show"};
    if (slot.size != 0 && !slot.used)
        return Error{"new memory for a slot that was never used"};
    const bool surface = message.size == 0 && surfaces_.contains(message.fourcc, message.modifier);
    if (!surface && !contains(offered_, message.fourcc))
        return Error{"buffer of a format that was not offered"};
    if (!surface && message.dmabufs > 0
        && (allocator_ == Allocator::kNone || !contains(dmabuf_fourccs_, message.fourcc)))
        return Error{"dmabuf that was not asked for"};
    if (!surface && message.dmabufs > 0 && message.modifier != kModifierLinear) // what allocators in main memory make
        return Error{"dmabuf of a modifier that was not asked for"};
    const std::size_t came = fds.size();
    const std::size_t descriptors = descriptors_ - slot.descriptors + came;
    if (descriptors > ipc::kMaxDescriptors)
        return Error{"more than " + std::to_string(ipc::kMaxDescriptors) + " descriptors of frames"};
    FrameBuffer buffer;
    buffer.slot = message.slot;
    buffer.fourcc = message.fourcc;
    buffer.width = message.width;
    buffer.height = message.height;
    std::uint64_t bytes = 0;
    if (message.size > 0) {
        buffer.fd = std::move(fds.front());
        fds.erase(fds.begin());
        if (Status status = take_memfd(message, buffer); !status)
            return status.error();
        bytes = message.size;
    }
    if (message.dmabufs > 0) {
        ImageDescription description{message.fourcc,   message.width,       message.height,
                                     message.modifier, message.plane_count, {}};
        std::copy(std::begin(message.planes), std::end(message.planes), description.planes.begin());
        auto image =
            Image::make(description, std::move(fds),
                        allocator_ == Allocator::kStandIn ? Image::Backing::kStandIn : Image::Backing::kDmabuf);
        if (!image)
            return image.error();
        bytes = std::max(bytes, image->bytes());
        buffer.image = std::move(*image);
    }
    if (bytes > kMaxMemory)
        return Error{"buffer memory too large for any picture"};
    const auto size = static_cast<std::size_t>(bytes);
    const std::size_t largest = std::max(largest_, size);
    const std::size_t total = total_ - slot.size + size;
    const std::size_t memory = memory_ - (slot.surface ? 0 : slot.size) + (surface ? 0 : size);
    const std::size_t most = surface ? ipc::kMaxFrameMemory : ipc::max_frame_memory(largest);
    if (memory > most || total > ipc::kMaxFrameMemory)
        return Error{"more than " + std::to_string((memory > most ? most : ipc::kMaxFrameMemory) >> 20)
                     + " MiB of frames"};
    slot = {size, surface, came, message.fourcc, message.width, message.height, false, false};
    total_ = total;
    memory_ = memory;
    largest_ = largest;
    descriptors_ = descriptors;
    return buffer;
}

Status SlotTable::frame(const ipc::Frame &message)
{
    if (message.slot >= slots_.size())
        return Error{"frame in slot " + std::to_string(message.slot) + ", which does not exist"};
    Slot &slot = slots_[message.slot];
    if (slot.size == 0)
        return Error{"frame in a slot without memory"};
    if (slot.held)
        return Error{"frame in a slot that is still on show"};
    if (!inside(message.crop, slot.width, slot.height))
        return Error{"picture outside its buffer"};
    // Whoever tells a compositor of such colours for an RGB buffer breaks the protocol.
    if (holds_rgb(slot.fourcc) && static_cast<YuvColour>(message.colour) != YuvColour::kUnsaid)
        return Error{"frame of RGB in colours of YUV"};
    if (message.decode_ns < 0)
        return Error{"negative decoding time"};
    slot.held = true;
    ++held_;
    slot.used = true;
    return Success{};
}

bool SlotTable::release(std::uint32_t slot)
{
    if (slot >= slots_.size() || !slots_[slot].held)
        return false;
    slots_[slot].held = false;
    --held_;
    return true;
}

} // namespace spice_overlay
