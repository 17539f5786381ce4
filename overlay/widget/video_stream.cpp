// SPDX-License-Identifier: LGPL-2.1-or-later
#include "video_stream.h"

#include "overlay/present/wayland/transport.h"

#include <algorithm>

namespace spice_overlay {

namespace {

constexpr std::int64_t kMinute = 60'000'000'000;
/// ns before the next try, after so many deaths in the last minute: an accident costs nothing, a stream that kills little.
constexpr std::int64_t kRestartDelays[] = {20'000'000, 80'000'000, 320'000'000, 1'280'000'000, 1'280'000'000};
constexpr std::size_t kMaxDeathsInMinute = std::size(kRestartDelays);

/// What Weston and Mutter take for YUV of which they are told nothing (H.273 code of BT.601).
constexpr std::uint8_t kUntaggedMatrix = 6;

} // namespace

VideoStream::VideoStream(const Setup &setup, const wire::StreamOpen &open, Owner &owner)
    : setup_(setup), open_(open), owner_(owner), timer_([this] { attend(); })
{
}

VideoStream::~VideoStream() = default;

Status VideoStream::start()
{
    DecoderProcess::Config config;
    config.program = setup_.decoder_program;
    config.sandbox = setup_.sandbox;
    config.budget = setup_.budget;
    config.stream = open_;
    config.yuv_matrix = kUntaggedMatrix;
    config.told_colours = setup_.connection->told_colours();
    Transport::Offer offer = setup_.connection->transport().offer();
    config.fourccs = std::move(offer.fourccs);
    config.dmabuf_fourccs = std::move(offer.dmabuf_fourccs);
    config.allocator = offer.allocator;
    config.device = offer.device;
    allocator_ = offer.allocator;
    Transport::Hardware hardware = setup_.connection->transport().hardware(open_.codec);
    config.hardware = hardware.use;
    config.render_node = hardware.render_node;
    config.surfaces = std::move(hardware.surfaces);
    by_hardware_ = hardware.use != ipc::HardwareUse::kNever; // until it says otherwise
    why_processed_.clear();
    setup_.statistics->decoder = "software";
    setup_.statistics->why_not_hardware = why_not_hardware_ = hardware.why_not;
    auto decoder = DecoderProcess::start(config, *this);
    if (!decoder)
        return decoder.error();
    decoder_ = std::move(*decoder);
    watch_ = std::make_unique<FdWatch>(decoder_->fd(), [this] {
        decoder_->dispatch();
        if (decoder_->ending())
            timer_.set(decoder_->watch(monotonic_now()));
    });
    if (epoch_)
        decoder_->flush(epoch_);
    return Success{};
}

void VideoStream::decode(const wire::AccessUnit &unit, std::int64_t received)
{
    if (!decoder_ || !decoder_->send(unit)) { // between a death and the restart, or the guest ignores its credit
        owner_.units_done(id(), 1);
        owner_.need_key(id());
        return;
    }
    ++outstanding_;
    if (!watched_ && !restart_due_) {
        watched_ = true;
        timer_.set(decoder_->watch(received));
    }
    received_.emplace_back(unit.pts, received);
    if (received_.size() > 128)
        received_.pop_front();
}

VideoFramePtr VideoStream::take_due(std::int64_t now, unsigned &late)
{
    VideoFramePtr frame = queue_.take_due(now, late);
    if (frame)
        frame->resumes = std::exchange(resumes_, 0);
    return frame;
}

bool VideoStream::set_epoch(std::uint32_t epoch)
{
    if (epoch == epoch_)
        return false;
    epoch_ = epoch;
    queue_.clear();
    waiting_.clear();
    received_.clear();
    if (decoder_)
        decoder_->flush(epoch);
    return true;
}

void VideoStream::buffer(FrameBuffer buffer)
{
    const std::uint32_t slot = buffer.slot;
    const std::uint32_t fourcc = buffer.fourcc;
    const std::uint64_t modifier = buffer.image ? buffer.image->modifier() : kModifierLinear;
    auto made = VideoBuffer::create(*setup_.connection, std::move(buffer),
                                    [this, slot](bool refused) { settled(slot, refused); });
    if (!made) {
        g_warning("stream %u: %s", id(), made.error().message.c_str());
        buffers_.erase(slot);
        setup_.connection->transport().refuse(fourcc, modifier);
        start_anew();
        return;
    }
    buffers_[slot] = std::move(*made);
    if (buffers_[slot]->ready())
        note_transport(*buffers_[slot]);
}

/// The compositor has answered for the slot's memory.
void VideoStream::settled(std::uint32_t slot, bool refused)
{
    std::shared_ptr<VideoBuffer> buffer = buffers_.at(slot);
    if (refused)
        g_message("the compositor refuses frames in %s as dmabufs: they go %s from now on",
                  fourcc_name(buffer->fourcc()).c_str(), buffer->ready() ? "by wl_shm" : "in another format");
    if (buffer->ready()) {
        note_transport(*buffer);
    } else {
        buffers_.erase(slot);
        start_anew();
    }
    while (!waiting_.empty() && !waiting_.front()->buffer->pending()) {
        VideoFramePtr frame = std::move(waiting_.front());
        waiting_.pop_front();
        if (frame->buffer->ready())
            enqueue(std::move(frame));
    }
}

const char *VideoStream::memory_of(const VideoBuffer &buffer) const
{
    if (!buffer.is_dmabuf())
        return name(Allocator::kNone);
    return by_hardware_ ? "gpu" : name(allocator_);
}

void VideoStream::note_transport(const VideoBuffer &buffer)
{
    setup_.statistics->transport = buffer.transport();
    setup_.statistics->why_not_dmabuf = setup_.connection->transport().why_not();
}

/// What the decoder was told to send cannot be shown: it is told again.
void VideoStream::start_anew()
{
    restart_due_ = true;
    timer_.set(monotonic_now());
}

void VideoStream::frame(const DecodedFrame &decoded)
{
    auto buffer = buffers_.find(decoded.slot);
    if (buffer == buffers_.end() || decoded.epoch != epoch_) {
        decoder_->release(decoded.slot);
        return;
    }
    auto give_back = [weak = std::weak_ptr<DecoderProcess>(decoder_), slot = decoded.slot] {
        if (auto decoder = weak.lock())
            decoder->release(slot);
    };
    auto frame = std::make_shared<VideoFrame>(buffer->second, decoded, give_back);
    frame->due = owner_.due_time(decoded.pts);
    frame->ready = std::max(frame->due, monotonic_now());
    while (!received_.empty() && received_.size() > 64)
        received_.pop_front();
    for (auto it = received_.begin(); it != received_.end(); ++it) {
        if (it->first == decoded.pts) {
            frame->received = it->second;
            received_.erase(it);
            break;
        }
    }
    ++frames_;
    ++setup_.statistics->frames_decoded;
    setup_.statistics->decode.add(decoded.decode_ns);
    // In order: one whose memory the compositor knows waits behind one whose memory it does not.
    if (frame->buffer->pending() || !waiting_.empty())
        waiting_.push_back(std::move(frame));
    else
        enqueue(std::move(frame));
}

void VideoStream::enqueue(VideoFramePtr frame)
{
    const std::int64_t decode_ns = frame->decoded.decode_ns;
    setup_.statistics->frames_dropped_late += queue_.push(std::move(frame));
    owner_.frames_decoded(id(), decode_ns);
}

void VideoStream::path(const DecodePath &path)
{
    by_hardware_ = path.hardware;
    why_processed_ = path.processed ? path.why : std::string();
    setup_.statistics->decoder = path.name;
    setup_.statistics->why_not_hardware = why_not_hardware_ = path.hardware ? std::string() : path.why;
    if (!path.hardware)
        g_message("stream %u is decoded in software: %s", id(), path.why.c_str());
    else if (path.processed)
        g_message("the GPU converts stream %u: %s", id(), path.why.c_str());
}

void VideoStream::ready(std::int64_t at)
{
    resumes_ = restarted_ ? at : 0;
}

void VideoStream::consumed(std::uint32_t units)
{
    units = std::min(units, outstanding_);
    outstanding_ -= units;
    if (units)
        owner_.units_done(id(), units);
}

void VideoStream::failed(wire::Reason reason, const std::string &why)
{
    g_warning("stream %u: the decoder failed: %s", id(), why.c_str());
    setup_.statistics->decoder_failed = why;
    setup_.statistics->changed();
    watch_.reset();
    consumed(outstanding_);
    if (by_hardware_ && reason == wire::Reason::kDecoderFailed)
        setup_.connection->transport().refuse_hardware(open_.codec, why);
    std::int64_t now = monotonic_now();
    while (!deaths_.empty() && now - deaths_.front() > kMinute)
        deaths_.pop_front();
    deaths_.push_back(now);
    // What it cannot decode it will not decode next time either; a death may have been an accident.
    if (reason != wire::Reason::kDecoderFailed || deaths_.size() > kMaxDeathsInMinute) {
        owner_.stream_failed(id(), reason);
        return;
    }
    restart_due_ = true;
    timer_.set(now + kRestartDelays[deaths_.size() - 1]);
}

/// The timer serves a decoder that lives and one that does not: each timer costs every turn of the main loop something.
void VideoStream::attend()
{
    if (restart_due_)
        return restart();
    const std::int64_t next = decoder_ ? decoder_->watch(monotonic_now()) : -1;
    if (restart_due_) // by its silence
        return;
    watched_ = next >= 0;
    timer_.set(next);
}

void VideoStream::restart()
{
    restart_due_ = false;
    watched_ = false;
    watch_.reset();
    consumed(outstanding_);
    decoder_.reset();
    waiting_.clear();
    buffers_.clear(); // frames on show keep theirs
    queue_.clear();
    received_.clear();
    ++setup_.statistics->decoder_restarts;
    restarted_ = true;
    resumes_ = 0;
    if (Status started = start(); !started) {
        g_warning("stream %u: %s", id(), started.error().message.c_str());
        owner_.stream_failed(id(), wire::Reason::kDecoderFailed);
        return;
    }
    owner_.need_key(id());
}

} // namespace spice_overlay
