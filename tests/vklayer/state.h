// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "picture_decoder.h"
#include "tests/vadriver/fault.h"

#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace spice_overlay {

/// What goes wrong on purpose (Fault): the environment variable VK_TEST_FAULT.
constexpr const char *kVulkanFaults[] = {
    "no-modifiers", ///< there is no VK_EXT_image_drm_format_modifier
    "no-video",     ///< ... and no video queue
    "node",         ///< the device says that it has another render node
    "modifier",     ///< images have a tiled layout alone
    "export",       ///< memory is not exported
    "stride",       ///< lines end outside their memory
    "memory",       ///< other memory is exported than is decoded into
    "allocation",   ///< no image gets memory
    "black",        ///< pictures come out black
    "hang",         ///< they are never ready
    "lost",         ///< the device is lost
    "crash",        ///< the process ends at a picture
};

constexpr std::uint64_t kLinear = 0;
constexpr std::uint64_t kTiled = 0x0100000000000002; ///< I915_FORMAT_MOD_Y_TILED

/// Handles that are 64-bit numbers or pointers, by the machine.
template <typename Handle>
std::uint64_t key(Handle handle)
{
    return (std::uint64_t)handle; // NOLINT: both kinds
}

template <typename Handle>
Handle handle(std::uint64_t id)
{
    return (Handle)id; // NOLINT: both kinds
}

struct FreePages {
    void operator()(std::uint8_t *pages) const { std::free(pages); }
};

/// All memory is the layer's, lent to the driver below: that would get it by calls that no GPU's driver makes and the sandbox denies.
struct Memory {
    std::optional<FrameMemory> frame; ///< of what can be exported
    std::unique_ptr<std::uint8_t, FreePages> plain;

    [[nodiscard]] std::uint8_t *data() const { return frame ? frame->pixels.data() : plain.get(); }
};

struct VideoImage {
    VkFormat format = VK_FORMAT_UNDEFINED;
    VkExtent3D extent{};
    std::uint64_t memory = 0; ///< key of a VkDeviceMemory
    VkDeviceSize offset = 0;
};

struct Buffer {
    std::uint64_t memory = 0;
    VkDeviceSize offset = 0;
};

/// A picture that a command buffer is to decode.
struct Decode {
    std::uint64_t parameters = 0;
    std::uint64_t view = 0;
    std::uint64_t buffer = 0;
    VkDeviceSize offset = 0;
    std::vector<std::uint32_t> slices; ///< where they begin, from `offset`
    VkDeviceSize range = 0;
    std::uint8_t sps = 0;
    std::uint8_t pps = 0;
};

/// What is recorded in a command buffer of the video queue, in order.
struct Recording {
    std::uint64_t session = 0;    ///< of the scope that is open
    std::uint64_t parameters = 0; ///< of that scope
    struct Step {
        std::uint64_t session = 0;
        std::optional<Decode> decode; ///< nothing: begin anew
    };
    std::vector<Step> steps;
};

struct ParameterSets {
    std::map<std::uint8_t, std::vector<std::uint8_t>> sps; ///< by their numbers
    std::map<std::uint8_t, std::vector<std::uint8_t>> pps;
};

/// The layer has one device at a time, which is all that a decoder process opens. Calls come from any thread: `mutex` guards all but
/// the addresses, which are set when instance and device are made.
struct State {
    State();

    std::mutex mutex;
    PFN_vkGetInstanceProcAddr next_instance = nullptr;
    PFN_vkGetDeviceProcAddr next_device = nullptr;
    VkInstance instance = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    Fault fault = Fault::from_environment("VK_TEST_FAULT", kVulkanFaults);

    const UniqueFd udmabuf; ///< or invalid
    std::map<std::uint64_t, Memory> memory;
    std::map<std::uint64_t, VideoImage> images;
    std::map<std::uint64_t, std::uint64_t> views; ///< to images
    std::map<std::uint64_t, Buffer> buffers;
    std::map<std::uint64_t, ParameterSets> parameters;
    std::map<std::uint64_t, std::unique_ptr<PictureDecoder>> sessions;
    std::map<std::uint64_t, Recording> recordings;
    std::uint64_t last_id = 0;
    bool lost = false;
};
State &state();

/// The layer or driver below.
template <typename Function>
Function below(const char *name)
{
    State &s = state();
    return reinterpret_cast<Function>(s.device ? s.next_device(s.device, name) : s.next_instance(s.instance, name));
}
template <typename Function>
Function below_instance(const char *name)
{
    return reinterpret_cast<Function>(state().next_instance(state().instance, name));
}

/// The first struct of this type in a chain, or null.
template <typename T>
const T *in_chain(const void *chain, VkStructureType type)
{
    for (auto *at = static_cast<const VkBaseInStructure *>(chain); at; at = at->pNext)
        if (at->sType == type)
            return reinterpret_cast<const T *>(at);
    return nullptr;
}

/// What the layer answers to in place of what is below: null, it does not.
using Interceptor = PFN_vkVoidFunction (*)(std::string_view name);
[[nodiscard]] PFN_vkVoidFunction image_function(std::string_view name);
[[nodiscard]] PFN_vkVoidFunction video_function(std::string_view name);
[[nodiscard]] PFN_vkVoidFunction physical_device_function(std::string_view name);

/// How the image lies in memory that can be exported: as the driver below lays out such images line by line.
[[nodiscard]] std::optional<PictureMemory> picture_memory(std::uint64_t view);

} // namespace spice_overlay
