// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"
#include "surface_image.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vulkan.h>
}

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

// FFmpeg's own way from its Vulkan frames to DRM PRIME is of no use here: in FFmpeg 6.1 to 7.1 it takes each plane for an image with a
// semaphore of its own, which a decoder's pictures in NV12 are not, and Mesa's drivers crash over what is missing. Nor does FFmpeg say
// which modifiers an image may have, without which none can be made that is exported.

namespace spice_overlay {

namespace {

/// What is called of Vulkan, by addresses that FFmpeg has from its library.
struct Functions {
    PFN_vkEnumeratePhysicalDevices enumerate_physical_devices = nullptr;
    PFN_vkGetPhysicalDeviceProperties2 get_properties = nullptr;
    PFN_vkGetPhysicalDeviceFormatProperties2 get_format_properties = nullptr;
    PFN_vkGetPhysicalDeviceImageFormatProperties2 get_image_format_properties = nullptr;
    PFN_vkWaitSemaphores wait_semaphores = nullptr;
    PFN_vkGetMemoryFdKHR get_memory_fd = nullptr;
    PFN_vkGetImageDrmFormatModifierPropertiesEXT get_image_modifier = nullptr;
    PFN_vkGetImageSubresourceLayout get_layout = nullptr;

    /// Those of a device's extensions are null where they are not switched on.
    explicit Functions(const AVVulkanDeviceContext &device)
    {
        const auto of_instance = [&](auto &function, const char *name) {
            function =
                reinterpret_cast<std::remove_reference_t<decltype(function)>>(device.get_proc_addr(device.inst, name));
        };
        of_instance(enumerate_physical_devices, "vkEnumeratePhysicalDevices");
        of_instance(get_properties, "vkGetPhysicalDeviceProperties2");
        of_instance(get_format_properties, "vkGetPhysicalDeviceFormatProperties2");
        of_instance(get_image_format_properties, "vkGetPhysicalDeviceImageFormatProperties2");
        PFN_vkGetDeviceProcAddr get_device_function = nullptr;
        of_instance(get_device_function, "vkGetDeviceProcAddr");
        const auto of_device = [&](auto &function, const char *name) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
                get_device_function(device.act_dev, name));
        };
        of_device(wait_semaphores, "vkWaitSemaphores");
        of_device(get_memory_fd, "vkGetMemoryFdKHR");
        of_device(get_image_modifier, "vkGetImageDrmFormatModifierPropertiesEXT");
        of_device(get_layout, "vkGetImageSubresourceLayout");
    }
};

/// A device as its driver describes it.
struct Description {
    std::string name;
    VkDriverId driver = {};
    bool tells_node = false;
    dev_t node = 0;
};

Description describe(const Functions &functions, VkPhysicalDevice device)
{
    VkPhysicalDeviceDrmPropertiesEXT node{};
    node.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT;
    VkPhysicalDeviceDriverProperties driver{};
    driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    driver.pNext = &node;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &driver;
    functions.get_properties(device, &properties);
    return {properties.properties.deviceName, driver.driverID, node.hasRender != 0,
            makedev(static_cast<unsigned>(node.renderMajor), static_cast<unsigned>(node.renderMinor))};
}

/// What surfaces are to be, as long as they are made and used.
struct SurfaceWishes {
    VkImageDrmFormatModifierListCreateInfoEXT list{};
    std::vector<std::uint64_t> modifiers;
};

/// As compositors call it; 0: nothing that they take.
std::uint32_t fourcc_of(AVPixelFormat format)
{
    return format == AV_PIX_FMT_NV12 ? kFourccNv12 : format == AV_PIX_FMT_P010 ? kFourccP010 : 0;
}

const AVVulkanDeviceContext &device_of(const AVBufferRef *device)
{
    return *static_cast<const AVVulkanDeviceContext *>(
        reinterpret_cast<const AVHWDeviceContext *>(device->data)->hwctx);
}

/// Vulkan's video decoding, on the GPU whose render node was given.
class Vulkan : public Hardware {
public:
    /// Takes over `device`.
    Vulkan(AVBufferRef *device, Image::Backing backing)
        : device_(device),
          backing_(backing),
          functions_(device_of(device)),
          description_(describe(functions_, device_of(device).phys_dev))
    {
    }
    ~Vulkan() override { av_buffer_unref(&device_); }

