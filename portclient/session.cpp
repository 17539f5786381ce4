// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace spice_overlay {

namespace {

using wire::Reason;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kHelloInterval = kSecond;
constexpr unsigned kFirstPings = 4;
constexpr std::int64_t kFirstPingInterval = 100 * kMillisecond;
constexpr std::int64_t kPingInterval = 10 * kSecond;
constexpr std::int64_t kFeedbackInterval = kSecond / 4;
constexpr std::int64_t kIncompleteLimit = 10 * kSecond;

std::uint64_t next_nonce(std::uint64_t nonce) // splitmix64
{
    do {
        nonce += 0x9e3779b97f4a7c15;
        nonce = (nonce ^ (nonce >> 30)) * 0xbf58476d1ce4e5b9;
        nonce = (nonce ^ (nonce >> 27)) * 0x94d049bb133111eb;
        nonce ^= nonce >> 31;
    } while (nonce == 0);
    return nonce;
}

/// The stream that a message is about; 0, which none has: of no stream, or of one that is to begin.
template <typename Message>
std::uint32_t stream_of(const Message &message)
{
    if constexpr (requires { message.stream; } && !std::is_same_v<Message, wire::StreamOpen>)
        return message.stream;
    else
        return 0;
}

wire::Hello as_client(wire::Hello hello)
{
    hello.role = wire::Role::kClient;
    return hello;
}

} // namespace

// Collects what is to be sent during a public call and transmits it in one piece at the end of the outermost one.
class Session::Batch {
public:
    explicit Batch(Session &session) : s_(session) { ++s_.depth_; }
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;
    ~Batch()
    {
        if (--s_.depth_ > 0)
            return;
        s_.ended_.clear();
        if (!s_.out_.empty() && s_.open_)
            s_.listener_.transmit(s_.out_);
        s_.out_.clear();
    }

private:
    Session &s_;
};

Session::Session(wire::Hello hello, Listener &listener, std::size_t assembly)
    : hello_(as_client(std::move(hello))), listener_(listener), handshake_(hello_), budget_{.most = assembly}
{
}

void Session::port_opened(std::int64_t now, std::uint64_t nonce)
{
    Batch batch(*this);
    now_ = now;
    end_all(Reason::kShuttingDown);
    open_ = true;
    begin(nonce);
}

void Session::port_closed()
{
    Batch batch(*this);
    open_ = false;
    end_all(Reason::kShuttingDown);
    handshake_ = wire::Handshake(hello_);
}

void Session::begin(std::uint64_t nonce)
{
    incomplete_since_ = -1;
    deframer_.reset(nonce);
    send(handshake_.start(nonce));
    next_hello_ = now_ + kHelloInterval;
}

// The bytes no longer make sense: what they are begins where a HELLO answers a nonce that none of them can hold.
void Session::restart()
{
    ++counters_.restarts;
    ++counters_.protocol_errors;
    end_all(Reason::kProtocolError);
    begin(next_nonce(handshake_.nonce()));
}

void Session::feed(std::span<const std::uint8_t> bytes, std::int64_t now)
{
    counters_.wire_bytes += bytes.size();
    if (!open_)
        return;
    Batch batch(*this);
    now_ = now;
    bool progress = false;
    deframer_.feed(bytes, [&](const wire::Message &message) {
        progress = true;
        ++counters_.messages;
        std::visit(
            [&](const auto &m) {
                if ((std::is_same_v<decltype(m), const wire::Hello &> || established()) && count_message(stream_of(m)))
                    receive(m);
            },
            message);
    });
    if (deframer_.state() == wire::Deframer::State::kBroken)
        restart();
    else if (!deframer_.mid_message())
        incomplete_since_ = -1;
    else if (progress || incomplete_since_ < 0)
        incomplete_since_ = now;
}

// A flood costs the side that sends it its stream, or the conversation, and this side little more.
bool Session::count_message(std::uint32_t stream)
{
    if (Entry *entry = find(stream)) {
        if (entry->stream.count_message(now_))
            return true;
        fail(stream, Reason::kProtocolError);
        return false;
    }
    if (left_over(stream) || messages_.count(now_))
        return true;
    if (messages_.just_exceeded())
        restart();
    return false;
}

