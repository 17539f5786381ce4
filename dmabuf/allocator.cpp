// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocator.h"

#include "dumb_buffer.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr char kUdmabufDevice[] = "/dev/udmabuf";
constexpr char kDmaHeapDevice[] = "/dev/dma_heap/system";

Result<UniqueFd> make_udmabuf(int device, int memfd, std::size_t size)
{
    udmabuf_create create{static_cast<std::uint32_t>(memfd), UDMABUF_FLAGS_CLOEXEC, 0, size};
    UniqueFd dmabuf(::ioctl(device, UDMABUF_CREATE, &create));
    if (!dmabuf.valid())
        return Error{std::string("udmabuf makes no dmabuf of ") + std::to_string(size)
                     + " bytes: " + std::strerror(errno)};
    return dmabuf;
}

Result<UniqueFd> make_from_heap(int device, std::size_t size)
{
    dma_heap_allocation_data allocation{size, 0, O_CLOEXEC | O_RDWR, 0};
    if (::ioctl(device, DMA_HEAP_IOCTL_ALLOC, &allocation) != 0)
        return Error{std::string("the dma-heap has no ") + std::to_string(size) + " bytes: " + std::strerror(errno)};
    return UniqueFd(static_cast<int>(allocation.fd));
}

std::string group_of(const char *path)
{
    struct stat info = {};
    group entry = {};
    group *found = nullptr;
    std::array<char, 4096> room{};
    if (::stat(path, &info) != 0 || info.st_gid == 0 || (info.st_mode & S_IWGRP) == 0
        || ::getgrgid_r(info.st_gid, &entry, room.data(), room.size(), &found) != 0 || !found)
        return {};
    return found->gr_name;
}

UniqueFd open_device(const char *path)
{
    return UniqueFd(::open(path, O_RDWR | O_CLOEXEC));
}

/// Has a device that was just opened make one page of a dmabuf.
Result<UniqueFd> probe(Allocator allocator, UniqueFd device, const char *path, const char *module)
{
    if (!device.valid())
        return device_refusal(path, module, errno);
    const std::size_t page = whole_pages(1);
    auto memory = allocate_frame(allocator, device.get(), "spice-overlay-probe", page);
    if (!memory)
        return memory.error();
    auto size = dmabuf_size(memory->dmabuf.get(), Image::Backing::kDmabuf);
    if (!size || *size != page)
        return Error{std::string(path) + " makes something that is no dmabuf of the size asked for"};
    return device;
}

} // namespace

const char *name(Allocator allocator)
{
    switch (allocator) {
    case Allocator::kUdmabuf:
        return "udmabuf";
    case Allocator::kDmaHeap:
        return "dma-heap";
    case Allocator::kStandIn:
        return "stand-in";
    case Allocator::kDisplay:
        return "display";
    case Allocator::kNone:
        break;
    }
    return "memfd";
}

Result<FrameMemory> allocate_frame(Allocator allocator, int device, const char *name, std::size_t size,
                                   std::size_t stride)
{
    FrameMemory memory;
    if (allocator == Allocator::kDmaHeap || allocator == Allocator::kDisplay) {
        auto dmabuf =
            allocator == Allocator::kDmaHeap ? make_from_heap(device, size) : make_dumb_buffer(device, size, stride);
        if (!dmabuf)
            return dmabuf.error();
        memory.dmabuf = std::move(*dmabuf);
    } else {
        auto memfd = make_sealed_memfd(name, size, Pages::kAtOnce);
        if (!memfd)
            return memfd.error();
        memory.memfd = std::move(*memfd);
    }
    if (allocator == Allocator::kUdmabuf) {
        auto dmabuf = make_udmabuf(device, memory.memfd.get(), size);
        if (!dmabuf)
            return dmabuf.error();
        memory.dmabuf = std::move(*dmabuf);
    } else if (allocator == Allocator::kStandIn) {
        memory.dmabuf.reset(::fcntl(memory.memfd.get(), F_DUPFD_CLOEXEC, 0));
    }
    const UniqueFd &mapped = memory.memfd.valid() ? memory.memfd : memory.dmabuf;
    auto pixels = Mapping::map(mapped.get(), size, Mapping::Access::kReadWrite);
    if (!pixels)
        return pixels.error();
    memory.pixels = std::move(*pixels);
    return memory;
}

Error device_refusal(const char *path, const char *module, int error)
{
    const std::string device = path;
    if (error == ENOENT || error == ENXIO || error == ENODEV)
        return Error{"there is no " + device + ": load the kernel module " + module
                     + " (modprobe), or boot a kernel that has it"};
    if (error == EACCES || error == EPERM) {
        const std::string group = group_of(path);
        return Error{device + " may not be opened: install spice-overlay's udev rule (60-spice-overlay-dmabuf.rules)"
                     + (group.empty() ? std::string() : ", or usermod -aG " + group + " USER and log in again")};
    }
    return Error{device + " cannot be opened: " + std::strerror(error)};
}

Result<UniqueFd> probe_udmabuf()
{
    return probe(Allocator::kUdmabuf, open_device(kUdmabufDevice), kUdmabufDevice, "udmabuf");
}

Result<UniqueFd> probe_dma_heap()
{
    return probe(Allocator::kDmaHeap, open_device(kDmaHeapDevice), kDmaHeapDevice, "system_heap");
}

Result<UniqueFd> probe_display(const std::string &path)
{
    return probe(Allocator::kDisplay, open_display(path.c_str()), path.c_str(), "of the display");
}

Result<ChosenAllocator> choose_allocator(std::span<const AllocatorDriver> drivers)
{
    std::string refusals;
    for (const AllocatorDriver &driver : drivers) {
        auto device = driver.probe();
        if (device)
            return ChosenAllocator{driver.allocator, driver.name, std::move(*device)};
        refusals += (refusals.empty() ? "" : "; ") + std::string(driver.name) + ": " + device.error().message;
    }
    return Error{refusals};
}

} // namespace spice_overlay
