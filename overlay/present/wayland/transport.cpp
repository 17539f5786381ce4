// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport.h"

#include "connection.h"
#include "linux_dmabuf.h"

#include <drm_fourcc.h>

#include <algorithm>
#include <string_view>

namespace spice_overlay {

namespace {

/// Best first: what decoders decode into, then what everything can be converted to.
constexpr std::uint32_t kFourccs[] = {DRM_FORMAT_YUV420, DRM_FORMAT_NV12, DRM_FORMAT_XRGB8888};

/// Drivers with a render node on which dmabufs in main memory are accepted and not shown.
struct Quirk {
    std::string_view driver;
    const char *why;
};
constexpr Quirk kQuirks[] = {
    {"vgem", "it has no GPU: with it Weston 10 shows NV12 black and ends on XR24, and Weston 14 ends"},
    {"virtio_gpu", "it imports no memory but its own"},
};

} // namespace

Result<DmabufUse> dmabuf_use_from(const char *value)
{
    const std::string_view text = value ? value : "";
    if (text.empty() || text == "auto")
        return DmabufUse::kAutomatic;
    if (text == "never")
        return DmabufUse::kNever;
    if (text == "always")
        return DmabufUse::kAlways;
    return Error{"SPICE_OVERLAY_DMABUF is '" + std::string(text) + "': it can be auto, never or always"};
}

Status judge_dmabufs(const DmabufFeedback &feedback, DmabufUse use,
                     const std::function<Result<DrmDevice>(dev_t)> &find_device)
{
    if (use == DmabufUse::kNever)
        return Error{"SPICE_OVERLAY_DMABUF forbids it"};
    if (feedback.formats.empty())
        return Error{"the compositor takes no dmabufs (it has no linux-dmabuf, or draws without a GPU)"};
    if (use == DmabufUse::kAlways)
        return Success{};
    if (!feedback.has_device)
        return Error{"the compositor names no GPU that would read them (linux-dmabuf feedback, version 4)"};
    auto device = find_device(feedback.main_device);
    if (!device)
        return Error{"the compositor's GPU cannot be told: " + device.error().message};
    if (!device->renders)
        return Error{"the compositor's device (" + device->driver + ") is a display without a GPU"};
    for (const Quirk &quirk : kQuirks)
        if (quirk.driver == device->driver)
            return Error{"the compositor's device is " + device->driver + ": " + quirk.why};
    return Success{};
}

void Transport::decide()
{
    if (std::exchange(decided_, true))
        return;
    allocator_ = {};
    why_not_.clear();
    const DmabufFeedback nothing;
    const LinuxDmabuf *dmabuf = connection_.linux_dmabuf();
    if (Status verdict = judge_dmabufs(dmabuf ? dmabuf->feedback() : nothing, use_,
                                       [](dev_t device) { return find_drm_device(device); });
        !verdict) {
        why_not_ = verdict.error().message;
        return;
    }
    auto chosen = choose_allocator(allocator_drivers());
    if (chosen)
        allocator_ = std::move(*chosen);
    else
        why_not_ = chosen.error().message;
}

bool Transport::takes_dmabuf(std::uint32_t fourcc, std::uint64_t modifier) const
{
    const LinuxDmabuf *dmabuf = connection_.linux_dmabuf();
    return allocator_.allocator != Allocator::kNone && dmabuf && dmabuf->feedback().formats.contains(fourcc, modifier)
           && refused_.count(fourcc) == 0;
}

Transport::Offer Transport::offer()
{
    decide();
    Offer offer;
    for (const std::uint32_t fourcc : kFourccs) {
        // Whoever names only the implicit modifier would have to guess the layout of memory that no driver has made.
        const bool as_dmabuf = takes_dmabuf(fourcc, kModifierLinear);
        if (as_dmabuf)
            offer.dmabuf_fourccs.push_back(fourcc);
        if (as_dmabuf || connection_.shm_takes(fourcc))
            offer.fourccs.push_back(fourcc);
    }
    if (!offer.dmabuf_fourccs.empty()) {
        offer.allocator = allocator_.allocator;
        offer.device = allocator_.device.get();
    } else if (why_not_.empty()) {
        why_not_ = "the compositor takes no dmabuf that is laid out line by line, in any format of the decoder";
    }
    return offer;
}

bool Transport::refuse(std::uint32_t fourcc)
{
    why_not_ = "the compositor has refused one in " + fourcc_name(fourcc);
    return refused_.insert(fourcc).second;
}

void Transport::reconsider()
{
    decided_ = false;
    refused_.clear();
}

} // namespace spice_overlay
