// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport.h"

#include "connection.h"
#include "linux_dmabuf.h"

#include <drm_fourcc.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace spice_overlay {

namespace {

/// Best first: what decoders decode into, then what everything can be converted to.
constexpr std::uint32_t kFourccs[] = {DRM_FORMAT_YUV420, DRM_FORMAT_NV12, DRM_FORMAT_XRGB8888};

/// What GPUs decode into, or can convert to.
constexpr std::uint32_t kSurfaces[] = {DRM_FORMAT_NV12, DRM_FORMAT_P010, DRM_FORMAT_XRGB8888};

/// Drivers with a render node on which dmabufs in main memory are accepted and not shown.
struct Quirk {
    std::string_view driver;
    const char *why;
    bool own_memory = false; ///< it shows what it has made itself
};
constexpr Quirk kQuirks[] = {
    {"vgem", "it has no GPU: with it Weston 10 shows NV12 black and ends on XR24, and Weston 14 ends"},
    {"virtio_gpu", "it imports no memory but its own", true},
};

const Quirk *quirk_of(const DrmDevice &device)
{
    const auto *found = std::find_if(std::begin(kQuirks), std::end(kQuirks),
                                     [&](const Quirk &quirk) { return quirk.driver == device.driver; });
    return found == std::end(kQuirks) ? nullptr : found;
}

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

Result<HardwareSettings> hardware_settings_from(const char *use, const char *render_node)
{
    HardwareSettings settings;
    const std::string_view text = use ? use : "";
    if (text == "never")
        settings.use = ipc::HardwareUse::kNever;
    else if (text == "always")
        settings.use = ipc::HardwareUse::kAlways;
    else if (!text.empty() && text != "auto")
        return Error{"SPICE_OVERLAY_HARDWARE is '" + std::string(text) + "': it can be auto, never or always"};
    settings.render_node = render_node ? render_node : "";
    return settings;
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
    if (const Quirk *quirk = quirk_of(*device))
        return Error{"the compositor's device is " + device->driver + ": " + quirk->why};
    return Success{};
}

/// The device that the compositor names, or, where it names none, that of the render node which the environment does.
Result<DrmDevice> Transport::find_device() const
{
    const DmabufFeedback &feedback = connection_.linux_dmabuf()->feedback();
    if (feedback.has_device)
        return find_drm_device(feedback.main_device);
    struct stat node = {};
    if (hardware_.render_node.empty() || ::stat(hardware_.render_node.c_str(), &node) != 0)
        return Error{"the compositor names no GPU (SPICE_OVERLAY_RENDER_NODE can)"};
    return find_drm_device(node.st_rdev);
}

/// The table's first that works; before them a device that takes nothing but what it has made itself.
Result<ChosenAllocator> Transport::choose() const
{
    auto device = find_device();
    const Quirk *quirk = device ? quirk_of(*device) : nullptr;
    if (quirk && quirk->own_memory)
        if (auto display = probe_display(device->primary_node))
            return ChosenAllocator{Allocator::kDisplay, name(Allocator::kDisplay), std::move(*display)};
    return choose_allocator(allocator_drivers());
}

void Transport::decide()
{
    if (std::exchange(decided_, true))
        return;
    allocator_ = {};
    imports_ = false;
    why_not_.clear();
    const DmabufFeedback nothing;
    const LinuxDmabuf *dmabuf = connection_.linux_dmabuf();
    if (Status verdict = judge_dmabufs(dmabuf ? dmabuf->feedback() : nothing, use_,
                                       [](dev_t device) { return find_drm_device(device); });
        !verdict) {
        why_not_ = verdict.error().message;
        return;
    }
    imports_ = true;
    auto chosen = choose();
    if (chosen)
        allocator_ = std::move(*chosen);
    else
        why_not_ = chosen.error().message;
}

bool Transport::takes_dmabuf(std::uint32_t fourcc, std::uint64_t modifier) const
{
    const LinuxDmabuf *dmabuf = connection_.linux_dmabuf();
    return imports_ && dmabuf && dmabuf->feedback().formats.contains(fourcc, modifier)
           && !refused_.contains(fourcc, modifier);
}

Transport::Offer Transport::offer()
{
    decide();
    Offer offer;
    for (const std::uint32_t fourcc : kFourccs) {
        // Whoever names only the implicit modifier would have to guess the layout of memory that no driver has made.
        const bool as_dmabuf = allocator_.allocator != Allocator::kNone && takes_dmabuf(fourcc, kModifierLinear);
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

Result<std::string> Transport::find_render_node() const
{
    if (!hardware_.render_node.empty())
        return hardware_.render_node;
    if (!connection_.linux_dmabuf()->feedback().has_device)
        return Error{"the compositor names no GPU (SPICE_OVERLAY_RENDER_NODE can)"};
    auto device = find_device();
    if (!device)
        return Error{"the compositor's GPU cannot be told: " + device.error().message};
    if (device->render_node.empty())
        return Error{"the compositor's device (" + device->driver + ") is a display without a GPU"};
    return device->render_node;
}

Result<std::unique_ptr<TimelineDevice>> Transport::open_timelines() const
{
    if (!connection_.linux_dmabuf())
        return Error{"the compositor takes no dmabufs"};
    auto path = find_render_node();
    if (!path)
        return path.error();
    return open_timeline_device(*path);
}

Transport::Hardware Transport::hardware(wire::Codec codec)
{
    const auto none = [](const std::string &why) { return Hardware{ipc::HardwareUse::kNever, -1, {}, why}; };
    decide();
    if (hardware_.use == ipc::HardwareUse::kNever)
        return none("SPICE_OVERLAY_HARDWARE forbids it");
    if (!imports_)
        return none(why_not_);
    if (const auto failed = failed_hardware_.find(codec); failed != failed_hardware_.end())
        return none("the GPU has failed: " + failed->second);
    FormatSet surfaces;
    for (const auto &[fourcc, modifier] : connection_.linux_dmabuf()->feedback().formats.entries())
        if (std::find(std::begin(kSurfaces), std::end(kSurfaces), fourcc) != std::end(kSurfaces)
            && !refused_.contains(fourcc, modifier))
            surfaces.add(fourcc, modifier);
    if (surfaces.empty())
        return none("the compositor takes neither NV12 nor P010 nor XRGB as dmabufs");
    if (!render_node_.valid()) {
        auto path = find_render_node();
        if (!path)
            return none(path.error().message);
        render_node_.reset(::open(path->c_str(), O_RDWR | O_CLOEXEC));
        if (!render_node_.valid())
            return none("the GPU's " + *path + " cannot be opened: " + std::strerror(errno)
                        + (errno == EACCES ? " (usermod -aG render USER, and log in again)" : ""));
    }
    return {hardware_.use, render_node_.get(), std::move(surfaces), {}};
}

bool Transport::refuse(std::uint32_t fourcc, std::uint64_t modifier)
{
    why_not_ = "the compositor has refused one in " + fourcc_name(fourcc);
    const bool first = !refused_.contains(fourcc, modifier);
    refused_.add(fourcc, modifier);
    return first;
}

void Transport::reconsider()
{
    decided_ = false;
    refused_ = {};
    render_node_.reset(); // it may be another GPU's turn
}

} // namespace spice_overlay
