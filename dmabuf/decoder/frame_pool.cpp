// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_pool.h"

#include "dmabuf/fence.h"
#include "log.h"

#include <algorithm>
#include <utility>

namespace spice_overlay {

namespace {

constexpr char kMemoryName[] = "spice-overlay-frame"; ///< as it stands in /proc/PID/maps

/// A picture that tears is better than none: a device that takes longer than this has other troubles.
constexpr std::chrono::milliseconds kDevicePatience{100};

} // namespace

FramePool::FramePool()
{
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        slots_[i].pool = this;
        slots_[i].index = i;
    }
}

void FramePool::make_dmabufs(Allocator allocator, UniqueFd device, std::vector<std::uint32_t> fourccs)
{
    std::lock_guard lock(mutex_);
    allocator_ = allocator;
    device_ = std::move(device);
    dmabuf_fourccs_ = std::move(fourccs);
}

Allocator FramePool::allocator_for(const ImageLayout &layout) const
{
    const bool wanted =
        std::find(dmabuf_fourccs_.begin(), dmabuf_fourccs_.end(), layout.fourcc) != dmabuf_fourccs_.end();
    return wanted ? allocator_ : Allocator::kNone;
}

void FramePool::Slot::empty()
{
    memory = Mapping();
    memfd.reset();
    dmabuf.reset();
    surface.reset();
    key = {};
    announced = false;
    descriptors = 0;
}

/// Gives an unused slot memory of another shape, or its first. False: there is none.
bool FramePool::fill(Slot &slot, const ImageLayout &layout, std::size_t size)
{
    slot.empty(); // before the new, not to have both
    const Allocator allocator = allocator_for(layout);
    auto memory = allocate_frame(allocator, device_.get(), kMemoryName, size, layout.planes[0].stride);
    if (!memory && allocator != Allocator::kNone) {
        log_line(memory.error().message + "; frames are copied by the compositor instead");
        allocator_ = Allocator::kNone; // what failed once would fail for each frame
        memory = allocate_frame(Allocator::kNone, -1, kMemoryName, size);
    }
    if (!memory)
        return false;
    slot.memory = std::move(memory->pixels);
    slot.memfd = std::move(memory->memfd);
    slot.dmabuf = std::move(memory->dmabuf);
    slot.descriptors = (slot.memfd.valid() ? 1u : 0u) + (slot.dmabuf.valid() ? 1u : 0u);
    slot.layout = layout;
    return true;
}

FramePool::Slot *FramePool::acquire(const ImageLayout &layout)
{
    // Decoders' vector code reads a little past the end of a picture.
    const std::size_t size = whole_pages(layout.bytes) + whole_pages(1);
    std::unique_lock lock(mutex_);
    frame_bytes_ = size;
    surfaces_ = false;

    // The lowest that fits and that no device reads any more, so that few are ever used; else memory of another shape, which is of
    // no use any more; else an empty one.
    Slot *chosen = nullptr;
    Slot *read = nullptr; // fits, but is still read
    Slot *best = nullptr;
    std::size_t total = 0;
    std::size_t main_memory = 0;
    unsigned descriptors = 0;
    for (Slot &slot : slots_) {
        total += slot.charge();
        main_memory += slot.main_memory_charge();
        descriptors += slot.descriptor_charge();
        if (chosen || !slot.free())
            continue;
        if (slot.memory.size() == 0 || slot.layout != layout) {
            if (!best || (best->size() == 0 && slot.size() != 0))
                best = &slot;
        } else if (!slot.dmabuf.valid() || wait_until_unread(slot.dmabuf.get(), std::chrono::milliseconds(0))) {
            chosen = &slot;
        } else if (!read) {
            read = &slot;
        }
    }
    // By what the viewer knows: that of a picture which it never sees would be no reason to it.
    const std::size_t limit = ipc::max_frame_memory(std::max(size, largest_known_));
    const Allocator allocator = allocator_for(layout);
    const unsigned more = allocator == Allocator::kUdmabuf || allocator == Allocator::kStandIn ? 2 : 1;
    if (!chosen && best
        && descriptors - best->descriptor_charge() + std::max(more, best->known_descriptors) <= ipc::kMaxDescriptors
        && main_memory - best->main_memory_charge() + std::max(size, best->known_main_memory()) <= limit
        && total - best->charge() + std::max(size, best->known_size) <= ipc::kMaxFrameMemory
        && fill(*best, layout, size))
        chosen = best;
    const bool still_read = !chosen && read;
    if (still_read)
        chosen = read;
    if (!chosen)
        return nullptr;
    chosen->in_codec = true;
    const auto in_codec = std::count_if(slots_.begin(), slots_.end(), [](const Slot &slot) { return slot.in_codec; });
    codec_peak_ = std::max(codec_peak_, static_cast<std::size_t>(in_codec));
    lock.unlock(); // the slot is the caller's: others need not wait with it
    if (still_read)
        static_cast<void>(wait_until_unread(chosen->dmabuf.get(), kDevicePatience));
    if (chosen->dmabuf.valid())
        begin_writing(chosen->dmabuf.get());
    return chosen;
}

