// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ladder.h"

#include "log.h"
#include "proof.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

namespace spice_overlay {

namespace {

constexpr std::chrono::seconds kPatience{2}; ///< with one call into a driver, which takes milliseconds
constexpr unsigned kOpenPatience = 10;       ///< seconds; a driver may lie on a slow disk

constexpr std::size_t kMaxKeptBytes = 32u << 20;
constexpr std::size_t kMaxKeptUnits = 1024;

/// Codecs whose inverse transform is not laid down to the bit.
bool rounds(std::uint16_t codec)
{
    return codec == static_cast<std::uint16_t>(wire::Codec::kMpeg2)
           || codec == static_cast<std::uint16_t>(wire::Codec::kMjpeg);
}

std::shared_ptr<AVFrame> keep_alive(const AVFrame &frame)
{
    return {av_frame_clone(&frame), [](AVFrame *f) { av_frame_free(&f); }};
}

std::string modifier_name(std::uint64_t modifier)
{
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(modifier));
    return modifier == kModifierLinear ? "linear" : text;
}

} // namespace

Ladder::Ladder(const ipc::Open &open, std::vector<FormatSet::Entry> accepted, UniqueFd render_node, FramePool &pool,
               Listener listener)
    : open_(open),
      accepted_(std::move(accepted)),
      render_node_(std::move(render_node)),
      pool_(pool),
      listener_(std::move(listener)),
      software_(open, pool)
{
}

/// The table's first that opens and has a decoder for the codec.
void Ladder::open_device()
{
    if (static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kNever)
        return;
    ::alarm(kOpenPatience);
    const bool wary = static_cast<ipc::HardwareUse>(open_.hardware) != ipc::HardwareUse::kAlways;
    const auto backing = static_cast<Allocator>(open_.allocator) == Allocator::kStandIn ? Image::Backing::kStandIn
                                                                                        : Image::Backing::kDmabuf;
    for (const HardwareDriver &driver : hardware_drivers()) {
        auto device = driver.open(render_node_.get(), wary, backing);
        if (device && VideoCodec::has_decoder(open_, **device)) {
            device_ = std::move(*device);
            break;
        }
        refusals_ += (refusals_.empty() ? "" : "; ") + std::string(driver.name) + ": "
                     + (device ? "FFmpeg has no decoder for it" : device.error().message);
    }
    ::alarm(0);
}

std::optional<Failure> Ladder::start(std::span<const std::uint8_t> extradata)
{
    if (auto failure = software_.start(extradata))
        return failure;
    if (static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kNever)
        return std::nullopt; // the viewer knows why
    if (device_) {
        watchdog_ = std::make_unique<Watchdog>(kPatience, listener_.hung);
        hardware_.emplace(open_, pool_, device_.get());
        if (auto failure = hardware_->start(extradata)) {
            hardware_.reset();
            refusals_ = device_->name() + ": " + failure->why;
        }
    }
    listener_.path(hardware_ ? Path{true, device_->name(), {}} : Path{false, "software", refusals_});
    return std::nullopt;
}

std::optional<Failure> Ladder::decode(const VideoCodec::Unit &unit)
{
    if (!hardware_)
        return software_.decode(unit, [this](AVFrame &frame) { show_new(frame); });
    keep(unit);
    if (unit.key && open_.hardware != static_cast<std::uint32_t>(ipc::HardwareUse::kAlways)
        && (proved_ == 0 || proved_ != hardware_->generation()))
        make_reference(unit);
    {
        const Watchdog::Watch watch(*watchdog_);
        if (auto failure = hardware_->decode(unit, [this](AVFrame &frame) { take(frame); }); failure && broken_.empty())
            broken_ = failure->why;
    }
    show_ready();
    return broken_.empty() ? std::nullopt : step_down();
}

void Ladder::drain()
{
    if (hardware_) {
        {
            const Watchdog::Watch watch(*watchdog_);
            hardware_->drain([this](AVFrame &frame) { take(frame); });
        }
        show_ready();
        if (broken_.empty())
            return;
        static_cast<void>(step_down());
    }
    software_.drain([this](AVFrame &frame) { show_new(frame); });
}

void Ladder::flush()
{
    software_.flush();
    if (hardware_) {
        const Watchdog::Watch watch(*watchdog_);
        hardware_->flush();
    }
    kept_.clear();
    kept_bytes_ = 0;
    kept_all_ = true;
    shown_.reset();
    reference_.reset();
}

