// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ladder.h"

#include "log.h"

extern "C" {
#include <libavutil/hwcontext.h>
}

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
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

/// The table's first that opens and has a decoder for the codec, which starts where it has its device to itself: it opens files then.
void Ladder::open_device(std::span<const std::uint8_t> extradata)
{
    if (static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kNever)
        return;
    ::alarm(kOpenPatience);
    const bool wary = static_cast<ipc::HardwareUse>(open_.hardware) != ipc::HardwareUse::kAlways;
    const auto backing = static_cast<Allocator>(open_.allocator) == Allocator::kStandIn ? Image::Backing::kStandIn
                                                                                        : Image::Backing::kDmabuf;
    for (const HardwareDriver &driver : hardware_drivers()) {
        auto device = driver.open(render_node_.get(), wary, backing);
        if (!device) {
            refuse(driver.name, device.error().message);
        } else if (!VideoCodec::has_decoder(open_, **device)) {
            refuse(driver.name, "FFmpeg has no decoder for it");
        } else {
            device_ = std::move(*device);
            pool_.hold_surfaces(device_->device() ? FramePool::kSurfacesHeld : FramePool::kFixedSurfacesHeld);
            if (device_->device() || start_hardware(extradata))
                break;
            device_.reset();
        }
    }
    ::alarm(0);
}

void Ladder::refuse(const std::string &name, const std::string &why)
{
    refusals_ += (refusals_.empty() ? "" : "; ") + name + ": " + why;
}

SandboxKind Ladder::sandbox() const
{
    if (!device_)
        return SandboxKind::kSoftware;
    return hardware_ && hardware_->wrapper() == "rkmpp" ? SandboxKind::kMpp : SandboxKind::kDevice;
}

/// False: it does not start, and refusals_ say why.
bool Ladder::start_hardware(std::span<const std::uint8_t> extradata)
{
    hardware_.emplace(open_, pool_, device_.get(), accepted_);
    auto failure = hardware_->start(extradata);
    if (!failure)
        return true;
    hardware_.reset();
    refuse(device_->name(), failure->why);
    return false;
}

std::optional<Failure> Ladder::start(std::span<const std::uint8_t> extradata)
{
    if (auto failure = software_.start(extradata))
        return failure;
    if (static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kNever)
        return std::nullopt; // the viewer knows why
    if (device_) {
        watchdog_ = std::make_unique<Watchdog>(kPatience, listener_.hung);
        if (device_->device())
            static_cast<void>(start_hardware(extradata));
    }
    listener_.path(hardware_ ? Path{true, false, device_->name(), {}} : Path{false, false, "software", refusals_});
    return std::nullopt;
}

std::optional<Failure> Ladder::decode(const VideoCodec::Unit &unit)
{
    if (!hardware_) {
        if (unit.key && shown_ && unit.pts <= shown_->pts) // time has begun anew
            shown_.reset();
        return software_.decode(unit, [this](AVFrame &frame) { show_new(frame); });
    }
    keep(unit);
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
            if (auto failure = hardware_->drain([this](AVFrame &frame) { take(frame); }, newest_group());
                failure && broken_.empty())
                broken_ = failure->why;
        }
        show_ready();
        if (broken_.empty()) {
            forget_kept();
            return;
        }
        static_cast<void>(step_down());
    }
    static_cast<void>(software_.drain([this](AVFrame &frame) { show_new(frame); }));
}

void Ladder::flush()
{
    software_.flush();
    if (hardware_) {
        const Watchdog::Watch watch(*watchdog_);
        hardware_->flush();
    }
    forget_kept();
    newest_.reset();
    shown_.reset();
    reference_.reset();
}

void Ladder::keep(const VideoCodec::Unit &unit)
{
    Moment moment{newest_ ? newest_->era : 0, unit.pts};
    if (unit.key && newest_ && moment <= *newest_) // time has begun anew
        ++moment.era;
    newest_ = newest_ ? std::max(*newest_, moment) : moment;
    if (unit.key && !kept_all_)
        forget_kept();
    if (!kept_all_)
        return;
    kept_.push_back({{unit.data.begin(), unit.data.end()}, moment, unit.key});
    kept_bytes_ += unit.data.size();
    const auto too_much = [this] { return kept_bytes_ > kMaxKeptBytes || kept_.size() > kMaxKeptUnits; };
    if (too_much()) // most pictures of earlier groups have been shown
        forget_groups_before(newest_key());
    if (too_much()) {
        forget_kept();
        kept_all_ = false;
    }
}

void Ladder::forget_kept()
{
    kept_.clear();
    kept_bytes_ = 0;
    kept_all_ = true;
}

void Ladder::forget_groups_before(const std::deque<KeptUnit>::iterator &key)
{
    for (auto unit = kept_.begin(); unit != key; ++unit)
        kept_bytes_ -= unit->data.size();
    kept_.erase(kept_.begin(), key);
}

