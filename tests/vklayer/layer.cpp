// SPDX-License-Identifier: LGPL-2.1-or-later
// A Vulkan layer that adds what Mesa's software driver lacks: a queue that decodes H.264, and images that can be exported as dmabufs with
// their modifier. The loader finds it by the manifest beside it (VK_ADD_LAYER_PATH) when VK_INSTANCE_LAYERS names it.
#include "state.h"

#include <vulkan/vk_layer.h>

#include <fcntl.h>

namespace spice_overlay {

/// When the layer is loaded: later the sandbox is closed.
State::State() : udmabuf(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC)) {}

State &state()
{
    static State the;
    return the;
}

namespace {

PFN_vkVoidFunction layer_function(std::string_view name);

/// The loader's link to what is below, of which each layer takes one off.
template <typename Info>
Info *link_in(const void *chain, VkStructureType type)
{
    for (auto *at = static_cast<const VkBaseInStructure *>(chain); at; at = at->pNext)
        if (at->sType == type)
            if (auto *info = reinterpret_cast<const Info *>(at); info->function == VK_LAYER_LINK_INFO)
                return const_cast<Info *>(info);
    return nullptr;
}

VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator,
                                               VkInstance *instance)
{
    auto *link = link_in<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    const PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    const auto create = reinterpret_cast<PFN_vkCreateInstance>(next(VK_NULL_HANDLE, "vkCreateInstance"));
    const VkResult result = create(info, allocator, instance);
    if (result == VK_SUCCESS) {
        state().next_instance = next;
        state().instance = *instance;
    }
    return result;
}

/// Without the video queue, whose work is the layer's own, and what the driver below does not know.
VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *wanted,
                                             const VkAllocationCallbacks *allocator, VkDevice *device)
{
    auto *link = link_in<VkLayerDeviceCreateInfo>(wanted->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    const PFN_vkGetInstanceProcAddr next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    const PFN_vkGetDeviceProcAddr next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkDeviceCreateInfo info = *wanted;
    std::vector<VkDeviceQueueCreateInfo> queues;
    for (std::uint32_t i = 0; i < info.queueCreateInfoCount; ++i)
        if (info.pQueueCreateInfos[i].queueFamilyIndex == 0)
            queues.push_back(info.pQueueCreateInfos[i]);
    info.pQueueCreateInfos = queues.data();
    info.queueCreateInfoCount = static_cast<std::uint32_t>(queues.size());
    std::vector<const char *> extensions;
    for (std::uint32_t i = 0; i < info.enabledExtensionCount; ++i)
        if (const std::string_view name = info.ppEnabledExtensionNames[i];
            name.find("VK_KHR_video") != 0 && name != VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME
            && name != VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME)
            extensions.push_back(info.ppEnabledExtensionNames[i]);
    info.ppEnabledExtensionNames = extensions.data();
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    const auto create = reinterpret_cast<PFN_vkCreateDevice>(next_instance(state().instance, "vkCreateDevice"));
    const VkResult result = create(physical, &info, allocator, device);
    if (result == VK_SUCCESS) {
        state().next_device = next_device;
        state().device = *device;
    }
    return result;
}

VKAPI_ATTR void VKAPI_CALL destroy_device(VkDevice device, const VkAllocationCallbacks *allocator)
{
    State &s = state();
    below<PFN_vkDestroyDevice>("vkDestroyDevice")(device, allocator);
    const std::lock_guard lock(s.mutex);
    s.device = VK_NULL_HANDLE;
    s.memory.clear();
    s.sessions.clear();
    s.recordings.clear();
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_instance_function(VkInstance instance, const char *name)
{
    if (PFN_vkVoidFunction own = layer_function(name))
        return own;
    return state().next_instance ? state().next_instance(instance, name) : nullptr;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_function(VkDevice device, const char *name)
{
    if (PFN_vkVoidFunction own = layer_function(name))
        return own;
    return state().next_device ? state().next_device(device, name) : nullptr;
}

#define OWN(vk, function)                                                                                              \
    if (name == #vk)                                                                                                   \
    return reinterpret_cast<PFN_vkVoidFunction>(static_cast<PFN_##vk>(&function))

PFN_vkVoidFunction layer_function(std::string_view name)
{
    OWN(vkCreateInstance, create_instance);
    OWN(vkCreateDevice, create_device);
    OWN(vkDestroyDevice, destroy_device);
    OWN(vkGetInstanceProcAddr, get_instance_function);
    OWN(vkGetDeviceProcAddr, get_device_function);
    for (const Interceptor interceptor : {&physical_device_function, &image_function, &video_function})
        if (PFN_vkVoidFunction found = interceptor(name))
            return found;
    return nullptr;
}

} // namespace

} // namespace spice_overlay

extern "C" __attribute__((visibility("default"))) VkResult
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface);

VkResult vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface)
{
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = &spice_overlay::get_instance_function;
    interface->pfnGetDeviceProcAddr = &spice_overlay::get_device_function;
    interface->pfnGetPhysicalDeviceProcAddr = nullptr;
    return VK_SUCCESS;
}