void Ladder::keep(const VideoCodec::Unit &unit)
{
    if (unit.key) {
        if (shown_ && unit.pts <= *shown_) // time has begun anew
            shown_.reset();
        kept_.clear();
        kept_bytes_ = 0;
        kept_all_ = true;
    }
    kept_bytes_ += unit.data.size();
    kept_all_ = kept_all_ && kept_bytes_ <= kMaxKeptBytes && kept_.size() < kMaxKeptUnits;
    if (kept_all_)
        kept_.push_back({{unit.data.begin(), unit.data.end()}, unit.pts, unit.key});
    else
        kept_.clear();
}

/// Has software decode the key unit by itself: what the device's first picture is to look like.
void Ladder::make_reference(const VideoCodec::Unit &unit)
{
    reference_.reset();
    const auto first = [this](AVFrame &frame) {
        if (!reference_)
            reference_ = keep_alive(frame);
    };
    static_cast<void>(software_.decode(unit, first));
    software_.drain(first);
}

/// A picture of the device's.
void Ladder::take(const AVFrame &frame)
{
    if (!broken_.empty())
        return; // it comes from software
    auto slot = place(frame);
    if (!slot) {
        broken_ = slot.error().message;
        return;
    }
    if (frame.pts != AV_NOPTS_VALUE)
        shown_ = frame.pts;
    ready_.push_back({keep_alive(frame), *slot});
}

void Ladder::show_ready()
{
    for (const Ready &ready : std::exchange(ready_, {}))
        listener_.picture(*ready.frame, ready.slot);
}

/// Finds or makes the slot of the frame's surface, when all is right with it, and lends it to the viewer.
Result<FramePool::Slot *> Ladder::place(const AVFrame &frame)
{
    if (frame.format != device_->format())
        return Error{"the driver gives out frames that are not its own"};
    if (!software_.rule().colours_right(frame))
        return Error{"the compositor would show the colours of its pictures wrong"};
    const std::uint64_t generation = VideoCodec::generation_of(frame);
    const FramePool::SurfaceKey key{generation, device_->surface(frame)};
    FramePool::Slot *slot = proved_ == generation ? pool_.find_surface(key) : nullptr;
    std::optional<Image> memory;
    if (Status status = device_->finish(frame, slot ? nullptr : &memory); !status)
        return status.error();
    if (!slot) {
        const FormatSet::Entry kind{memory->fourcc(), memory->modifier()};
        if (std::find(accepted_.begin(), accepted_.end(), kind) == accepted_.end())
            return Error{"the compositor does not take its memory (" + fourcc_name(kind.first) + ", modifier "
                         + modifier_name(kind.second) + ")"};
        if (Status status = judge(frame, *memory); !status)
            return status.error();
        slot = pool_.bind_surface(key, std::move(*memory));
        if (!slot)
            return Error{"there is no room for its pictures"};
    }
    pool_.lend_surface(*slot, keep_alive(frame));
    return slot;
}

/// Whether the first picture of a generation is right.
Status Ladder::judge(const AVFrame &frame, const Image &memory)
{
    const std::uint64_t generation = VideoCodec::generation_of(frame);
    if (proved_ == generation)
        return Success{};
    if (static_cast<ipc::HardwareUse>(open_.hardware) != ipc::HardwareUse::kAlways) {
        if (!reference_ && proved_ != 0) { // the size has changed between key units
            proved_ = generation;
            return Success{};
        }
        if (!reference_ || reference_->pts != frame.pts)
            return Error{"there is nothing to compare its first picture with"};
        auto proof = prove(frame, memory, *reference_, !rounds(open_.codec));
        if (!proof)
            return proof.error();
        if (*proof == Proof::kUnreadable)
            log_line(device_->name() + ": its pictures cannot be read back, and are taken for right");
    }
    reference_.reset();
    proved_ = generation;
    return Success{};
}

/// Software goes on where the device has failed.
std::optional<Failure> Ladder::step_down()
{
    if (!kept_all_) // it would have to wait for the next key unit, which only the viewer can ask for
        return Failure{wire::Reason::kDecoderFailed, device_->name() + ": " + broken_};
    hardware_.reset();
    watchdog_.reset();
    reference_.reset();
    software_.flush();
    std::optional<Failure> failure;
    for (const KeptUnit &unit : std::exchange(kept_, {}))
        if (!failure)
            failure = software_.decode({unit.data, unit.pts, unit.key}, [this](AVFrame &frame) { show_new(frame); });
    // Last: whoever is ended over this, is ended over the device.
    listener_.path({false, "software", device_->name() + ": " + broken_});
    return failure;
}

void Ladder::show_new(AVFrame &frame)
{
    if (shown_ && frame.pts != AV_NOPTS_VALUE && frame.pts <= *shown_)
        return;
    shown_.reset();
    listener_.picture(frame, nullptr);
}

} // namespace spice_overlay
