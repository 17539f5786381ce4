// SPDX-License-Identifier: LGPL-2.1-or-later
#include "state.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr VkFormat kNv12 = VK_FORMAT_G8_B8R8_2PLANE_420_UNORM;
constexpr VkFormatFeatureFlags kVideoFeatures =
    VK_FORMAT_FEATURE_VIDEO_DECODE_OUTPUT_BIT_KHR | VK_FORMAT_FEATURE_VIDEO_DECODE_DPB_BIT_KHR;

std::uint64_t modifier()
{
    return state().fault.is("modifier") ? kTiled : kLinear;
}

/// Fills an array as Vulkan's calls that list things do.
template <typename T>
VkResult list(const std::vector<T> &all, std::uint32_t *count, T *out)
{
    if (!out) {
        *count = static_cast<std::uint32_t>(all.size());
        return VK_SUCCESS;
    }
    const auto written = std::min<std::size_t>(*count, all.size());
    for (std::size_t i = 0; i < written; ++i)
        out[i] = all[i];
    *count = static_cast<std::uint32_t>(written);
    return written < all.size() ? VK_INCOMPLETE : VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL extensions(VkPhysicalDevice device, const char *layer, std::uint32_t *count,
                                          VkExtensionProperties *out)
{
    const auto next = below_instance<PFN_vkEnumerateDeviceExtensionProperties>("vkEnumerateDeviceExtensionProperties");
    std::uint32_t number = 0;
    next(device, nullptr, &number, nullptr);
    std::vector<VkExtensionProperties> all(number);
    next(device, nullptr, &number, all.data());
    static_cast<void>(layer);
    const auto add = [&](const char *name, bool there) {
        const bool listed = std::any_of(all.begin(), all.end(),
                                        [&](const auto &one) { return std::strcmp(one.extensionName, name) == 0; });
        if (there && !listed) {
            VkExtensionProperties extension{};
            std::snprintf(extension.extensionName, sizeof extension.extensionName, "%s", name);
            extension.specVersion = 1;
            all.push_back(extension);
        }
    };
    const bool video = !state().fault.is("no-video");
    add(VK_KHR_VIDEO_QUEUE_EXTENSION_NAME, video);
    add(VK_KHR_VIDEO_DECODE_QUEUE_EXTENSION_NAME, video);
    add(VK_KHR_VIDEO_DECODE_H264_EXTENSION_NAME, video);
    add(VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME, !state().fault.is("no-modifiers"));
    add(VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME, true);
    return list(all, count, out);
}

/// The device's render node is what the tests hand to the decoder in place of one.
VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *out)
{
    below_instance<PFN_vkGetPhysicalDeviceProperties2>("vkGetPhysicalDeviceProperties2")(device, out);
    std::snprintf(out->properties.deviceName, sizeof out->properties.deviceName, "spice-overlay layer for tests");
    auto *node = const_cast<VkPhysicalDeviceDrmPropertiesEXT *>(
        in_chain<VkPhysicalDeviceDrmPropertiesEXT>(out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT));
    struct stat info = {};
    if (node && ::stat("/dev/null", &info) == 0) {
        node->hasRender = VK_TRUE;
        node->renderMajor = major(info.st_rdev);
        node->renderMinor = minor(info.st_rdev) + (state().fault.is("node") ? 1 : 0);
    }
}

std::vector<VkQueueFamilyProperties> families_of(VkPhysicalDevice device)
{
    const auto next =
        below_instance<PFN_vkGetPhysicalDeviceQueueFamilyProperties>("vkGetPhysicalDeviceQueueFamilyProperties");
    std::uint32_t number = 0;
    next(device, &number, nullptr);
    std::vector<VkQueueFamilyProperties> all(number);
    next(device, &number, all.data());
    all.resize(1); // the layer's is the second
    if (!state().fault.is("no-video"))
        all.push_back({VK_QUEUE_VIDEO_DECODE_BIT_KHR | VK_QUEUE_TRANSFER_BIT, 1, 0, {1, 1, 1}});
    return all;
}