// A guest hears of a stream's end later than this side, and what it sent until then is not held against the others.
bool Session::left_over(std::uint32_t stream)
{
    auto found = leftovers_.find(stream);
    if (found == leftovers_.end())
        return false;
    if (now_ - found->second.since < kLeftoverTime && found->second.messages++ < InboundStream::kMaxMessages)
        return true;
    leftovers_.erase(found);
    return false;
}

void Session::expect_leftovers(std::uint32_t stream)
{
    std::erase_if(leftovers_, [&](const auto &entry) { return now_ - entry.second.since >= kLeftoverTime; });
    if (leftovers_.size() < kMaxLeftovers)
        leftovers_.emplace(stream, Leftovers{now_});
}

std::int64_t Session::tick(std::int64_t now)
{
    if (!open_)
        return -1;
    Batch batch(*this);
    now_ = now;
    std::int64_t next = -1;
    auto at = [&](std::int64_t time) { next = next < 0 ? time : std::min(next, time); };

    if (incomplete_since_ >= 0 && now >= incomplete_since_ + kIncompleteLimit)
        restart();
    if (incomplete_since_ >= 0)
        at(incomplete_since_ + kIncompleteLimit);

    if (!established()) {
        if (handshake_.incompatible())
            return next;
        if (now >= next_hello_) {
            send(handshake_.resend());
            next_hello_ = now + kHelloInterval;
        }
        at(next_hello_);
        return next;
    }

    bool playing = std::ranges::any_of(streams_, [](auto &entry) { return entry.second->stream.playing(); });
    if (first_pings_ > 0 || playing) {
        if (now >= next_ping_) {
            send(clock_.ping(now));
            first_pings_ -= first_pings_ > 0;
            next_ping_ = now + (first_pings_ > 0 ? kFirstPingInterval : kPingInterval);
        }
        if (first_pings_ > 0 || playing)
            at(next_ping_);
    }

    for (auto &[id, entry] : streams_) {
        if (!entry->feedback_due)
            continue;
        if (entry->last_feedback != 0 && now < entry->last_feedback + kFeedbackInterval) {
            at(entry->last_feedback + kFeedbackInterval);
            continue;
        }
        wire::Feedback feedback = entry->feedback;
        feedback.queued = static_cast<std::uint16_t>(std::min(entry->stream.queued(), 0xffffu));
        if (entry->decode_count > 0)
            feedback.decode_us = static_cast<std::uint32_t>(
                std::min<std::uint64_t>(entry->decode_ns / entry->decode_count / 1000, UINT32_MAX));
        send(feedback);
        grant(id, true);
        entry->decode_ns = entry->decode_count = 0;
        entry->feedback_due = false;
        entry->last_feedback = now;
    }
    return next;
}

// ---- what the decoder and the presenter report

void Session::units_done(std::uint32_t stream, std::uint32_t units, std::int64_t now)
{
    Batch batch(*this);
    now_ = now;
    if (Entry *entry = find(stream)) {
        entry->stream.done(units);
        grant(stream);
    }
}

void Session::presented(std::uint32_t stream, std::uint32_t frames)
{
    if (Entry *entry = find(stream)) {
        entry->feedback.presented += frames;
        entry->feedback_due = true;
    }
}

void Session::late(std::uint32_t stream, std::uint32_t frames)
{
    if (Entry *entry = find(stream)) {
        entry->feedback.late += frames;
        entry->feedback_due = true;
    }
}

void Session::decode_time(std::uint32_t stream, std::int64_t ns)
{
    if (Entry *entry = find(stream)) {
        entry->decode_ns += static_cast<std::uint64_t>(std::clamp<std::int64_t>(ns, 0, 3600 * kSecond));
        ++entry->decode_count;
        entry->feedback_due = true;
    }
}

void Session::need_key(std::uint32_t stream)
{
    Batch batch(*this);
    if (Entry *entry = find(stream); entry && entry->stream.need_key())
        send(wire::NeedKey{stream});
}

void Session::close_stream(std::uint32_t stream, Reason reason)
{
    Batch batch(*this);
    if (!remove(stream))
        return;
    expect_leftovers(stream);
    send(wire::StreamClose{stream, reason});
}

// ---- what a relay tells

void Session::client_state(wire::ClientState state)
{
    Batch batch(*this);
    if (std::exchange(client_state_, state) != state && established())
        send(std::move(state));
}

void Session::ping(std::int64_t now)
{
    Batch batch(*this);
    if (established())
        send(clock_.ping(now));
}