    [[nodiscard]] const Functions &functions() const { return functions_; }
    [[nodiscard]] const Description &description() const { return description_; }
    /// Why it is not to be used.
    [[nodiscard]] Status check(bool wary) const;

    [[nodiscard]] std::string name() const override { return "Vulkan (" + description_.name + ")"; }
    [[nodiscard]] const AVCodec *codec(AVCodecID id) const override
    {
        return find_hardware_decoder(id, AV_PIX_FMT_VULKAN, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                                     AV_HWDEVICE_TYPE_VULKAN);
    }
    [[nodiscard]] AVBufferRef *device() const override { return device_; }
    [[nodiscard]] AVPixelFormat format() const override { return AV_PIX_FMT_VULKAN; }
    [[nodiscard]] Result<std::shared_ptr<void>> prepare(AVBufferRef *frames,
                                                        std::span<const FormatSet::Entry> accepted) const override;

    /// An AVVkFrame stays the same from one use to the next, while its pool lives.
    [[nodiscard]] std::uint64_t surface(const AVFrame &frame) const override
    {
        return reinterpret_cast<std::uintptr_t>(frame.data[0]);
    }
    [[nodiscard]] Status finish(const AVFrame &frame, std::optional<Image> *memory) const override;

private:
    [[nodiscard]] bool has(std::string_view extension) const;
    [[nodiscard]] std::vector<VkDrmFormatModifierPropertiesEXT> modifiers_of(VkFormat format) const;
    [[nodiscard]] bool exports(const AVVulkanFramesContext &wanted, std::uint64_t modifier) const;
    [[nodiscard]] Result<Image> image_of_frame(const AVVkFrame &surface, const AVHWFramesContext &frames) const;

    AVBufferRef *device_;
    Image::Backing backing_;
    Functions functions_;
    Description description_;
};

bool Vulkan::has(std::string_view extension) const
{
    const AVVulkanDeviceContext &device = device_of(device_);
    return std::any_of(device.enabled_dev_extensions, device.enabled_dev_extensions + device.nb_enabled_dev_extensions,
                       [&](const char *name) { return name == extension; });
}

Status Vulkan::check(bool wary) const
{
    if (!has(VK_KHR_VIDEO_DECODE_QUEUE_EXTENSION_NAME))
        return Error{name() + " decodes no video"};
    if (!has(VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME) || !has(VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME)
        || !functions_.get_memory_fd || !functions_.get_image_modifier || !functions_.wait_semaphores)
        return Error{name() + " does not export its memory"};
    if (wary && description_.driver == VK_DRIVER_ID_NVIDIA_PROPRIETARY)
        return Error{name() + " works by files and devices of NVIDIA's, which this process may not open"};
    return Success{};
}

std::vector<VkDrmFormatModifierPropertiesEXT> Vulkan::modifiers_of(VkFormat format) const
{
    VkDrmFormatModifierPropertiesListEXT list{};
    list.sType = VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT;
    VkFormatProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2;
    properties.pNext = &list;
    functions_.get_format_properties(device_of(device_).phys_dev, format, &properties);
    std::vector<VkDrmFormatModifierPropertiesEXT> found(list.drmFormatModifierCount);
    list.pDrmFormatModifierProperties = found.data();
    functions_.get_format_properties(device_of(device_).phys_dev, format, &properties);
    found.resize(std::min<std::size_t>(found.size(), list.drmFormatModifierCount));
    return found;
}

/// Whether the driver makes such images with this modifier, and as dmabufs.
bool Vulkan::exports(const AVVulkanFramesContext &wanted, std::uint64_t modifier) const
{
    VkPhysicalDeviceImageDrmFormatModifierInfoEXT layout{};
    layout.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT;
    layout.pNext = wanted.create_pnext; // the profile of the video
    layout.drmFormatModifier = modifier;
    layout.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    VkPhysicalDeviceExternalImageFormatInfo external{};
    external.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO;
    external.pNext = &layout;
    external.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    VkPhysicalDeviceImageFormatInfo2 image{};
    image.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2;
    image.pNext = &external;
    image.format = wanted.format[0];
    image.type = VK_IMAGE_TYPE_2D;
    image.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
    image.usage = wanted.usage;

    VkExternalImageFormatProperties can{};
    can.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES;
    VkImageFormatProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2;
    properties.pNext = &can;
    return functions_.get_image_format_properties(device_of(device_).phys_dev, &image, &properties) == VK_SUCCESS
           && (can.externalMemoryProperties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT) != 0;
}

