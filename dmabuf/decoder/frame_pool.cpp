// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_pool.h"

#include <algorithm>

namespace spice_overlay {

FramePool::FramePool()
{
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        slots_[i].pool = this;
        slots_[i].index = i;
    }
}

FramePool::Slot *FramePool::acquire(const ImageLayout &layout)
{
    // Decoders' vector code reads a little past the end of a picture.
    const std::size_t size = whole_pages(layout.bytes) + whole_pages(1);
    std::lock_guard lock(mutex_);
    frame_bytes_ = size;

    // The lowest that fits, so that few are ever used; else memory of another shape, which is of no use any more; else
    // an empty one.
    Slot *best = nullptr;
    std::size_t total = 0;
    for (Slot &slot : slots_) {
        total += slot.charge();
        if (!slot.free())
            continue;
        if (slot.memory.size() != 0 && slot.layout == layout) {
            slot.in_codec = true;
            return &slot;
        }
        if (!best || (best->memory.size() == 0 && slot.memory.size() != 0))
            best = &slot;
    }
    const std::size_t limit = std::min(ipc::kMaxFrameMemory, std::max(ipc::kFrameMemory, ipc::kMinFrames * size));
    if (!best || total - best->charge() + std::max(size, best->known_size) > limit)
        return nullptr;

    best->memory = Mapping(); // before the new, not to have both
    best->fd.reset();
    auto fd = make_sealed_memfd("spice-overlay-frame", size);
    if (!fd)
        return nullptr;
    auto memory = Mapping::map(fd->get(), size, Mapping::Access::kReadWrite);
    if (!memory)
        return nullptr;
    best->fd = std::move(*fd);
    best->memory = std::move(*memory);
    best->layout = layout;
    best->in_codec = true;
    return best;
}

void FramePool::codec_done(Slot &slot)
{
    std::lock_guard lock(mutex_);
    slot.in_codec = false;
}

bool FramePool::lend(Slot &slot)
{
    std::lock_guard lock(mutex_);
    if (slot.in_viewer)
        return false;
    slot.in_viewer = true;
    ++held_;
    return true;
}

UniqueFd FramePool::announce(Slot &slot)
{
    std::lock_guard lock(mutex_);
    slot.known_size = slot.memory.size();
    return std::move(slot.fd);
}

void FramePool::viewer_done(std::uint64_t slots)
{
    std::lock_guard lock(mutex_);
    for (Slot &slot : slots_) {
        if ((slots >> slot.index & 1) == 0 || !slot.in_viewer)
            continue;
        slot.in_viewer = false;
        --held_;
    }
}

FramePool::Slot *FramePool::find(const void *address)
{
    const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const Slot &slot) { return &slot == address; });
    return found == slots_.end() ? nullptr : &*found;
}

bool FramePool::viewer_has_enough()
{
    std::lock_guard lock(mutex_);
    return held_ >= ipc::max_held(frame_bytes_);
}

} // namespace spice_overlay