void Session::stream_state(std::uint32_t stream, Reason reason)
{
    Batch batch(*this);
    if (find(stream))
        send(wire::StreamState{stream, reason});
}

// ---- what the guest sends

void Session::receive(const wire::Hello &hello)
{
    auto outcome = handshake_.receive(hello);
    if (outcome.reset) {
        end_all(Reason::kShuttingDown);
        next_hello_ = now_ + kHelloInterval;
    }
    if (outcome.reply)
        send(handshake_.resend());
    if (outcome.established) {
        first_pings_ = kFirstPings;
        next_ping_ = now_;
        if (hello_.capabilities & wire::kRelay)
            send(client_state_);
    }
}

void Session::receive(const wire::Ping &ping)
{
    auto now = static_cast<std::uint64_t>(now_);
    send(wire::Pong{ping.id, ping.sent, now, now});
}

void Session::receive(const wire::Pong &pong)
{
    clock_.pong(pong, now_);
}

Reason Session::refuse(const wire::StreamOpen &open) const
{
    if (used(open.stream) || open.coded_width == 0 || open.coded_height == 0 || open.aspect_num == 0 ||
        open.aspect_den == 0 || open.frame_rate_den == 0 || open.colour.full_range > 1 || open.rotation % 90 != 0 ||
        open.rotation > 270)
        return Reason::kBadParameters;
    if (streams_.size() >= hello_.max_streams)
        return Reason::kTooManyStreams;
    if (open.coded_width > wire::kMaxCodedSide || open.coded_height > wire::kMaxCodedSide ||
        open.coded_width * open.coded_height > wire::kMaxCodedArea)
        return Reason::kTooLarge;

    // A codec may be announced more than once (a small hardware decoder and a large software one): any of them will do.
    Reason reason = Reason::kUnsupportedCodec;
    for (const wire::CodecCapability &can : hello_.codecs) {
        if (can.codec != open.codec)
            continue;
        auto [small, large] = std::minmax(open.coded_width, open.coded_height);
        bool any_size = can.max_width == 0 || can.max_height == 0;
        if ((can.max_profile >= 0 && open.profile > can.max_profile) ||
            (can.max_level >= 0 && open.level > can.max_level))
            reason = Reason::kUnsupportedProfile;
        else if (!any_size &&
                 (large > std::max(can.max_width, can.max_height) || small > std::min(can.max_width, can.max_height)))
            reason = Reason::kTooLarge;
        else
            return Reason::kNone;
    }
    return reason;
}

void Session::receive(const wire::StreamOpen &open)
{
    Reason reason = refuse(open);
    bool was_used = used(open.stream);
    used_.insert(open.stream);
    largest_used_ = std::max(largest_used_, open.stream);
    while (*used_.begin() + std::uint64_t{kUsedSpan} <= largest_used_)
        used_.erase(used_.begin());

    if (reason == Reason::kNone)
        reason = listener_.open(open);
    auto geometry = was_used ? decltype(unopened_)::node_type{} : unopened_.extract(open.stream);
    if (reason != Reason::kNone) {
        if (!was_used)
            expect_leftovers(open.stream);
        send(wire::StreamReject{open.stream, reason});
        return;
    }
    Entry &entry = *(streams_[open.stream] = std::make_unique<Entry>(open, budget_));
    entry.feedback.stream = open.stream;
    send(wire::StreamAccept{open.stream});
    grant(open.stream);
    if (geometry)
        pass(entry, geometry.mapped());
}

void Session::receive(const wire::AccessUnit &unit)
{
    counters_.bitstream_bytes += unit.data.size();
    if (Entry *entry = find(unit.stream))
        take(unit.stream, entry->stream.receive(unit, now_));
    else
        ++counters_.stale_units;
}

void Session::receive(const wire::AccessUnitChunk &chunk)
{
    counters_.bitstream_bytes += chunk.data.size();
    if (Entry *entry = find(chunk.stream))
        take(chunk.stream, entry->stream.receive(chunk, now_));
}

void Session::take(std::uint32_t stream, const InboundStream::Received &received)
{
    switch (received.verdict) {
    case InboundStream::Verdict::kMore:
        break;
    case InboundStream::Verdict::kComplete:
        ++counters_.access_units;
        clock_.first_unit(received.unit.pts, now_);
        listener_.access_unit(received.unit);
        if (Entry *entry = find(stream))
            entry->stream.take_back();
        break;
    case InboundStream::Verdict::kStale:
        ++counters_.stale_units;
        break;
    case InboundStream::Verdict::kNotKey:
        ++counters_.units_before_key;
        break;
    case InboundStream::Verdict::kViolation:
        fail(stream, Reason::kProtocolError);
        break;
    case InboundStream::Verdict::kNoMemory:
        fail_largest(stream);
        break;
    }
    grant(stream);
}