/// Has images laid out by one of the modifiers that both the driver and the compositor know; the driver chooses.
Result<std::shared_ptr<void>> Vulkan::prepare(AVBufferRef *frames, std::span<const FormatSet::Entry> accepted) const
{
    auto *context = reinterpret_cast<AVHWFramesContext *>(frames->data);
    auto &surfaces = *static_cast<AVVulkanFramesContext *>(context->hwctx);
    const std::uint32_t fourcc = fourcc_of(context->sw_format);
    if (fourcc == 0)
        return Error{"the driver decodes into a format that no compositor takes"};
    auto wishes = std::make_shared<SurfaceWishes>();
    for (const VkDrmFormatModifierPropertiesEXT &one : modifiers_of(surfaces.format[0])) {
        const FormatSet::Entry kind{fourcc, one.drmFormatModifier};
        if ((one.drmFormatModifierTilingFeatures & VK_FORMAT_FEATURE_VIDEO_DECODE_OUTPUT_BIT_KHR) != 0
            && one.drmFormatModifierPlaneCount <= kMaxPlanes
            && std::find(accepted.begin(), accepted.end(), kind) != accepted.end()
            && exports(surfaces, one.drmFormatModifier))
            wishes->modifiers.push_back(one.drmFormatModifier);
    }
    if (wishes->modifiers.empty())
        return Error{"the driver decodes into no layout of " + fourcc_name(fourcc) + " that the compositor takes"};
    wishes->list.sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT;
    wishes->list.pNext = surfaces.create_pnext;
    wishes->list.drmFormatModifierCount = static_cast<std::uint32_t>(wishes->modifiers.size());
    wishes->list.pDrmFormatModifiers = wishes->modifiers.data();
    surfaces.create_pnext = &wishes->list;
    surfaces.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
    return std::shared_ptr<void>(std::move(wishes));
}

Status Vulkan::finish(const AVFrame &frame, std::optional<Image> *memory) const
{
    auto *surface = reinterpret_cast<AVVkFrame *>(frame.data[0]);
    if (!surface || !frame.hw_frames_ctx)
        return Error{"the driver gives out a frame without memory"};
    auto *frames = reinterpret_cast<AVHWFramesContext *>(frame.hw_frames_ctx->data);
    const auto &context = *static_cast<const AVVulkanFramesContext *>(frames->hwctx);

    // A compositor that is given an unfinished picture makes everything else of its surface wait with it.
    context.lock_frame(frames, surface);
    const VkSemaphore semaphore = surface->sem[0];
    const std::uint64_t value = surface->sem_value[0];
    context.unlock_frame(frames, surface);
    VkSemaphoreWaitInfo wait{};
    wait.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    wait.semaphoreCount = 1;
    wait.pSemaphores = &semaphore;
    wait.pValues = &value;
    if (functions_.wait_semaphores(device_of(device_).act_dev, &wait, UINT64_MAX) != VK_SUCCESS)
        return Error{"the driver does not finish a picture"};
    if (!memory)
        return Success{};
    auto image = image_of_frame(*surface, *frames);
    if (!image)
        return image.error();
    *memory = std::move(*image);
    return Success{};
}

