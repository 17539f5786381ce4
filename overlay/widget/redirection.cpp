// SPDX-License-Identifier: LGPL-2.1-or-later
#include "redirection.h"

namespace spice_overlay {

namespace {

constexpr std::uint16_t kMaxStreams = 16;
constexpr std::uint32_t kMaxOpenings = kMaxStreams; ///< in a second: each begins a process

wire::Hello announcement(std::vector<wire::CodecCapability> codecs)
{
    wire::Hello hello;
    hello.max_streams = kMaxStreams;
    hello.name = "spice-overlay-viewer " SPICE_OVERLAY_VERSION;
    hello.codecs = std::move(codecs);
    return hello;
}

/// Whether a stream that ends so has not ended by anybody's wish: a person then wonders why the video stutters.
bool is_trouble(wire::Reason reason)
{
    switch (reason) {
    case wire::Reason::kUnsupportedCodec:
    case wire::Reason::kUnsupportedProfile:
    case wire::Reason::kTooLarge:
    case wire::Reason::kTooManyStreams:
    case wire::Reason::kBadParameters:
    case wire::Reason::kDecoderFailed:
    case wire::Reason::kLinkTooSlow:
    case wire::Reason::kProtocolError:
    case wire::Reason::kNoResources:
        return true;
    default:
        return false;
    }
}

} // namespace

Redirection::Redirection(Config config, Screen &screen, WaylandConnection &connection, Statistics &statistics,
                         std::function<void(std::span<const std::uint8_t>)> transmit,
                         std::function<void()> on_screen_changed, std::function<void(const std::string &)> on_trouble)
    : config_(std::move(config)),
      screen_(screen),
      connection_(connection),
      statistics_(statistics),
      transmit_(std::move(transmit)),
      on_screen_changed_(std::move(on_screen_changed)),
      on_trouble_(std::move(on_trouble)),
      session_(announcement(config_.codecs), *this),
      openings_(kMaxOpenings),
      timer_([this] { work(); })
{
}

Redirection::~Redirection()
{
    while (!streams_.empty())
        end_stream(streams_.begin()->first, wire::Reason::kShuttingDown);
}

void Redirection::port_opened()
{
    session_.port_opened(monotonic_now(), fresh_nonce());
    tick();
}

void Redirection::port_closed()
{
    session_.port_closed();
    tick();
}

void Redirection::port_data(std::span<const std::uint8_t> bytes)
{
    session_.feed(bytes, monotonic_now());
    tick();
}

void Redirection::tick()
{
    session_wakes_ = session_.tick(monotonic_now());
    schedule();
}

std::vector<int> Redirection::decoder_pids() const
{
    std::vector<int> pids;
    for (const auto &[id, stream] : streams_)
        if (stream->decoder_pid() > 0)
            pids.push_back(stream->decoder_pid());
    return pids;
}

std::vector<StreamFacts> Redirection::streams() const
{
    std::vector<StreamFacts> list;
    const std::vector<Rung> rungs = ladder(connection_);
    for (const auto &[id, stream] : streams_) {
        const wire::StreamOpen &open = stream->description();
        StreamFacts facts{id, open.codec, open.coded_width, open.coded_height, stream->frames(), screen_.placement(id)};
        if (const VideoFramePtr frame = screen_.newest(id)) {
            facts.transport = frame->buffer->transport();
            facts.memory = stream->memory_of(*frame->buffer);
            const bool processed = !stream->why_processed().empty();
            facts.rung = stream->by_hardware() ? gpu_rung(processed).name : rung_of(*frame->buffer);
            facts.copies = stream->by_hardware() ? CpuCopies{} : cpu_copies(*frame);
            if (processed || !stream->by_hardware())
                facts.passed_over.emplace_back(gpu_rung(false).name,
                                               processed ? stream->why_processed() : stream->why_not_hardware());
            if (!stream->by_hardware())
                facts.passed_over.emplace_back(gpu_rung(true).name, stream->why_not_hardware());
            for (const Rung &rung : rungs) {
                if (stream->by_hardware() || rung.name == facts.rung)
                    break;
                facts.passed_over.emplace_back(rung.name, rung.why_not.empty() ? kWrongColours : rung.why_not);
            }
        }
        list.push_back(std::move(facts));
    }
    return list;
}

wire::Reason Redirection::open(const wire::StreamOpen &open)
{
    if (!openings_.count(monotonic_now()))
        return wire::Reason::kNoResources;
    VideoStream::Setup setup{config_.decoder_program, config_.sandbox, &frame_budget_, &connection_, &statistics_};
    auto stream = std::make_unique<VideoStream>(setup, open, static_cast<VideoStream::Owner &>(*this));
    if (Status started = stream->start(); !started) {
        g_warning("stream %u is refused: %s", open.stream, started.error().message.c_str());
        on_trouble_("a video is left to the guest: " + started.error().message);
        return wire::Reason::kNoResources;
    }
    ++statistics_.streams_opened;
    statistics_.changed();
    screen_.add_stream(open.stream, open.rotation, *this);
    streams_[open.stream] = std::move(stream);
    return wire::Reason::kNone;
}

void Redirection::geometry(const wire::Geometry &geometry)
{
    // This viewer shows the first display. What is on another one is nowhere here, and its rectangle means nothing.
    wire::Geometry nowhere;
    nowhere.stream = geometry.stream;
    nowhere.serial = geometry.serial;
    nowhere.placeholder = geometry.placeholder; // it goes with the desktop's picture, as a video that is minimised
    screen_.geometry(geometry.stream, geometry.display == 0 ? geometry : nowhere, monotonic_now());
    on_screen_changed_();
}

void Redirection::access_unit(const wire::AccessUnit &unit)
{
    if (auto it = streams_.find(unit.stream); it != streams_.end())
        it->second->decode(unit, monotonic_now());
}

void Redirection::play_state(const wire::PlayState &state)
{
    if (auto it = streams_.find(state.stream); it != streams_.end())
        if (it->second->set_epoch(state.epoch)) {
            screen_.flush(state.stream);
            on_screen_changed_();
        }
}

void Redirection::close(std::uint32_t stream, wire::Reason reason)
{
    g_debug("stream %u has ended: %s", stream, wire::describe(reason));
    end_stream(stream, reason);
}

void Redirection::end_stream(std::uint32_t stream, wire::Reason reason)
{
    screen_.remove_stream(stream);
    streams_.erase(stream);
    failed_.erase(stream);
    statistics_.changed();
    on_screen_changed_();
    if (is_trouble(reason))
        on_trouble_(std::string("a video is left to the guest: ") + wire::describe(reason));
}

void Redirection::units_done(std::uint32_t stream, std::uint32_t units)
{
    session_.units_done(stream, units, monotonic_now());
}

void Redirection::need_key(std::uint32_t stream)
{
    session_.need_key(stream);
}

void Redirection::frames_decoded(std::uint32_t stream, std::int64_t decode_ns)
{
    session_.decode_time(stream, decode_ns);
    schedule();
}

void Redirection::stream_failed(std::uint32_t stream, wire::Reason reason)
{
    failed_[stream] = reason;
    schedule();
}

void Redirection::frame_committed(const VideoFrame &frame, std::int64_t at)
{
    ++statistics_.frames_committed;
    statistics_.changed();
    statistics_.ready_to_commit.add(at - frame.ready);
    if (frame.received)
        statistics_.receipt_to_commit.add(at - frame.received);
}

void Redirection::frame_shown(const VideoFrame &frame)
{
    ++statistics_.frames_presented;
    if (frame.resumes)
        statistics_.resumption.add(monotonic_now() - frame.resumes);
}

void Redirection::frame_presented(const VideoFrame &frame, const VideoSurface::Presentation &how)
{
    ++statistics_.presentation.measured;
    statistics_.presentation.vsync += how.vsync;
    statistics_.presentation.hw_clock += how.hw_clock;
    statistics_.presentation.hw_completion += how.hw_completion;
    statistics_.presentation.zero_copy += how.zero_copy;
    if (frame.received)
        statistics_.receipt_to_presentation.add(how.at - frame.received);
}

void Redirection::frame_replaced(const VideoFrame &, bool hidden)
{
    ++(hidden ? statistics_.frames_while_hidden : statistics_.frames_dropped_late);
}

void Redirection::work()
{
    std::int64_t now = monotonic_now();
    while (!failed_.empty()) {
        auto [stream, reason] = *failed_.begin();
        session_.close_stream(stream, reason);
        end_stream(stream, reason);
    }
    for (auto &[id, stream] : streams_) {
        unsigned late = 0;
        VideoFramePtr frame = stream->take_due(now, late);
        if (late) {
            statistics_.frames_dropped_late += late;
            session_.late(id, late);
        }
        if (!frame)
            continue;
        session_.presented(id, 1);
        bool first = !screen_.has_frame(id);
        screen_.show(id, std::move(frame));
        if (first)
            on_screen_changed_();
    }
    if (session_wakes_ >= 0 && session_wakes_ <= now)
        tick();
    else
        schedule();
}

void Redirection::schedule()
{
    std::int64_t next = failed_.empty() ? session_wakes_ : 0;
    for (const auto &[id, stream] : streams_)
        if (std::int64_t due = stream->next_due(); due >= 0 && (next < 0 || due < next))
            next = due;
    timer_.set(next);
}

} // namespace spice_overlay