VKAPI_ATTR void VKAPI_CALL queue_families(VkPhysicalDevice device, std::uint32_t *count, VkQueueFamilyProperties *out)
{
    static_cast<void>(list(families_of(device), count, out));
}

VKAPI_ATTR void VKAPI_CALL queue_families_2(VkPhysicalDevice device, std::uint32_t *count,
                                            VkQueueFamilyProperties2 *out)
{
    const auto all = families_of(device);
    if (!out) {
        *count = static_cast<std::uint32_t>(all.size());
        return;
    }
    *count = std::min(*count, static_cast<std::uint32_t>(all.size()));
    for (std::uint32_t i = 0; i < *count; ++i) {
        out[i].queueFamilyProperties = all[i];
        if (auto *video = const_cast<VkQueueFamilyVideoPropertiesKHR *>(in_chain<VkQueueFamilyVideoPropertiesKHR>(
                out[i].pNext, VK_STRUCTURE_TYPE_QUEUE_FAMILY_VIDEO_PROPERTIES_KHR)))
            video->videoCodecOperations =
                i == 1 ? VK_VIDEO_CODEC_OPERATION_DECODE_H264_BIT_KHR : VK_VIDEO_CODEC_OPERATION_NONE_KHR;
    }
}

VKAPI_ATTR void VKAPI_CALL format_properties(VkPhysicalDevice device, VkFormat format, VkFormatProperties2 *out)
{
    below_instance<PFN_vkGetPhysicalDeviceFormatProperties2>("vkGetPhysicalDeviceFormatProperties2")(device, format,
                                                                                                     out);
    if (format != kNv12)
        return;
    out->formatProperties.optimalTilingFeatures |= kVideoFeatures;
    if (auto *wide = const_cast<VkFormatProperties3 *>(
            in_chain<VkFormatProperties3>(out->pNext, VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3)))
        wide->optimalTilingFeatures |= kVideoFeatures;
    auto *modifiers = const_cast<VkDrmFormatModifierPropertiesListEXT *>(in_chain<VkDrmFormatModifierPropertiesListEXT>(
        out->pNext, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT));
    if (!modifiers)
        return;
    const VkFormatFeatureFlags features = out->formatProperties.linearTilingFeatures | kVideoFeatures;
    static_cast<void>(list<VkDrmFormatModifierPropertiesEXT>(
        {{modifier(), 2, features}}, &modifiers->drmFormatModifierCount, modifiers->pDrmFormatModifierProperties));
}