// Credit is given as each unit is taken, not once per feed(), so that it does not matter how the bytes are cut.
void Session::grant(std::uint32_t stream, bool anyway)
{
    Entry *entry = find(stream);
    if (!entry)
        return;
    if (auto credit = entry->stream.credit(anyway))
        send(*credit);
    counters_.max_in_flight = std::max(counters_.max_in_flight, entry->stream.in_flight());
}

void Session::receive(const wire::Geometry &geometry)
{
    ++counters_.geometry_messages;
    if (Entry *entry = find(geometry.stream)) {
        pass(*entry, geometry);
        return;
    }
    if (used(geometry.stream))
        return;
    auto [kept, fresh] = unopened_.try_emplace(geometry.stream, geometry);
    if (!fresh && geometry.serial > kept->second.serial)
        kept->second = geometry;
    if (unopened_.size() > kMaxUnopened)
        unopened_.erase(unopened_.begin());
}

void Session::pass(Entry &entry, const wire::Geometry &geometry)
{
    auto newer = entry.stream.geometry(geometry);
    if (!newer) {
        fail(geometry.stream, Reason::kProtocolError);
    } else if (*newer) {
        if ((geometry.target.width == 0 || geometry.target.height == 0) && !geometry.visible.empty()) {
            wire::Geometry nothing = geometry;
            nothing.visible.clear();
            listener_.geometry(nothing);
        } else {
            listener_.geometry(geometry);
        }
    }
}

void Session::receive(const wire::PlayState &state)
{
    Entry *entry = find(state.stream);
    if (!entry || !entry->stream.play_state(state))
        return;
    if (std::exchange(entry->feedback.epoch, state.epoch) != state.epoch)
        entry->last_feedback = 0;
    listener_.play_state(state);
}

void Session::receive(const wire::StreamClose &close)
{
    unopened_.erase(close.stream);
    leftovers_.erase(close.stream);
    if (remove(close.stream))
        listener_.close(close.stream, close.reason <= Reason::kShuttingDown ? close.reason : Reason::kNone);
}

// ---- streams

std::size_t Session::assembly_memory() const
{
    std::size_t bytes = 0;
    for (const auto &[id, entry] : streams_)
        bytes += entry->stream.memory();
    return bytes;
}

Session::Entry *Session::find(std::uint32_t stream)
{
    auto found = streams_.find(stream);
    return found == streams_.end() ? nullptr : found->second.get();
}

bool Session::used(std::uint32_t stream) const
{
    return used_.contains(stream) || stream + std::uint64_t{kUsedSpan} <= largest_used_;
}

// Takes the stream out.
bool Session::remove(std::uint32_t stream)
{
    auto node = streams_.extract(stream);
    if (node)
        retire(std::move(node.mapped()));
    return !node.empty();
}

// What it lends lives on until the outermost call returns.
void Session::retire(std::unique_ptr<Entry> entry)
{
    entry->stream.abandon();
    ended_.push_back(std::move(entry));
}

// Units in parts take too much together: whoever takes most pays, and whoever has just come only if nobody takes more.
void Session::fail_largest(std::uint32_t newest)
{
    auto largest = streams_.find(newest);
    for (auto it = streams_.begin(); it != streams_.end(); ++it)
        if (it->second->stream.taken() > largest->second->stream.taken())
            largest = it;
    fail(largest->first, Reason::kNoResources);
}

void Session::fail(std::uint32_t stream, Reason reason)
{
    ++counters_.protocol_errors;
    if (!remove(stream))
        return;
    expect_leftovers(stream);
    send(wire::StreamClose{stream, reason});
    listener_.close(stream, reason);
}

// The conversation is over: whatever was known of the guest goes.
void Session::end_all(Reason reason)
{
    for (auto &[id, entry] : std::exchange(streams_, {})) {
        retire(std::move(entry));
        listener_.close(id, reason);
    }
    leftovers_.clear();
    unopened_.clear();
    used_.clear();
    largest_used_ = 0;
    first_pings_ = 0;
    clock_.reset();
}

} // namespace spice_overlay
