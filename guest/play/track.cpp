// SPDX-License-Identifier: LGPL-2.1-or-later
#include "track.h"

#include <algorithm>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kCatchUpLimit = 3 * kSecond; ///< a burst that takes longer is given up for the next key unit
constexpr std::int64_t kCatchUpSpeed = 8;           ///< how much faster than real time a burst is taken to be
constexpr std::int64_t kRejoinInterval = 100 * kMillisecond; ///< a client asking for key units faster than this waits
constexpr std::int64_t kGrace = 2 * kSecond;                 ///< for the client's decoder to start in
/// A unit that is due takes along those that are due so soon after it: half the wake-ups, here and all the way to the client.
constexpr std::int64_t kAhead = 45 * kMillisecond;
constexpr std::int64_t kNever = INT64_MAX / 4;

} // namespace

Track::Track(std::string name, std::unique_ptr<UnitSource> source, Outgoing &outgoing, bool loop)
    : name_(std::move(name)), source_(std::move(source)), outgoing_(outgoing), loop_(loop)
{
}

std::int64_t Track::position(std::int64_t now) const
{
    return paused_ || !clock_started_ ? paused_position_ : now - clock_;
}

// ---- the guest's side

void Track::open()
{
    if (wanted_)
        return;
    wanted_ = true;
    paused_ = clock_started_ = at_end_ = false;
    paused_position_ = 0;
    refused_ = false;
    if (outgoing_.established)
        begin_stream();
}

void Track::close(wire::Reason reason)
{
    if (stream_)
        outgoing_.outbox.control(wire::StreamClose{stream_, reason});
    end_stream();
    wanted_ = false;
    geometry_.reset(); // a later open() is another window
}

void Track::pause(std::int64_t now)
{
    if (!wanted_ || paused_)
        return;
    paused_position_ = position(now);
    paused_ = true;
    send_play_state();
}

void Track::resume(std::int64_t now)
{
    if (!wanted_ || !paused_)
        return;
    paused_ = false;
    clock_ = now - paused_position_;
    send_play_state();
}

void Track::seek(std::int64_t position, std::int64_t now)
{
    if (!wanted_)
        return;
    totals_.seeks++;
    position = std::max<std::int64_t>(position, 0);
    if (source_->duration() > 0)
        position = std::min(position, source_->duration());
    paused_position_ = position;
    if (!clock_started_)
        return;
    clock_ = now - position;
    at_end_ = false;
    if (!stream_)
        return;
    epoch_++;
    send_play_state();
    sender_->flush(epoch_);
    if (begun_)
        go_to(position, now, false);
}

void Track::place(wire::Geometry geometry)
{
    geometry_ = std::move(geometry);
    if (stream_)
        send_geometry();
}

// ---- the conversation's side

void Track::connected()
{
    refused_ = false;
    if (wanted_)
        begin_stream();
}

void Track::disconnected()
{
    end_stream();
}

void Track::begin_stream()
{
    end_stream();
    stream_ = ++outgoing_.last_stream;
    totals_.streams++;
    sender_.emplace(stream_);
    wire::StreamOpen open = source_->description();
    open.stream = stream_;
    outgoing_.outbox.control(open);
    if (geometry_)
        send_geometry();
    if (paused_)
        send_play_state();
}

void Track::end_stream()
{
    totals_ = totals();
    sender_.reset();
    feedback_ = {};
    stream_ = epoch_ = geometry_serial_ = 0;
    begun_ = false;
    catching_up_since_ = key_wanted_at_ = -1;
}

void Track::send_play_state()
{
    auto mode = paused_ ? wire::PlayMode::kPaused : wire::PlayMode::kPlaying;
    if (stream_)
        outgoing_.outbox.control(wire::PlayState{stream_, epoch_, mode});
}

void Track::send_geometry()
{
    wire::Geometry geometry = *geometry_;
    geometry.stream = stream_;
    geometry.serial = ++geometry_serial_;
    outgoing_.outbox.control(geometry);
}

void Track::refused(wire::Reason reason)
{
    refused_ = true;
    totals_.rejected.push_back(reason);
    outgoing_.outbox.forget(stream_);
    end_stream();
}

void Track::credit(const wire::Credit &credit, std::int64_t now)
{
    sender_->grant(credit.bytes, credit.units);
    if (begun_ || !sender_->granted())
        return;
    begun_ = true;
    if (clock_started_)
        rejoin(now);
    else
        start_clock(now);
}

void Track::need_key(std::int64_t now)
{
    totals_.key_requests++;
    if (begun_ && key_wanted_at_ < 0)
        key_wanted_at_ = std::max(now, last_rejoin_ + kRejoinInterval);
}

void Track::feedback(const wire::Feedback &feedback)
{
    feedback_ = feedback;
}

// ---- time

void Track::start_clock(std::int64_t now)
{
    clock_started_ = true;
    clock_ = now - paused_position_;
    go_to(paused_position_, now, false);
    // Playing begins with a key unit that is shown at once: nothing is late.
    if (next_ && next_->pts >= paused_position_)
        clock_ = now - next_->dts;
}

/// Brings the client to the present: a stream of its own has begun, or its decoder anew.
void Track::rejoin(std::int64_t now)
{
    if (paused_)
        clock_ = now - paused_position_; // the picture of the pause is due now, not when the pause began
    std::int64_t target = position(now);
    std::int64_t length = source_->duration() > 0 ? source_->duration() : end_pts_;
    if (loop_ && length > 0 && target > length) {
        clock_ += target / length * length;
        target %= length;
        paused_position_ = target;
    }
    sender_->restart_at_key();
    at_end_ = false;
    last_rejoin_ = now;
    go_to(target, now, !paused_);
}