Result<Image> Vulkan::image_of_frame(const AVVkFrame &surface, const AVHWFramesContext &frames) const
{
    const VkDevice device = device_of(device_).act_dev;
    const auto &context = *static_cast<const AVVulkanFramesContext *>(frames.hwctx);
    if (surface.img[1] != VK_NULL_HANDLE || surface.mem[1] != VK_NULL_HANDLE)
        return Error{"the driver's pictures are in several images"};
    VkImageDrmFormatModifierPropertiesEXT layout{};
    layout.sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_PROPERTIES_EXT;
    if (functions_.get_image_modifier(device, surface.img[0], &layout) != VK_SUCCESS)
        return Error{"the driver does not say how its memory is laid out"};
    const auto modifiers = modifiers_of(context.format[0]);
    const auto known = std::find_if(modifiers.begin(), modifiers.end(),
                                    [&](const auto &one) { return one.drmFormatModifier == layout.drmFormatModifier; });
    if (known == modifiers.end() || known->drmFormatModifierPlaneCount > kMaxPlanes)
        return Error{"the driver lays its memory out as it does not say it can"};

    VkMemoryGetFdInfoKHR info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR;
    info.memory = surface.mem[0];
    info.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    int fd = -1;
    if (functions_.get_memory_fd(device, &info, &fd) != VK_SUCCESS)
        return Error{"the driver does not export its memory"};
    std::vector<UniqueFd> objects;
    objects.emplace_back(fd);

    AVDRMFrameDescriptor descriptor{};
    descriptor.nb_objects = 1;
    descriptor.objects[0] = {fd, surface.size[0], layout.drmFormatModifier};
    descriptor.nb_layers = 1;
    descriptor.layers[0].format = fourcc_of(frames.sw_format);
    descriptor.layers[0].nb_planes = static_cast<int>(known->drmFormatModifierPlaneCount);
    for (int i = 0; i < descriptor.layers[0].nb_planes; ++i) {
        const VkImageSubresource plane{static_cast<VkImageAspectFlags>(VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT << i), 0,
                                       0};
        VkSubresourceLayout where{};
        functions_.get_layout(device, surface.img[0], &plane, &where);
        descriptor.layers[0].planes[i] = {0, static_cast<std::ptrdiff_t>(where.offset) + surface.offset[0],
                                          static_cast<std::ptrdiff_t>(where.rowPitch)};
    }
    auto image = image_of(descriptor, std::move(objects), static_cast<std::uint32_t>(frames.width),
                          static_cast<std::uint32_t>(frames.height), backing_);
    if (!image)
        return Error{"the driver's memory cannot be shown: " + image.error().message};
    return image;
}

Result<std::unique_ptr<Vulkan>> open_at(std::size_t index, Image::Backing backing)
{
    AVBufferRef *device = nullptr;
    if (av_hwdevice_ctx_create(&device, AV_HWDEVICE_TYPE_VULKAN, std::to_string(index).c_str(), nullptr, 0) < 0)
        return Error{"there is no driver for the GPU (is its package installed? vulkaninfo tells more)"};
    return std::make_unique<Vulkan>(device, backing);
}

/// Which of the devices has this node. FFmpeg's own search looks for the PCI number, which several may have, or takes the first. One
/// that is alone and does not say which node it has, is it.
std::optional<std::size_t> find(const Vulkan &any, dev_t node)
{
    const VkInstance instance = device_of(any.device()).inst;
    std::uint32_t count = 0;
    any.functions().enumerate_physical_devices(instance, &count, nullptr);
    std::vector<VkPhysicalDevice> devices(count);
    any.functions().enumerate_physical_devices(instance, &count, devices.data());
    devices.resize(std::min<std::size_t>(devices.size(), count));
    for (std::size_t i = 0; i < devices.size(); ++i)
        if (const Description found = describe(any.functions(), devices[i]); found.tells_node && found.node == node)
            return i;
    if (devices.size() == 1 && !any.description().tells_node)
        return 0;
    return std::nullopt;
}

} // namespace

Result<std::unique_ptr<Hardware>> open_vulkan(int render_node, bool wary, Image::Backing backing)
{
    if (!find_hardware_decoder(AV_CODEC_ID_NONE, AV_PIX_FMT_VULKAN, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                               AV_HWDEVICE_TYPE_VULKAN))
        return Error{"this FFmpeg decodes nothing by it"};
    struct stat node = {};
    if (::fstat(render_node, &node) != 0)
        return Error{"there is no render node"};
    // As for VA-API: these files could not be opened later.
    ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 0);
    auto opened = open_at(0, backing);
    if (!opened)
        return opened.error();
    const auto index = find(**opened, node.st_rdev);
    if (!index)
        return Error{"there is no driver for this GPU, only " + (*opened)->name()};
    if (*index != 0)
        opened = open_at(*index, backing);
    if (!opened)
        return opened.error();
    if (Status status = (*opened)->check(wary); !status)
        return status.error();
    return std::unique_ptr<Hardware>(std::move(*opened));
}

} // namespace spice_overlay
