// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory that can be exported, and what is made of it and beside it.
#include "state.h"

#include <fcntl.h>

#include <cstring>

namespace spice_overlay {

namespace {

constexpr VkImageUsageFlags kVideoUsage = VK_IMAGE_USAGE_VIDEO_DECODE_DST_BIT_KHR
                                          | VK_IMAGE_USAGE_VIDEO_DECODE_SRC_BIT_KHR
                                          | VK_IMAGE_USAGE_VIDEO_DECODE_DPB_BIT_KHR;

/// Images of the layer's are laid out line by line by the driver below, which is told nothing of video, modifiers and export.
VKAPI_ATTR VkResult VKAPI_CALL create_image(VkDevice device, const VkImageCreateInfo *wanted,
                                            const VkAllocationCallbacks *allocator, VkImage *image)
{
    const auto create = below<PFN_vkCreateImage>("vkCreateImage");
    if (wanted->tiling != VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT)
        return create(device, wanted, allocator, image);
    // Without it real drivers crash.
    if (!in_chain<void>(wanted->pNext, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT))
        return VK_ERROR_INITIALIZATION_FAILED;
    VkImageCreateInfo info = *wanted;
    info.pNext = nullptr;
    info.tiling = VK_IMAGE_TILING_LINEAR;
    info.usage &= ~kVideoUsage;
    info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    info.queueFamilyIndexCount = 0;
    const VkResult result = create(device, &info, allocator, image);
    if (result == VK_SUCCESS) {
        const std::lock_guard lock(state().mutex);
        state().images[key(*image)] = {info.format, info.extent, 0, 0};
    }
    return result;
}

VKAPI_ATTR void VKAPI_CALL destroy_image(VkDevice device, VkImage image, const VkAllocationCallbacks *allocator)
{
    below<PFN_vkDestroyImage>("vkDestroyImage")(device, image, allocator);
    const std::lock_guard lock(state().mutex);
    state().images.erase(key(image));
}

/// Of video images for the layer alone: the driver below would compile programs for them, which the sandbox denies.
VKAPI_ATTR VkResult VKAPI_CALL create_view(VkDevice device, const VkImageViewCreateInfo *info,
                                           const VkAllocationCallbacks *allocator, VkImageView *view)
{
    {
        const std::lock_guard lock(state().mutex);
        if (state().images.contains(key(info->image))) {
            *view = handle<VkImageView>(++state().last_id);
            state().views[key(*view)] = key(info->image);
            return VK_SUCCESS;
        }
    }
    return below<PFN_vkCreateImageView>("vkCreateImageView")(device, info, allocator, view);
}

VKAPI_ATTR void VKAPI_CALL destroy_view(VkDevice device, VkImageView view, const VkAllocationCallbacks *allocator)
{
    {
        const std::lock_guard lock(state().mutex);
        if (state().views.erase(key(view)) != 0)
            return;
    }
    below<PFN_vkDestroyImageView>("vkDestroyImageView")(device, view, allocator);
}

/// What is to be exported is a dmabuf by udmabuf where the kernel has that, else a memfd.
std::optional<Memory> make_memory(std::size_t size, bool exported)
{
    const UniqueFd &udmabuf = state().udmabuf;
    Memory memory;
    if (!exported) {
        memory.plain.reset(static_cast<std::uint8_t *>(std::aligned_alloc(whole_pages(1), size)));
        return memory.plain ? std::optional(std::move(memory)) : std::nullopt;
    }
    auto frame = allocate_frame(udmabuf.valid() ? Allocator::kUdmabuf : Allocator::kStandIn, udmabuf.get(),
                                "spice-overlay-frame-vk", size);
    if (!frame || state().fault.is("allocation"))
        return std::nullopt;
    memory.frame = std::move(*frame);
    return memory;
}

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *wanted,
                                        const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
    const auto *exported =
        in_chain<VkExportMemoryAllocateInfo>(wanted->pNext, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
    const std::lock_guard lock(state().mutex);
    VkMemoryAllocateInfo info = *wanted;
    info.allocationSize = whole_pages(wanted->allocationSize);
    auto made = make_memory(info.allocationSize, exported && exported->handleTypes != 0);
    if (!made)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkImportMemoryHostPointerInfoEXT host{};
    host.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
    host.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    host.pHostPointer = made->data();
    info.pNext = &host;
    const VkResult result = below<PFN_vkAllocateMemory>("vkAllocateMemory")(device, &info, callbacks, memory);
    if (result == VK_SUCCESS)
        state().memory[key(*memory)] = std::move(*made);
    return result;
}

VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *allocator)
{
    below<PFN_vkFreeMemory>("vkFreeMemory")(device, memory, allocator);
    const std::lock_guard lock(state().mutex);
    state().memory.erase(key(memory));
}

VKAPI_ATTR VkResult VKAPI_CALL bind_images(VkDevice device, std::uint32_t count, const VkBindImageMemoryInfo *infos)
{
    {
        const std::lock_guard lock(state().mutex);
        for (std::uint32_t i = 0; i < count; ++i)
            if (const auto image = state().images.find(key(infos[i].image)); image != state().images.end()) {
                image->second.memory = key(infos[i].memory);
                image->second.offset = infos[i].memoryOffset;
            }
    }
    return below<PFN_vkBindImageMemory2>("vkBindImageMemory2")(device, count, infos);
}

VKAPI_ATTR VkResult VKAPI_CALL bind_buffer(VkDevice device, VkBuffer buffer, VkDeviceMemory memory, VkDeviceSize offset)
{
    {
        const std::lock_guard lock(state().mutex);
        state().buffers[key(buffer)] = {key(memory), offset};
    }
    return below<PFN_vkBindBufferMemory>("vkBindBufferMemory")(device, buffer, memory, offset);
}

VKAPI_ATTR VkResult VKAPI_CALL create_buffer(VkDevice device, const VkBufferCreateInfo *wanted,
                                             const VkAllocationCallbacks *allocator, VkBuffer *buffer)
{
    VkBufferCreateInfo info = *wanted;
    if ((info.usage & VK_BUFFER_USAGE_VIDEO_DECODE_SRC_BIT_KHR) != 0) {
        info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
        info.pNext = nullptr;
    }
    info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    info.queueFamilyIndexCount = 0;
    return below<PFN_vkCreateBuffer>("vkCreateBuffer")(device, &info, allocator, buffer);
}

VKAPI_ATTR void VKAPI_CALL destroy_buffer(VkDevice device, VkBuffer buffer, const VkAllocationCallbacks *allocator)
{
    below<PFN_vkDestroyBuffer>("vkDestroyBuffer")(device, buffer, allocator);
    const std::lock_guard lock(state().mutex);
    state().buffers.erase(key(buffer));
}

VKAPI_ATTR VkResult VKAPI_CALL export_memory(VkDevice, const VkMemoryGetFdInfoKHR *info, int *fd)
{
    const std::lock_guard lock(state().mutex);
    const auto found = state().memory.find(key(info->memory));
    if (found == state().memory.end() || !found->second.frame || state().fault.is("export"))
        return VK_ERROR_TOO_MANY_OBJECTS;
    FrameMemory &frame = *found->second.frame;
    std::optional<FrameMemory> other;
    if (state().fault.is("memory"))
        if (auto made = allocate_frame(Allocator::kStandIn, -1, "spice-overlay-frame-no", frame.pixels.size()))
            other = std::move(*made);
    *fd = ::fcntl(other ? other->dmabuf.get() : frame.dmabuf.get(), F_DUPFD_CLOEXEC, 0);
    return *fd >= 0 ? VK_SUCCESS : VK_ERROR_TOO_MANY_OBJECTS;
}

VKAPI_ATTR VkResult VKAPI_CALL image_modifier(VkDevice, VkImage, VkImageDrmFormatModifierPropertiesEXT *out)
{
    out->drmFormatModifier = state().fault.is("modifier") ? kTiled : kLinear;
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL layout(VkDevice device, VkImage image, const VkImageSubresource *which,
                                  VkSubresourceLayout *out)
{
    VkImageSubresource plane = *which;
    if (plane.aspectMask == VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT)
        plane.aspectMask = VK_IMAGE_ASPECT_PLANE_0_BIT;
    else if (plane.aspectMask == VK_IMAGE_ASPECT_MEMORY_PLANE_1_BIT_EXT)
        plane.aspectMask = VK_IMAGE_ASPECT_PLANE_1_BIT;
    below<PFN_vkGetImageSubresourceLayout>("vkGetImageSubresourceLayout")(device, image, &plane, out);
    if (state().fault.is("stride"))
        out->rowPitch *= 4;
}

} // namespace

/// With the lock held.
std::optional<PictureMemory> picture_memory(std::uint64_t view)
{
    State &s = state();
    const auto found = s.views.find(view);
    const auto image = found == s.views.end() ? s.images.end() : s.images.find(found->second);
    const auto memory = image == s.images.end() ? s.memory.end() : s.memory.find(image->second.memory);
    if (memory == s.memory.end())
        return std::nullopt;
    VkSubresourceLayout planes[2];
    const VkImageSubresource luma{VK_IMAGE_ASPECT_PLANE_0_BIT, 0, 0};
    const VkImageSubresource chroma{VK_IMAGE_ASPECT_PLANE_1_BIT, 0, 0};
    const auto layout_of = below<PFN_vkGetImageSubresourceLayout>("vkGetImageSubresourceLayout");
    layout_of(s.device, handle<VkImage>(image->first), &luma, &planes[0]);
    layout_of(s.device, handle<VkImage>(image->first), &chroma, &planes[1]);
    if (planes[0].rowPitch != planes[1].rowPitch)
        return std::nullopt;
    std::uint8_t *pixels = memory->second.data() + image->second.offset;
    return PictureMemory{pixels + planes[0].offset, pixels + planes[1].offset, planes[0].rowPitch,
                         image->second.extent.width, image->second.extent.height};
}

#define OWN(vk, function)                                                                                              \
    if (name == #vk)                                                                                                   \
    return reinterpret_cast<PFN_vkVoidFunction>(static_cast<PFN_##vk>(&function))

PFN_vkVoidFunction image_function(std::string_view name)
{
    OWN(vkCreateImage, create_image);
    OWN(vkDestroyImage, destroy_image);
    OWN(vkCreateImageView, create_view);
    OWN(vkDestroyImageView, destroy_view);
    OWN(vkAllocateMemory, allocate);
    OWN(vkFreeMemory, free_memory);
    OWN(vkBindImageMemory2, bind_images);
    OWN(vkBindBufferMemory, bind_buffer);
    OWN(vkCreateBuffer, create_buffer);
    OWN(vkDestroyBuffer, destroy_buffer);
    OWN(vkGetMemoryFdKHR, export_memory);
    OWN(vkGetImageDrmFormatModifierPropertiesEXT, image_modifier);
    OWN(vkGetImageSubresourceLayout, layout);
    return nullptr;
}

} // namespace spice_overlay
