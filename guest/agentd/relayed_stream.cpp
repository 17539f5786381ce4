// SPDX-License-Identifier: LGPL-2.1-or-later
#include "relayed_stream.h"

#include <algorithm>
#include <utility>

namespace spice_overlay::guest {
namespace {

using wire::Reason;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kCatchUpLimit = 3 * kSecond; ///< a burst that takes longer is given up for the next key unit
constexpr std::int64_t kGrace = 2 * kSecond;        ///< for the client's decoder to start in
constexpr std::int64_t kReplayInterval = 100 * kMillisecond; ///< a client asking for key units faster than this waits
constexpr std::int64_t kEndingLimit = 2 * kSecond;           ///< for the last units of a stream that has ended
// How far apart a stream's changes are told, so that others have the link, too: the newest one each time.
constexpr std::int64_t kGeometryInterval = 5 * kMillisecond;
constexpr std::int64_t kRectangleInterval = kMillisecond / 10; ///< more for each rectangle of the visible region
constexpr std::int64_t kPlayStateInterval = 20 * kMillisecond;
constexpr std::int64_t kFirstBackOff = 10 * kSecond;
constexpr std::int64_t kLastBackOff = 160 * kSecond;
constexpr int kBadSeconds = 5;   ///< in a row: the link is too slow
constexpr int kGoodSeconds = 30; ///< in a row: it has recovered
constexpr std::int64_t kNever = INT64_MAX / 4;

} // namespace

RelayedStream::RelayedStream(Session &player, const wire::StreamOpen &open, std::size_t cache_limit, std::size_t spare,
                             std::shared_ptr<MemoryBudget> player_memory, MemoryBudget &all_memory, Outgoing &outgoing)
    : player_(&player),
      open_(open),
      outgoing_(outgoing),
      player_memory_(std::move(player_memory)),
      cache_(cache_limit, *player_memory_, all_memory),
      spare_(spare),
      waiting_(*player_memory_, all_memory)
{
}

// ---- the player's messages

void RelayedStream::geometry(const wire::Geometry &geometry)
{
    geometry_ = geometry;
    geometry_told_ = false;
}

void RelayedStream::play_state(const wire::PlayState &state)
{
    bool flush = std::exchange(play_state_, state).epoch != state.epoch;
    if (flush) {
        fresh_ = true;
        cache_.clear();
        next_ = cache_.end();
        behind_since_ = -1;
        epoch_++;
    }
    if (flush && client_stream_)
        sender_->flush(epoch_);
}

void RelayedStream::access_unit(const wire::AccessUnit &unit, std::int64_t now)
{
    totals_.units++;
    fresh_ = false;
    player_->units_done(open_.stream, 1, now);
    bool key = unit.flags & wire::kKey;
    if (begun_ && key) // the cache forgets what comes before it
        while (next_ >= cache_.begin() && next_ < cache_.end() && has_room(cache_.at(next_).data.size()))
            push(next_++, now);
    no_memory_ = false; // what comes now may take the place of what was kept
    bool live = begun_ && next_ == cache_.end();
    cache_.add(unit);
    if (live && has_room(unit.data.size())) {
        sender_->push(copy_of(unit), unit.pts,
                      playing() ? std::max(now, grace_until_ - StreamSender::kPatience) : kNever);
        next_ = cache_.end();
    } else if (live && cache_.empty()) {
        sender_->restart_at_key();
        next_ = cache_.end();
    }
    if (begun_)
        judge_link(now);
}

void RelayedStream::orphaned(Reason reason, std::int64_t now)
{
    player_ = nullptr;
    if (!client_stream_)
        return;
    ending_ = reason;
    ending_limit_ = begun_ && reason == Reason::kEndOfStream ? now + kEndingLimit : now;
    close_if_ended(now);
}

/// STREAM_CLOSE goes behind the last unit, or at once when nobody wants to see that any more.
void RelayedStream::close_if_ended(std::int64_t now)
{
    bool through = !begun_ || (next_ == cache_.end() && sender_->idle());
    if (ending_ && (through || now >= ending_limit_))
        close_client_stream(*ending_);
}

// ---- the client's messages

void RelayedStream::conversation_over()
{
    end_client_stream();
    refused_ = Reason::kNone;
    retry_at_ = -1;
    back_off_ = 0;
}

void RelayedStream::accepted()
{
    accepted_ = true;
}

void RelayedStream::refused(Reason reason, std::int64_t now)
{
    end_client_stream();
    refused_ = reason == Reason::kNone ? Reason::kClosedByUser : reason;
    retry_at_ = -1;
    if (reason == Reason::kLinkTooSlow || reason == Reason::kNoResources || reason == Reason::kTooManyStreams)
        back_off(now);
}

void RelayedStream::back_off(std::int64_t now)
{
    back_off_ = std::clamp(2 * back_off_, kFirstBackOff, kLastBackOff);
    retry_at_ = now + back_off_;
}

void RelayedStream::credit(const wire::Credit &credit, std::int64_t now)
{
    sender_->grant(credit.bytes, credit.units);
    if (begun_ || !sender_->granted())
        return;
    begun_ = true;
    replay(now);
}

void RelayedStream::feedback(const wire::Feedback &feedback)
{
    if (feedback.presented < feedback_.presented || feedback.late < feedback_.late)
        return; // they only grow
    if (player_) {
        player_->presented(open_.stream, feedback.presented - feedback_.presented);
        player_->late(open_.stream, feedback.late - feedback_.late);
        if (feedback.decode_us > 0)
            player_->decode_time(open_.stream, feedback.decode_us * std::int64_t{1000});
    }
    feedback_ = feedback;
}

void RelayedStream::need_key(std::int64_t now)
{
    if (begun_ && replay_at_ < 0)
        replay_at_ = std::max(now, last_replay_ + kReplayInterval);
}

/// Begins again with the key unit of the current group of pictures, in a burst up to the present.
void RelayedStream::replay(std::int64_t now)
{
    totals_.replays++;
    last_replay_ = now;
    sender_->restart_at_key();
    next_ = cache_.begin();
    skipped_ = false;
    behind_since_ = now;
    grace_until_ = now + kGrace;
    if (cache_.empty() && player_ && !fresh_) {
        totals_.key_requests++;
        player_->need_key(open_.stream);
    }
}

// ---- what goes to the client

void RelayedStream::offer(std::int64_t now)
{
    totals_.offers++;
    client_stream_ = ++outgoing_.last_stream;
    sender_.emplace(client_stream_);
    epoch_ = geometry_serial_ = 0;
    second_began_ = now;
    second_sent_ = {};
    second_feedback_ = {};
    bad_seconds_ = good_seconds_ = 0;
    wire::StreamOpen open = open_;
    open.stream = client_stream_;
    outgoing_.outbox.control(open);
    geometry_told_ = false;
    told_play_state_ = {.stream = client_stream_};
    tell_geometry_at_ = tell_play_state_at_ = now;
}

void RelayedStream::end_client_stream()
{
    totals_ = counters();
    sender_.reset();
    (void)count_memory();
    feedback_ = {};
    client_stream_ = 0;
    accepted_ = begun_ = no_memory_ = false;
    behind_since_ = replay_at_ = -1;
    ending_.reset();
}

void RelayedStream::close_client_stream(Reason reason)
{
    outgoing_.outbox.control(wire::StreamClose{client_stream_, reason});
    end_client_stream();
}

wire::PlayState RelayedStream::play_state_to_tell() const
{
    return {client_stream_, epoch_, play_state_.mode, play_state_.rate};
}

bool RelayedStream::has_geometry_to_tell() const
{
    return client_stream_ && geometry_ && !geometry_told_;
}

bool RelayedStream::has_play_state_to_tell() const
{
    return client_stream_ && told_play_state_ != play_state_to_tell();
}

void RelayedStream::tell(std::int64_t now)
{
    if (has_geometry_to_tell() && now >= tell_geometry_at_) {
        wire::Geometry geometry = *geometry_;
        geometry.stream = client_stream_;
        geometry.serial = ++geometry_serial_;
        outgoing_.outbox.control(geometry);
        geometry_told_ = true;
        auto rectangles = static_cast<std::int64_t>(geometry.visible.size());
        tell_geometry_at_ = now + kGeometryInterval + rectangles * kRectangleInterval;
    }
    if (has_play_state_to_tell() && now >= tell_play_state_at_) {
        told_play_state_ = play_state_to_tell();
        outgoing_.outbox.control(told_play_state_);
        tell_play_state_at_ = now + kPlayStateInterval;
    }
}

/// Whether the sender takes another unit; then there is memory for it.
bool RelayedStream::has_room(std::size_t bytes)
{
    if (!sender_->has_room())
        return false;
    bool enough = count_memory(bytes);
    no_memory_ = !enough && sender_->idle();
    return enough;
}

/// Takes memory for what waits, and `more` bytes; gives back what is over. False: there is not so much.
bool RelayedStream::count_memory(std::size_t more)
{
    std::size_t bytes = more + (sender_ ? sender_->bytes_held() : 0);
    return waiting_.resize(bytes - std::min(bytes, spare_));
}

void RelayedStream::push(std::uint64_t number, std::int64_t now)
{
    Unit unit = cache_.at(number);
    unit.discontinuity |= std::exchange(skipped_, false);
    std::int64_t pts = unit.pts;
    std::int64_t came = playing() ? std::max(now, grace_until_ - StreamSender::kPatience) : kNever;
    sender_->push(std::move(unit), pts, came);
}

/// Hands the sender the next units of the cache, while it is behind: one at a time, so that each has all its patience.
void RelayedStream::pull(std::int64_t now)
{
    if (!begun_)
        return;
    if (next_ < cache_.begin()) {
        // A new group of pictures has begun, or the old one took too much memory.
        skipped_ = true;
        next_ = cache_.begin();
        if (cache_.empty())
            sender_->restart_at_key();
    }
    if (behind_since_ >= 0 && now - behind_since_ > kCatchUpLimit && playing() && next_ < cache_.end()) {
        sender_->restart_at_key();
        next_ = cache_.end();
    }
    while (next_ < cache_.end() && !sender_->backlogged()) {
        const Unit &unit = cache_.at(next_);
        bool of_no_use = unit.droppable && !unit.key && unit.pts < now - 100 * kMillisecond && next_ + 1 < cache_.end();
        if (!of_no_use && !has_room(unit.data.size()))
            break;
        if (!of_no_use)
            push(next_, now);
        next_++;
    }
    if (next_ == cache_.end())
        behind_since_ = -1;
    else if (behind_since_ < 0)
        behind_since_ = now;
}

bool RelayedStream::next_message(std::vector<std::uint8_t> &out, std::int64_t now)
{
    pull(now);
    return begun_ && !has_play_state_to_tell() && sender_->next_message(out); // their epoch is told before units
}

void RelayedStream::settle(std::int64_t now)
{
    if (begun_)
        sender_->settle(now);
    close_if_ended(now);
}

/// A link that loses units, or brings them late, for seconds does not do: the player does better by itself.
void RelayedStream::judge_link(std::int64_t now)
{
    if (now - second_began_ < kSecond)
        return;
    second_began_ = now;
    const StreamSender::Counters sent = sender_->counters();
    auto units = sent.sent - second_sent_.sent;
    auto dropped = sent.dropped - second_sent_.dropped;
    auto presented = feedback_.presented - second_feedback_.presented;
    auto late = feedback_.late - second_feedback_.late;
    second_sent_ = sent;
    second_feedback_ = feedback_;
    if (!playing() || now < grace_until_)
        return;
    bool bad = 4 * dropped > units + dropped || (late > presented && late >= 5);
    bad_seconds_ = bad ? bad_seconds_ + 1 : 0;
    good_seconds_ = bad ? 0 : good_seconds_ + 1;
    if (good_seconds_ >= kGoodSeconds)
        back_off_ = 0;
    if (bad_seconds_ >= kBadSeconds)
        give_back(Reason::kLinkTooSlow, now);
}

void RelayedStream::give_back(Reason reason, std::int64_t now)
{
    close_client_stream(reason);
    refused_ = reason;
    back_off(now);
}

// ---- what becomes of it

void RelayedStream::hold(Reason reason)
{
    held_ = reason;
    if (held_ != Reason::kNone && client_stream_)
        close_client_stream(held_);
}

std::optional<Reason> RelayedStream::state(const Client &client) const
{
    if (held_ != Reason::kNone)
        return held_;
    if (client.absent != Reason::kNone)
        return client.absent;
    if (refused_ != Reason::kNone)
        return refused_;
    if (!client_stream_)
        return Reason::kTooManyStreams;
    // Before there is a key unit to show, the player goes on showing the video itself.
    if (accepted_ && (sender_->counters().sent > 0 || !cache_.empty()))
        return Reason::kNone;
    return std::nullopt;
}

bool RelayedStream::update(Client &client, std::int64_t now)
{
    (void)count_memory();
    if (no_memory_)
        give_back(Reason::kNoResources, now);
    if (replay_at_ >= 0 && now >= replay_at_) {
        replay_at_ = -1;
        replay(now);
    }
    if (!player_) {
        tell(now);
        return false;
    }
    if (retry_at_ >= 0 && now >= retry_at_) {
        retry_at_ = -1;
        refused_ = Reason::kNone;
    }
    bool may = held_ == Reason::kNone && client.absent == Reason::kNone && refused_ == Reason::kNone;
    if (!client_stream_ && may && client.streams_left > 0) {
        client.streams_left--;
        offer(now);
    }
    tell(now);
    auto news = state(client);
    if (!news || news == told_)
        return false;
    told_ = news;
    player_->stream_state(open_.stream, *news);
    return true;
}

std::int64_t RelayedStream::deadline() const
{
    std::int64_t soonest = kNever;
    auto at = [&](std::int64_t when) {
        if (when >= 0)
            soonest = std::min(soonest, when);
    };
    at(replay_at_);
    if (no_memory_)
        at(0);
    if (has_geometry_to_tell())
        at(tell_geometry_at_);
    if (has_play_state_to_tell())
        at(tell_play_state_at_);
    if (!client_stream_ && held_ == Reason::kNone && outgoing_.established)
        at(retry_at_);
    if (begun_ && (playing() || ending_))
        at(sender_->deadline());
    if (ending_)
        at(ending_limit_);
    return soonest >= kNever ? -1 : soonest;
}

RelayedStream::Counters &RelayedStream::Counters::operator+=(const Counters &other)
{
    units += other.units;
    sent.sent += other.sent.sent;
    sent.dropped += other.sent.dropped;
    sent.keys += other.sent.keys;
    sent.bytes += other.sent.bytes;
    presented += other.presented;
    late += other.late;
    replays += other.replays;
    offers += other.offers;
    key_requests += other.key_requests;
    return *this;
}

RelayedStream::Counters RelayedStream::counters() const
{
    Counters sum = totals_;
    sum += Counters{.sent = sender_ ? sender_->counters() : StreamSender::Counters{},
                    .presented = feedback_.presented,
                    .late = feedback_.late};
    return sum;
}

} // namespace spice_overlay::guest
