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
    if (!hardware_)
        return software_.decode(unit, [this](AVFrame &frame) { show_new(frame); });
    keep(unit);
    if (unit.key && open_.hardware != static_cast<std::uint32_t>(ipc::HardwareUse::kAlways)
        && proved_ != hardware_->generation())
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
    auto ready = place(frame);
    if (!ready) {
        broken_ = ready.error().message;
        return;
    }
    if (frame.pts != AV_NOPTS_VALUE)
        shown_ = frame.pts;
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
    const bool resized = !reference_ && proved_ && proved_ != generation; // between key units
    const bool trusted = resized || static_cast<ipc::HardwareUse>(open_.hardware) == ipc::HardwareUse::kAlways;
    if (!trusted) {
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
    std::optional<Failure> failure;
    for (const KeptUnit &unit : std::exchange(kept_, {}))
        if (!failure)
            failure = software_.decode({unit.data, unit.pts, unit.key}, [this](AVFrame &frame) { show_new(frame); });
    // Last: whoever is ended over this, is ended over the device.
    listener_.path({false, false, "software", device_->name() + ": " + broken_});
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