/// Reads on at `position`. The way there that shows a picture soonest: a burst from the key unit before it, or else,
/// when allowed, waiting for the key unit after it.
void Track::go_to(std::int64_t position, std::int64_t now, bool may_wait_for_key)
{
    skip_before_ = INT64_MIN;
    catching_up_since_ = now;
    grace_until_ = now + kGrace;
    bool found = source_->seek(position);
    next_ = source_->next();
    if (!found || !next_)
        return;
    auto key_after = may_wait_for_key ? source_->next_key_after(position) : std::nullopt;
    std::int64_t burst = (position - next_->dts) / kCatchUpSpeed;
    if (key_after && *key_after - position < burst) {
        skip_before_ = *key_after;
        catching_up_since_ = -1;
    }
}

void Track::tick(std::int64_t now)
{
    if (begun_ && key_wanted_at_ >= 0 && now >= key_wanted_at_) {
        key_wanted_at_ = -1;
        rejoin(now);
    }
    pull(now);
    close_at_end(now);
}

void Track::settle(std::int64_t now)
{
    if (begun_)
        sender_->settle(now);
}

/// Hands the sender what is due.
void Track::pull(std::int64_t now)
{
    if (!begun_ || at_end_)
        return;
    if (catching_up_since_ >= 0 && now - catching_up_since_ > kCatchUpLimit && !paused_) {
        sender_->restart_at_key();
        catching_up_since_ = -1;
    }
    std::int64_t present = position(now);
    std::int64_t ahead = 0;
    while (sender_->has_room() && !(catching_up_since_ >= 0 && sender_->backlogged())) {
        if (!next_)
            next_ = source_->next();
        if (!next_) {
            end_of_source(now);
            if (at_end_ || !next_)
                return;
            present = position(now);
        }
        if (next_->dts > present + ahead) {
            catching_up_since_ = -1;
            return;
        }
        if (!paused_ && catching_up_since_ < 0)
            ahead = kAhead;
        Unit unit = std::move(*next_);
        next_.reset();
        end_pts_ = std::max(end_pts_, unit.pts + unit.duration);
        bool of_no_use = catching_up_since_ >= 0 && unit.droppable && !unit.key && unit.pts + unit.duration <= present;
        if (unit.dts < skip_before_ || of_no_use)
            continue;
        std::int64_t came = paused_ ? kNever : std::max(now, grace_until_ - StreamSender::kPatience);
        std::int64_t pts = clock_ + unit.pts;
        sender_->push(std::move(unit), pts, came);
    }
}

void Track::end_of_source(std::int64_t now)
{
    if (!loop_ || !source_->seek(0) || !(next_ = source_->next())) {
        at_end_ = true;
        return;
    }
    std::int64_t length = std::max(end_pts_ - next_->pts, kMillisecond);
    clock_ += length;
    paused_position_ -= length;
    if (!paused_ && clock_ + next_->dts < now - kSecond)
        clock_ = now - next_->dts; // far behind, or the file's length was not what it said
    if (paused_ && paused_position_ >= length)
        paused_position_ = next_->pts;
    next_->discontinuity = true;
    end_pts_ = INT64_MIN;
    skip_before_ = INT64_MIN;
}

void Track::close_at_end(std::int64_t now)
{
    if (!wanted_ || paused_ || !clock_started_)
        return;
    bool over = at_end_ ? sender_ && sender_->idle() && now >= clock_ + end_pts_
                        : !begun_ && !loop_ && source_->duration() > 0 && now >= clock_ + source_->duration();
    if (over)
        close(wire::Reason::kEndOfStream);
}

std::int64_t Track::deadline(std::int64_t now) const
{
    std::int64_t soonest = kNever;
    auto at = [&](std::int64_t when) {
        if (when >= 0)
            soonest = std::min(soonest, std::max(when, now));
    };
    if (!wanted_ || !clock_started_)
        return -1;
    at(key_wanted_at_);
    bool pulls = begun_ && !at_end_ && sender_->has_room() && !(catching_up_since_ >= 0 && sender_->backlogged());
    if (paused_) {
        at(pulls && catching_up_since_ >= 0 ? now : -1);
    } else if (begun_) {
        at(sender_->deadline());
        if (at_end_)
            at(sender_->idle() ? clock_ + end_pts_ : -1);
        else if (pulls)
            at(next_ ? clock_ + next_->dts : now);
    } else if (!loop_ && source_->duration() > 0) {
        at(clock_ + source_->duration());
    }
    return soonest >= kNever ? -1 : soonest;
}

bool Track::next_message(std::vector<std::uint8_t> &out)
{
    return begun_ && sender_->next_message(out);
}

Track::Totals Track::totals() const
{
    Totals sum = totals_;
    if (sender_) {
        const StreamSender::Counters &c = sender_->counters();
        sum.sent.sent += c.sent;
        sum.sent.dropped += c.dropped;
        sum.sent.keys += c.keys;
        sum.sent.bytes += c.bytes;
    }
    sum.presented += feedback_.presented;
    sum.late += feedback_.late;
    return sum;
}

} // namespace spice_overlay::guest