/// Else the first.
std::deque<Ladder::KeptUnit>::iterator Ladder::newest_key()
{
    const auto key = std::find_if(kept_.rbegin(), kept_.rend(), [](const KeptUnit &unit) { return unit.key; });
    return key == kept_.rend() ? kept_.begin() : std::prev(key.base());
}

/// Empty: there is no key unit.
std::vector<VideoCodec::Unit> Ladder::newest_group()
{
    std::vector<VideoCodec::Unit> group;
    for (auto unit = newest_key(); unit != kept_.end(); ++unit)
        group.push_back({unit->data, unit->moment.pts, unit->key});
    return !group.empty() && group.front().key ? group : std::vector<VideoCodec::Unit>{};
}

/// Of a picture of the device's: that of the first unit with its time that may have come by now.
Ladder::Moment Ladder::moment_of(const AVFrame &frame) const
{
    for (const KeptUnit &unit : kept_)
        if (unit.moment.pts == frame.pts && (!shown_ || unit.moment > *shown_))
            return unit.moment;
    return {shown_ ? shown_->era : kept_.empty() ? 0 : kept_.front().moment.era, frame.pts};
}

void Ladder::note_shown(Moment moment)
{
    shown_ = moment;
    for (auto unit = kept_.end(); unit != kept_.begin();) {
        --unit;
        if (unit->key && unit->moment <= moment) { // pictures of earlier groups came before
            forget_groups_before(unit);
            break;
        }
    }
}

/// Has software decode a key unit by itself: what the device's first picture is to look like. False: the frame is of none.
bool Ladder::make_reference(const AVFrame &frame)
{
    if (reference_ && reference_->pts == frame.pts)
        return true;
    reference_.reset();
    const Moment moment = moment_of(frame);
    const auto unit = std::find_if(kept_.begin(), kept_.end(),
                                   [&](const KeptUnit &kept) { return kept.key && kept.moment == moment; });
    if (unit == kept_.end())
        return false;
    const Watchdog::Pause pause(*watchdog_);
    const auto first = [this](AVFrame &picture) {
        if (!reference_)
            reference_ = keep_alive(picture);
    };
    static_cast<void>(software_.decode({unit->data, moment.pts, true}, first));
    static_cast<void>(software_.drain(first));
    return true;
}

/// A picture of the device's.
void Ladder::take(const AVFrame &frame)
{
    if (!broken_.empty())
        return; // it comes from software
    auto ready = place(frame);
    if (!ready) {
        broken_ = ready.error().message;
        return;
    }
    if (frame.pts != AV_NOPTS_VALUE)
        note_shown(moment_of(frame));
    ready_.push_back(std::move(*ready));
}

void Ladder::show_ready()
{
    for (const Ready &ready : std::exchange(ready_, {}))
        listener_.picture(*ready.frame, ready.slot);
}

/// Finds or makes the slot of the frame's surface, or of one that it is converted into, when all is right with it, and lends it to the
/// viewer.
Result<Ladder::Ready> Ladder::place(const AVFrame &frame)
{
    if (frame.format != device_->format())
        return Error{"the driver gives out frames that are not its own"};
    if (!why_process_.empty())
        return place_processed(frame);
    if (!software_.rule().colours_right(frame)) {
        why_process_ = "the compositor would show the colours of its pictures wrong";
        return place_processed(frame);
    }
    const std::uint64_t generation = VideoCodec::generation_of(frame);
    const FramePool::SurfaceKey key{generation, device_->surface(frame)};
    FramePool::Slot *slot = proved_ == generation ? pool_.find_surface(key) : nullptr;
    std::optional<Image> memory;
    if (Status status = device_->finish(frame, slot ? nullptr : &memory); !status)
        return status.error();
    if (!slot) {
        if (!accepts(*memory)) {
            why_process_ = "the compositor does not take its memory (" + fourcc_name(memory->fourcc()) + ", modifier "
                           + modifier_name(memory->modifier()) + ")";
            return place_processed(frame);
        }
        const bool exact = !rounds(open_.codec);
        if (Status status =
                judge(frame, [&](const AVFrame &reference) { return prove(frame, *memory, reference, exact); });
            !status)
            return status.error();
        slot = pool_.bind_surface(key, std::move(*memory));
        if (!slot)
            return Error{"there is no room for its pictures"};
    }
    pool_.lend_surface(*slot, keep_alive(frame));
    return Ready{keep_alive(frame), slot};
}

/// Has the device convert the picture first.
Result<Ladder::Ready> Ladder::place_processed(const AVFrame &frame)
{
    const std::uint64_t generation = VideoCodec::generation_of(frame);
    if (!processor_ || proved_ != generation)
        if (Status started = start_processing(frame); !started)
            return Error{why_process_ + "; VPP: " + started.error().message};
    auto converted = processor_->convert(frame, colour_of(frame, open_.colour));
    if (!converted)
        return converted.error();
    const FramePool::SurfaceKey key{generation, device_->surface(**converted)};
    FramePool::Slot *slot = pool_.find_surface(key);
    std::optional<Image> memory;
    if (Status status = device_->finish(**converted, slot ? nullptr : &memory); !status)
        return status.error();
    if (!slot) {
        slot = accepts(*memory) ? pool_.bind_surface(key, std::move(*memory)) : nullptr;
        if (!slot)
            return Error{"there is no room for its pictures"};
    }
    pool_.lend_surface(*slot, *converted);
    return Ready{std::move(*converted), slot};
}