/// Of images with a modifier, which the driver below does not know. FFmpeg asks for the format of the first plane where it means all,
/// and real drivers say yes to that.
VKAPI_ATTR VkResult VKAPI_CALL image_properties(VkPhysicalDevice device, const VkPhysicalDeviceImageFormatInfo2 *info,
                                                VkImageFormatProperties2 *out)
{
    if (info->tiling != VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT)
        return below_instance<PFN_vkGetPhysicalDeviceImageFormatProperties2>(
            "vkGetPhysicalDeviceImageFormatProperties2")(device, info, out);
    const auto *wanted = in_chain<VkPhysicalDeviceImageDrmFormatModifierInfoEXT>(
        info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT);
    if ((info->format != kNv12 && info->format != VK_FORMAT_R8_UNORM) || !wanted
        || wanted->drmFormatModifier != modifier())
        return VK_ERROR_FORMAT_NOT_SUPPORTED;
    out->imageFormatProperties = {{4096, 4096, 1}, 1, 1, VK_SAMPLE_COUNT_1_BIT, VkDeviceSize{1} << 30};
    if (auto *external = const_cast<VkExternalImageFormatProperties *>(
            in_chain<VkExternalImageFormatProperties>(out->pNext, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES)))
        external->externalMemoryProperties = {
            VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT,
            VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT | VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
            VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT | VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT};
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL video_capabilities(VkPhysicalDevice, const VkVideoProfileInfoKHR *profile,
                                                  VkVideoCapabilitiesKHR *out)
{
    if (profile->videoCodecOperation != VK_VIDEO_CODEC_OPERATION_DECODE_H264_BIT_KHR)
        return VK_ERROR_VIDEO_PROFILE_CODEC_NOT_SUPPORTED_KHR;
    if (profile->chromaSubsampling != VK_VIDEO_CHROMA_SUBSAMPLING_420_BIT_KHR
        || profile->lumaBitDepth != VK_VIDEO_COMPONENT_BIT_DEPTH_8_BIT_KHR)
        return VK_ERROR_VIDEO_PROFILE_FORMAT_NOT_SUPPORTED_KHR;
    out->flags = VK_VIDEO_CAPABILITY_SEPARATE_REFERENCE_IMAGES_BIT_KHR;
    out->minBitstreamBufferOffsetAlignment = 1;
    out->minBitstreamBufferSizeAlignment = 1;
    out->pictureAccessGranularity = {16, 16};
    out->minCodedExtent = {16, 16};
    out->maxCodedExtent = {4096, 4096};
    out->maxDpbSlots = 17;
    out->maxActiveReferencePictures = 16;
    std::snprintf(out->stdHeaderVersion.extensionName, sizeof out->stdHeaderVersion.extensionName, "%s",
                  VK_STD_VULKAN_VIDEO_CODEC_H264_DECODE_EXTENSION_NAME);
    out->stdHeaderVersion.specVersion = VK_STD_VULKAN_VIDEO_CODEC_H264_DECODE_SPEC_VERSION;
    if (auto *decode = const_cast<VkVideoDecodeCapabilitiesKHR *>(
            in_chain<VkVideoDecodeCapabilitiesKHR>(out->pNext, VK_STRUCTURE_TYPE_VIDEO_DECODE_CAPABILITIES_KHR)))
        decode->flags = VK_VIDEO_DECODE_CAPABILITY_DPB_AND_OUTPUT_COINCIDE_BIT_KHR;
    if (auto *h264 = const_cast<VkVideoDecodeH264CapabilitiesKHR *>(in_chain<VkVideoDecodeH264CapabilitiesKHR>(
            out->pNext, VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_CAPABILITIES_KHR)))
        h264->maxLevelIdc = STD_VIDEO_H264_LEVEL_IDC_6_2;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL video_formats(VkPhysicalDevice, const VkPhysicalDeviceVideoFormatInfoKHR *info,
                                             std::uint32_t *count, VkVideoFormatPropertiesKHR *out)
{
    if (out && *count > 0) {
        out->format = kNv12;
        out->componentMapping = {};
        out->imageCreateFlags = 0;
        out->imageType = VK_IMAGE_TYPE_2D;
        out->imageTiling = VK_IMAGE_TILING_OPTIMAL;
        out->imageUsageFlags = info->imageUsage;
    }
    *count = 1;
    return VK_SUCCESS;
}

} // namespace

#define OWN(vk, function)                                                                                              \
    if (name == #vk)                                                                                                   \
    return reinterpret_cast<PFN_vkVoidFunction>(static_cast<PFN_##vk>(&function))

PFN_vkVoidFunction physical_device_function(std::string_view name)
{
    OWN(vkEnumerateDeviceExtensionProperties, extensions);
    OWN(vkGetPhysicalDeviceProperties2, properties);
    OWN(vkGetPhysicalDeviceQueueFamilyProperties, queue_families);
    OWN(vkGetPhysicalDeviceQueueFamilyProperties2, queue_families_2);
    OWN(vkGetPhysicalDeviceFormatProperties2, format_properties);
    OWN(vkGetPhysicalDeviceImageFormatProperties2, image_properties);
    OWN(vkGetPhysicalDeviceVideoCapabilitiesKHR, video_capabilities);
    OWN(vkGetPhysicalDeviceVideoFormatPropertiesKHR, video_formats);
    return nullptr;
}

} // namespace spice_overlay
