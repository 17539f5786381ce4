// SPDX-License-Identifier: LGPL-2.1-or-later
#include "performer.h"

#include "portclient/base/clock.h"

#include <algorithm>

namespace spice_overlay::doctor {

namespace {

constexpr std::int64_t kFrame = 1'000'000'000 / kFrameRate; ///< ns
constexpr std::int64_t kHeadStart = 100'000'000;            ///< from the first picture to its time
constexpr std::int64_t kLastWord = 200'000'000; ///< how long the compositor may take to tell of the last frame

DecoderProcess::Config config_of(const Theatre::Programme &programme, const WaylandConnection &connection)
{
    DecoderProcess::Config config;
    config.program = programme.decoder_program;
    config.stream.stream = 1;
    config.stream.codec = programme.clip.codec;
    config.stream.coded_width = programme.clip.width;
    config.stream.coded_height = programme.clip.height;
    config.stream.frame_rate_num = kFrameRate;
    config.stream.colour.matrix = programme.matrix;
    config.told_colours = connection.told_colours();
    config.fourccs = programme.offer.fourccs;
    config.dmabuf_fourccs = programme.offer.dmabuf_fourccs;
    config.allocator = programme.offer.allocator;
    config.device = programme.offer.device;
    config.hardware = programme.hardware.use;
    config.render_node = programme.hardware.render_node;
    config.surfaces = programme.hardware.surfaces;
    return config;
}

} // namespace

void Performer::start(VideoSurface &video)
{
    video_ = &video;
    performance_.codec = wire::name(programme_.clip.codec);
    performance_.decoder = "software";
    performance_.why_no_gpu = programme_.hardware.why_not;
    performance_.frames = static_cast<unsigned>(programme_.clip.units.size());
    auto decoder = DecoderProcess::start(config_of(programme_, connection_), *this);
    if (!decoder)
        return give_up(decoder.error().message);
    decoder_ = std::move(*decoder);
}

void Performer::work(std::int64_t now)
{
    const auto &units = programme_.clip.units;
    while (decoder_ && sent_ < units.size()) {
        wire::AccessUnit unit;
        unit.stream = 1;
        unit.flags = sent_ == 0 ? wire::kKey : 0;
        unit.pts = static_cast<std::int64_t>(sent_) * kFrame;
        unit.data = units[sent_];
        unit.total_size = static_cast<std::uint32_t>(unit.data.size());
        if (!decoder_->send(unit))
            break; // there is room again when the decoder has used some up
        if (++sent_ == units.size())
            decoder_->drain();
    }
    unsigned late = 0;
    if (VideoFramePtr frame = queue_.take_due(now, late))
        video_->show(std::move(frame));
    performance_.late += late;

    const bool all_shown = performance_.decoded == performance_.frames && waiting_.empty() && queue_.size() == 0
                           && performance_.presented + performance_.late == performance_.frames;
    if (all_shown && drawn_ == 0)
        drawn_ = now;
    const bool all_told = !connection_.presentation() || performance_.measured == performance_.presented;
    finished_ = finished_ || (all_shown && (all_told || now >= drawn_ + kLastWord));
}

std::int64_t Performer::next_due() const
{
    return queue_.size() > 0 ? queue_.next_due() : drawn_ > 0 ? drawn_ + kLastWord : -1;
}

void Performer::dispatch()
{
    if (decoder_ && !finished_)
        decoder_->dispatch();
}

void Performer::give_up(const std::string &why)
{
    if (performance_.problem.empty())
        performance_.problem = why;
    finished_ = true;
}

void Performer::buffer(FrameBuffer frame_buffer)
{
    const std::uint32_t slot = frame_buffer.slot;
    auto made = VideoBuffer::create(connection_, std::move(frame_buffer), [this](bool) { settle(); });
    if (!made)
        return give_up(made.error().message);
    buffers_[slot] = std::move(*made);
}

/// The compositor has answered for some memory.
void Performer::settle()
{
    while (!waiting_.empty() && !waiting_.front()->buffer->pending()) {
        VideoFramePtr frame = std::move(waiting_.front());
        waiting_.pop_front();
        if (frame->buffer->ready())
            enqueue(std::move(frame));
        else
            give_up("the compositor refuses the decoder's memory");
    }
}

void Performer::frame(const DecodedFrame &decoded)
{
    const auto buffer = buffers_.find(decoded.slot);
    if (buffer == buffers_.end())
        return;
    auto give_back = [weak = std::weak_ptr<DecoderProcess>(decoder_), slot = decoded.slot] {
        if (auto decoder = weak.lock())
            decoder->release(slot);
    };
    ++performance_.decoded;
    decode_times_.push_back(decoded.decode_ns);
    auto frame = std::make_shared<VideoFrame>(buffer->second, decoded, give_back);
    if (frame->buffer->pending() || !waiting_.empty())
        waiting_.push_back(std::move(frame));
    else
        enqueue(std::move(frame));
}

void Performer::enqueue(VideoFramePtr frame)
{
    if (start_ == 0)
        start_ = monotonic_now() + kHeadStart;
    frame->due = start_ + frame->decoded.pts;
    performance_.transport = frame->buffer->transport();
    performance_.rung = path_.hardware ? gpu_rung(path_.processed).name : rung_of(*frame->buffer);
    performance_.copies = path_.hardware ? CpuCopies{} : cpu_copies(*frame);
    performance_.late += queue_.push(std::move(frame));
}

void Performer::path(const DecodePath &path)
{
    path_ = path;
    performance_.decoder = path.name;
    performance_.why_no_gpu = path.why;
}

void Performer::failed(wire::Reason, const std::string &why)
{
    give_up(why);
}

void Performer::frame_presented(const VideoFrame &, const VideoSurface::Presentation &how)
{
    ++performance_.measured;
    performance_.vsync += how.vsync;
    performance_.zero_copy += how.zero_copy;
}

void Performer::frame_shown(const VideoFrame &)
{
    last_shown_ = monotonic_now();
    if (++performance_.presented == 1)
        first_shown_ = last_shown_;
}

Performance Performer::result() const
{
    Performance result = performance_;
    if (last_shown_ > first_shown_)
        result.frames_a_second =
            static_cast<double>(result.presented - 1) * 1e9 / static_cast<double>(last_shown_ - first_shown_);
    if (!decode_times_.empty()) {
        std::vector<std::int64_t> times = decode_times_;
        const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
        std::nth_element(times.begin(), middle, times.end());
        result.decode_ms = static_cast<double>(*middle) / 1e6;
    }
    return result;
}

} // namespace spice_overlay::doctor