bool Ladder::accepts(const Image &memory) const
{
    const FormatSet::Entry kind{memory.fourcc(), memory.modifier()};
    return std::find(accepted_.begin(), accepted_.end(), kind) != accepted_.end();
}

/// What the compositor takes and the device may convert to, best first: the fewest bytes that keep the picture as it is.
std::vector<ProcessedKind> Ladder::kinds_for(const AVFrame &frame) const
{
    const auto *frames =
        frame.hw_frames_ctx ? reinterpret_cast<const AVHWFramesContext *>(frame.hw_frames_ctx->data) : nullptr;
    std::vector<std::uint32_t> fourccs;
    if (software_.rule().colours_right(frame)) {
        if (frames && frames->sw_format == AV_PIX_FMT_P010)
            fourccs.push_back(kFourccP010);
        fourccs.push_back(kFourccNv12);
    }
    fourccs.push_back(kFourccXrgb8888);
    std::vector<ProcessedKind> kinds;
    for (const std::uint32_t fourcc : fourccs) {
        ProcessedKind kind{fourcc, {}};
        for (const auto &[accepted, modifier] : accepted_)
            if (accepted == fourcc && modifier != kModifierInvalid) // memory that is exported says what it is
                kind.modifiers.push_back(modifier);
        if (!kind.modifiers.empty())
            kinds.push_back(std::move(kind));
    }
    return kinds;
}

Status Ladder::start_processing(const AVFrame &frame)
{
    const bool first = processor_ == nullptr;
    processor_.reset();
    std::string why;
    for (const ProcessedKind &kind : kinds_for(frame)) {
        auto opened = open_post_processor(device_->device(), kind, frame.width, frame.height);
        const Status tried = opened ? try_processor(**opened, frame) : Status(opened.error());
        if (tried) {
            processor_ = std::move(*opened);
            if (first)
                listener_.path(
                    {true, true, "VPP to " + fourcc_name(kind.fourcc) + " after " + device_->name(), why_process_});
            return Success{};
        }
        why += (why.empty() ? "" : ", ") + fourcc_name(kind.fourcc) + ": " + tried.error().message;
    }
    return Error{why.empty() ? "nothing that the compositor takes" : why};
}

/// By the frame, which is converted once more afterwards.
Status Ladder::try_processor(PostProcessor &processor, const AVFrame &frame)
{
    const Colour colour = colour_of(frame, open_.colour);
    auto converted = processor.convert(frame, colour);
    if (!converted)
        return converted.error();
    std::optional<Image> memory;
    if (Status status = device_->finish(**converted, &memory); !status)
        return status;
    if (!accepts(*memory))
        return Error{"the driver makes it with modifier " + modifier_name(memory->modifier())};
    return judge(frame,
                 [&](const AVFrame &reference) { return prove_converted(**converted, *memory, reference, colour); });
}

/// Whether the first picture of a generation is right: `prover` compares it with software's. (Without effect when it is not: there may be
/// another way.)
Status Ladder::judge(const AVFrame &frame, const Prover &prover)
{
    const std::uint64_t generation = VideoCodec::generation_of(frame);
    if (proved_ == generation && why_process_.empty())
        return Success{};
    const bool always = static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kAlways;
    const bool resized = !always && !make_reference(frame) && proved_ && proved_ != generation; // between key units
    if (!always && !resized) {
        if (!reference_ || reference_->pts != frame.pts)
            return Error{"there is nothing to compare its first picture with"};
        auto proof = prover(*reference_);
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
    processor_.reset();
    watchdog_.reset();
    reference_.reset();
    software_.flush();
    const auto show = [this](AVFrame &frame) { show_new(frame); };
    std::optional<Failure> failure;
    era_ = kept_.empty() ? newest_ ? newest_->era : 0 : kept_.front().moment.era;
    for (const KeptUnit &unit : std::exchange(kept_, {})) {
        if (era_ != unit.moment.era)
            static_cast<void>(software_.drain(show));
        era_ = unit.moment.era;
        if (!failure)
            failure = software_.decode({unit.data, unit.moment.pts, unit.key}, show);
    }
    // Last: whoever is ended over this, is ended over the device.
    listener_.path({false, false, "software", device_->name() + ": " + broken_});
    return failure;
}

void Ladder::show_new(AVFrame &frame)
{
    if (shown_ && frame.pts != AV_NOPTS_VALUE && Moment{era_, frame.pts} <= *shown_)
        return;
    shown_.reset();
    listener_.picture(frame, nullptr);
}

} // namespace spice_overlay
