// SPDX-License-Identifier: LGPL-2.1-or-later
// The queue that decodes: what is recorded for it is done when it is submitted, by processors, before the driver below gets what is left
// of it to do, and signals.
#include "parameter_sets.h"
#include "state.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr std::uint64_t kWaitNs = 60'000'000'000;

// ---- sessions

VKAPI_ATTR VkResult VKAPI_CALL create_session(VkDevice, const VkVideoSessionCreateInfoKHR *,
                                              const VkAllocationCallbacks *, VkVideoSessionKHR *session)
{
    const std::lock_guard lock(state().mutex);
    auto decoder = PictureDecoder::open();
    if (!decoder)
        return VK_ERROR_INITIALIZATION_FAILED;
    *session = handle<VkVideoSessionKHR>(++state().last_id);
    state().sessions[key(*session)] = std::move(decoder);
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL destroy_session(VkDevice, VkVideoSessionKHR session, const VkAllocationCallbacks *)
{
    const std::lock_guard lock(state().mutex);
    state().sessions.erase(key(session));
}

VKAPI_ATTR VkResult VKAPI_CALL session_memory(VkDevice, VkVideoSessionKHR, std::uint32_t *count,
                                              VkVideoSessionMemoryRequirementsKHR *)
{
    *count = 0;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL bind_session_memory(VkDevice, VkVideoSessionKHR, std::uint32_t,
                                                   const VkBindVideoSessionMemoryInfoKHR *)
{
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL create_parameters(VkDevice, const VkVideoSessionParametersCreateInfoKHR *info,
                                                 const VkAllocationCallbacks *, VkVideoSessionParametersKHR *made)
{
    const auto *h264 = in_chain<VkVideoDecodeH264SessionParametersCreateInfoKHR>(
        info->pNext, VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_SESSION_PARAMETERS_CREATE_INFO_KHR);
    if (!h264)
        return VK_ERROR_INITIALIZATION_FAILED;
    ParameterSets sets;
    if (const auto *added = h264->pParametersAddInfo) {
        for (std::uint32_t i = 0; i < added->stdSPSCount; ++i)
            if (auto bytes = write_sps(added->pStdSPSs[i]))
                sets.sps[added->pStdSPSs[i].seq_parameter_set_id] = std::move(*bytes);
        for (std::uint32_t i = 0; i < added->stdPPSCount; ++i)
            if (auto bytes = write_pps(added->pStdPPSs[i]))
                sets.pps[added->pStdPPSs[i].pic_parameter_set_id] = std::move(*bytes);
    }
    const std::lock_guard lock(state().mutex);
    *made = handle<VkVideoSessionParametersKHR>(++state().last_id);
    state().parameters[key(*made)] = std::move(sets);
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL destroy_parameters(VkDevice, VkVideoSessionParametersKHR parameters,
                                              const VkAllocationCallbacks *)
{
    const std::lock_guard lock(state().mutex);
    state().parameters.erase(key(parameters));
}

// ---- queue and commands

/// The video queue stands on the driver's only one.
VKAPI_ATTR void VKAPI_CALL get_queue(VkDevice device, std::uint32_t, std::uint32_t index, VkQueue *queue)
{
    below<PFN_vkGetDeviceQueue>("vkGetDeviceQueue")(device, 0, index, queue);
}

VKAPI_ATTR VkResult VKAPI_CALL create_pool(VkDevice device, const VkCommandPoolCreateInfo *wanted,
                                           const VkAllocationCallbacks *allocator, VkCommandPool *pool)
{
    VkCommandPoolCreateInfo info = *wanted;
    info.queueFamilyIndex = 0;
    return below<PFN_vkCreateCommandPool>("vkCreateCommandPool")(device, &info, allocator, pool);
}

VKAPI_ATTR VkResult VKAPI_CALL begin_commands(VkCommandBuffer commands, const VkCommandBufferBeginInfo *info)
{
    {
        const std::lock_guard lock(state().mutex);
        state().recordings.erase(key(commands));
    }
    return below<PFN_vkBeginCommandBuffer>("vkBeginCommandBuffer")(commands, info);
}

VKAPI_ATTR void VKAPI_CALL begin_coding(VkCommandBuffer commands, const VkVideoBeginCodingInfoKHR *info)
{
    const std::lock_guard lock(state().mutex);
    Recording &recording = state().recordings[key(commands)];
    recording.session = key(info->videoSession);
    recording.parameters = key(info->videoSessionParameters);
}

VKAPI_ATTR void VKAPI_CALL end_coding(VkCommandBuffer, const VkVideoEndCodingInfoKHR *) {}

VKAPI_ATTR void VKAPI_CALL control_coding(VkCommandBuffer commands, const VkVideoCodingControlInfoKHR *info)
{
    const std::lock_guard lock(state().mutex);
    Recording &recording = state().recordings[key(commands)];
    if ((info->flags & VK_VIDEO_CODING_CONTROL_RESET_BIT_KHR) != 0)
        recording.steps.push_back({recording.session, std::nullopt});
}

VKAPI_ATTR void VKAPI_CALL record_decode(VkCommandBuffer commands, const VkVideoDecodeInfoKHR *info)
{
    const auto *h264 =
        in_chain<VkVideoDecodeH264PictureInfoKHR>(info->pNext, VK_STRUCTURE_TYPE_VIDEO_DECODE_H264_PICTURE_INFO_KHR);
    if (!h264)
        return;
    const std::lock_guard lock(state().mutex);
    Recording &recording = state().recordings[key(commands)];
    Decode decode;
    decode.parameters = recording.parameters;
    decode.view = key(info->dstPictureResource.imageViewBinding);
    decode.buffer = key(info->srcBuffer);
    decode.offset = info->srcBufferOffset;
    decode.range = info->srcBufferRange;
    decode.slices.assign(h264->pSliceOffsets, h264->pSliceOffsets + h264->sliceCount);
    decode.sps = h264->pStdPictureInfo->seq_parameter_set_id;
    decode.pps = h264->pStdPictureInfo->pic_parameter_set_id;
    recording.steps.push_back({recording.session, std::move(decode)});
}

/// The picture as an access unit: its parameter sets, as Vulkan has them, and its slices. Empty: something is not there.
std::vector<std::uint8_t> access_unit(const Decode &decode)
{
    State &s = state();
    const auto sets = s.parameters.find(decode.parameters);
    const auto buffer = s.buffers.find(decode.buffer);
    const auto memory = buffer == s.buffers.end() ? s.memory.end() : s.memory.find(buffer->second.memory);
    if (sets == s.parameters.end() || memory == s.memory.end() || !sets->second.sps.contains(decode.sps)
        || !sets->second.pps.contains(decode.pps))
        return {};
    std::vector<std::uint8_t> unit = sets->second.sps.at(decode.sps);
    const auto &pps = sets->second.pps.at(decode.pps);
    unit.insert(unit.end(), pps.begin(), pps.end());
    const std::uint8_t *slices = memory->second.data() + buffer->second.offset + decode.offset;
    for (std::size_t i = 0; i < decode.slices.size(); ++i) {
        const VkDeviceSize end = i + 1 < decode.slices.size() ? decode.slices[i + 1] : decode.range;
        unit.insert(unit.end(), slices + decode.slices[i], slices + std::max<VkDeviceSize>(end, decode.slices[i]));
    }
    return unit;
}

void blacken(const PictureMemory &memory)
{
    for (std::uint32_t y = 0; y < memory.height; ++y)
        std::memset(memory.luma + y * memory.pitch, 0, memory.width);
    for (std::uint32_t y = 0; y < memory.height / 2; ++y)
        std::memset(memory.chroma + y * memory.pitch, 0x80, memory.width);
}

void run(const Recording::Step &step)
{
    State &s = state();
    const auto session = s.sessions.find(step.session);
    if (session == s.sessions.end())
        return;
    if (!step.decode) {
        session->second->reset();
        return;
    }
    if (s.fault.is("crash"))
        std::abort();
    const auto unit = access_unit(*step.decode);
    const auto memory = picture_memory(step.decode->view);
    // As with a GPU, a picture that cannot be decoded is a wrong one and no error.
    if (memory && (unit.empty() || !session->second->decode(unit, *memory) || s.fault.is("black")))
        blacken(*memory);
    s.fault.picture_done();
}

/// What the commands wait for has to be there before they are done here.
bool wait_for(const VkSubmitInfo2 &submit)
{
    std::vector<VkSemaphore> semaphores;
    std::vector<std::uint64_t> values;
    for (std::uint32_t i = 0; i < submit.waitSemaphoreInfoCount; ++i) {
        semaphores.push_back(submit.pWaitSemaphoreInfos[i].semaphore);
        values.push_back(submit.pWaitSemaphoreInfos[i].value);
    }
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = static_cast<std::uint32_t>(semaphores.size());
    info.pSemaphores = semaphores.data();
    info.pValues = values.data();
    return semaphores.empty()
           || below<PFN_vkWaitSemaphores>("vkWaitSemaphores")(state().device, &info, kWaitNs) == VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, std::uint32_t count, const VkSubmitInfo2 *submits, VkFence fence)
{
    State &s = state();
    const std::lock_guard lock(s.mutex); // which guards the queue too: there is but one
    bool video = false;
    for (std::uint32_t i = 0; i < count; ++i)
        for (std::uint32_t k = 0; k < submits[i].commandBufferInfoCount; ++k) {
            const auto found = s.recordings.find(key(submits[i].pCommandBufferInfos[k].commandBuffer));
            if (found == s.recordings.end() || found->second.steps.empty())
                continue;
            video = video
                    || std::any_of(found->second.steps.begin(), found->second.steps.end(),
                                   [](const Recording::Step &step) { return step.decode.has_value(); });
            s.lost = s.lost || (video && s.fault.is("lost")) || !wait_for(submits[i]);
            if (s.lost)
                return VK_ERROR_DEVICE_LOST;
            for (const Recording::Step &step : found->second.steps)
                run(step);
        }
    if (s.lost)
        return VK_ERROR_DEVICE_LOST;
    if (video && s.fault.is("hang"))
        return VK_SUCCESS; // and nobody is told that it is done
    return below<PFN_vkQueueSubmit2>("vkQueueSubmit2")(queue, count, submits, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device, const VkSemaphoreWaitInfo *info, std::uint64_t timeout)
{
    for (std::uint32_t i = 0; i < info->semaphoreCount; ++i)
        if (info->pSemaphores[i] == VK_NULL_HANDLE)
            std::abort(); // as real drivers crash
    {
        const std::lock_guard lock(state().mutex);
        if (state().lost)
            return VK_ERROR_DEVICE_LOST;
    }
    return below<PFN_vkWaitSemaphores>("vkWaitSemaphores")(device, info, timeout);
}

VKAPI_ATTR VkResult VKAPI_CALL wait_fences(VkDevice device, std::uint32_t count, const VkFence *fences, VkBool32 all,
                                           std::uint64_t timeout)
{
    {
        const std::lock_guard lock(state().mutex);
        if (state().lost)
            return VK_ERROR_DEVICE_LOST;
    }
    return below<PFN_vkWaitForFences>("vkWaitForFences")(device, count, fences, all, timeout);
}

} // namespace

#define OWN(vk, function)                                                                                              \
    if (name == #vk)                                                                                                   \
    return reinterpret_cast<PFN_vkVoidFunction>(static_cast<PFN_##vk>(&function))

PFN_vkVoidFunction video_function(std::string_view name)
{
    OWN(vkCreateVideoSessionKHR, create_session);
    OWN(vkDestroyVideoSessionKHR, destroy_session);
    OWN(vkGetVideoSessionMemoryRequirementsKHR, session_memory);
    OWN(vkBindVideoSessionMemoryKHR, bind_session_memory);
    OWN(vkCreateVideoSessionParametersKHR, create_parameters);
    OWN(vkDestroyVideoSessionParametersKHR, destroy_parameters);
    OWN(vkGetDeviceQueue, get_queue);
    OWN(vkCreateCommandPool, create_pool);
    OWN(vkBeginCommandBuffer, begin_commands);
    OWN(vkCmdBeginVideoCodingKHR, begin_coding);
    OWN(vkCmdEndVideoCodingKHR, end_coding);
    OWN(vkCmdControlVideoCodingKHR, control_coding);
    OWN(vkCmdDecodeVideoKHR, record_decode);
    OWN(vkQueueSubmit2, submit);
    OWN(vkWaitSemaphores, wait_semaphores);
    OWN(vkWaitForFences, wait_fences);
    return nullptr;
}

} // namespace spice_overlay