void FramePool::codec_done(Slot &slot)
{
    std::lock_guard lock(mutex_);
    slot.in_codec = false;
}

FramePool::Slot *FramePool::find_surface(const SurfaceKey &key)
{
    std::lock_guard lock(mutex_);
    const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const Slot &slot) {
        return slot.surface && slot.key == key && !slot.in_viewer;
    });
    return found == slots_.end() ? nullptr : &*found;
}

FramePool::Slot *FramePool::bind_surface(const SurfaceKey &key, Image image)
{
    std::lock_guard lock(mutex_);
    // The slot of a surface that is no more, else an empty one, else memory that was decoded into before, else another surface.
    const auto rank = [&](const Slot &slot) {
        return slot.size() == 0 ? (slot.known_size > 0 ? 0 : 1) : slot.surface ? 3 : 2;
    };
    Slot *best = nullptr;
    std::size_t total = 0;
    unsigned descriptors = 0;
    for (Slot &slot : slots_) {
        if (slot.free() && slot.surface && slot.key.generation != key.generation)
            slot.empty(); // it is no more
        total += slot.charge();
        descriptors += slot.descriptor_charge();
        if (slot.free() && (!best || rank(slot) < rank(*best)))
            best = &slot;
    }
    const auto size = static_cast<std::size_t>(image.bytes());
    const auto more = static_cast<unsigned>(image.objects().size());
    if (!best || total - best->charge() + std::max(size, best->known_size) > ipc::kMaxFrameMemory
        || descriptors - best->descriptor_charge() + std::max(more, best->known_descriptors) > ipc::kMaxDescriptors)
        return nullptr;
    best->empty();
    best->descriptors = more;
    best->surface = std::move(image);
    best->key = key;
    return best;
}

void FramePool::lend_surface(Slot &slot, std::shared_ptr<void> hold)
{
    std::lock_guard lock(mutex_);
    slot.in_viewer = true;
    slot.hold = std::move(hold);
    surfaces_ = true;
    ++held_;
}

/// Those that the viewer has given back and no device reads any more.
void FramePool::drop_unread_surfaces()
{
    for (Slot &slot : slots_) {
        if (!slot.hold || slot.in_viewer)
            continue;
        const auto &objects = slot.surface->objects();
        if (std::all_of(objects.begin(), objects.end(), [](const UniqueFd &object) {
                return wait_until_unread(object.get(), std::chrono::milliseconds(0));
            }))
            slot.hold.reset();
    }
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

std::optional<FramePool::Announcement> FramePool::announce(Slot &slot)
{
    std::lock_guard lock(mutex_);
    if (std::exchange(slot.announced, true))
        return std::nullopt;
    slot.known_size = slot.size();
    slot.known_surface = slot.surface.has_value();
    largest_known_ = std::max(largest_known_, slot.known_size);
    slot.known_descriptors = slot.descriptors;
    return Announcement{std::move(slot.memfd), slot.dmabuf.get()};
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
    drop_unread_surfaces();
}

void FramePool::hold_surfaces(std::size_t most)
{
    std::lock_guard lock(mutex_);
    surfaces_held_ = most;
}

FramePool::Slot *FramePool::find(const void *address)
{
    const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const Slot &slot) { return &slot == address; });
    return found == slots_.end() ? nullptr : &*found;
}

bool FramePool::viewer_has_enough(std::size_t units_waiting)
{
    std::lock_guard lock(mutex_);
    const bool ahead = units_waiting > kUnitsWaiting;
    if (surfaces_)
        return held_ >= (ahead ? surfaces_held_ : kBeyondCodec);
    // Pictures on show may be the codec's as well, and count once.
    const auto live = static_cast<std::size_t>(
        std::count_if(slots_.begin(), slots_.end(), [](const Slot &slot) { return slot.in_codec || slot.in_viewer; }));
    return held_ >= ipc::max_held(frame_bytes_)
           || (!ahead && held_ >= ipc::kLeastHeld && live >= codec_peak_ + kBeyondCodec);
}

} // namespace spice_overlay
