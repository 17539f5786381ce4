// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream.h"

#include <algorithm>
#include <utility>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kRewindInterval = 100'000'000; ///< who asks for key units faster than this waits for new ones
constexpr std::int64_t kTryAgainInterval = 10'000'000'000;

/// A refusal always has a reason: who gives none, or one that is newer than this library, is short of something.
spice_overlay_reason refusal(wire::Reason reason)
{
    return reason == wire::Reason::kNone ? SPICE_OVERLAY_REASON_NO_RESOURCES
                                         : static_cast<spice_overlay_reason>(reason);
}

bool may_pass(wire::Reason reason)
{
    return reason == wire::Reason::kTooManyStreams || reason == wire::Reason::kNoResources
           || reason == wire::Reason::kLinkTooSlow || reason == wire::Reason::kNone;
}

} // namespace

Stream::Stream(wire::StreamOpen description, Outgoing &outgoing)
    : description_(std::move(description)), outgoing_(outgoing), inspector_(description_.codec, description_.extradata)
{
}

// ---- the player's side

void Stream::submit(Unit unit)
{
    if (description_.codec == wire::Codec::kMjpeg)
        unit.key = true;
    had_units_ = true;
    if (!unit.data.empty())
        unit.droppable = inspector_.droppable(unit.data) || unit.droppable;
    units_.push(std::move(unit));
    if (!begun_)
        units_.advance_all();
}

void Stream::flush(std::int64_t now)
{
    units_.clear();
    catching_up_ = 0;
    if (!sender_)
        return;
    sender_->restart_at_key();
    flush_ = true;
    settle_from_ = now + kGrace; // what leads up to the picture sought comes late, all of it
}

void Stream::set_paused(bool paused, std::int64_t now)
{
    if (paused_ && !paused)
        settle_from_ = std::max(settle_from_, now + StreamSender::kPatience);
    paused_ = paused;
}

void Stream::set_rate(std::int32_t rate)
{
    rate_ = rate;
}

void Stream::place(wire::Geometry geometry)
{
    if (geometry_ && *geometry_ == geometry)
        return;
    geometry_ = std::move(geometry);
    geometry_told_ = false;
}

void Stream::close(wire::Reason reason, std::int64_t now)
{
    closing_ = reason;
    bool drains = reason == wire::Reason::kEndOfStream && begun_ && !paused_;
    drain_until_ = drains ? now + kDrainLimit : now;
    if (!number_)
        over_ = true;
}

// ---- the conversation's side

void Stream::connected(bool relay)
{
    relay_ = relay;
    refused_ = false;
}

void Stream::disconnected(spice_overlay_reason why)
{
    end();
    state_ = why;
    if (closing_)
        over_ = true;
}

void Stream::begin()
{
    number_ = ++outgoing_.last_stream;
    sender_.emplace(number_);
    told_ = {};
    told_.stream = number_;
    description_.stream = number_;
    outgoing_.outbox.control(description_);
}

void Stream::end()
{
    presented_before_ = presented();
    late_before_ = late();
    feedback_ = {};
    sender_.reset();
    number_ = geometry_serial_ = 0;
    begun_ = flush_ = geometry_told_ = false;
    catching_up_ = 0;
    drops_seen_ = 0;
    rewind_at_ = stuck_since_ = -1;
    units_.advance_all();
}

void Stream::refused(wire::Reason reason, std::int64_t now)
{
    outgoing_.outbox.forget(number_);
    end();
    refused_ = true;
    state_ = refusal(reason);
    try_again_at_ = may_pass(reason) ? now + kTryAgainInterval : -1;
    if (closing_)
        over_ = true;
}

void Stream::take(const wire::StreamAccept &, std::int64_t)
{
    if (!relay_)
        state_ = SPICE_OVERLAY_REASON_NONE;
}

void Stream::take(const wire::StreamReject &reject, std::int64_t now)
{
    refused(reject.reason, now);
}

void Stream::take(const wire::StreamClose &close, std::int64_t now)
{
    refused(close.reason, now);
}

void Stream::take(const wire::StreamState &state, std::int64_t)
{
    state_ = static_cast<spice_overlay_reason>(state.reason);
}

void Stream::take(const wire::Credit &credit, std::int64_t now)
{
    sender_->grant(credit.bytes, credit.units);
    stuck_since_ = -1;
    if (begun_ || !sender_->granted())
        return;
    begun_ = true;
    rewind_or_ask(now);
}

void Stream::take(const wire::NeedKey &, std::int64_t now)
{
    if (begun_ && rewind_at_ < 0)
        rewind_at_ = std::max(now, rewound_at_ + kRewindInterval);
}

void Stream::take(const wire::Feedback &feedback, std::int64_t)
{
    feedback_ = feedback;
}

/// Brings the peer to the present, from the key unit that is kept; without one, the player is asked for another.
void Stream::rewind_or_ask(std::int64_t now)
{
    rewound_at_ = now;
    std::size_t waited = units_.units_waiting();
    sender_->restart_at_key();
    if (!units_.rewind(now)) {
        if (had_units_)
            ask_for_key(now);
        return;
    }
    catching_up_ = units_.units_waiting() > waited ? units_.units_waiting() - waited : 0;
    settle_from_ = now + kGrace;
}

void Stream::ask_for_key(std::int64_t now)
{
    key_request_ = true;
    key_requested_at_ = now;
}

// ---- the loop

bool Stream::wants_to_begin(std::int64_t now) const
{
    return !number_ && !closing_ && (!refused_ || (try_again_at_ >= 0 && now >= try_again_at_));
}

bool Stream::drained(std::int64_t now) const
{
    return !begun_ || now >= drain_until_ || (units_.units_waiting() == 0 && sender_->idle());
}

bool Stream::has_to_tell(std::int64_t now) const
{
    if (!outgoing_.established)
        return false;
    if (!number_)
        return wants_to_begin(now);
    if (closing_ && drained(now))
        return true;
    bool play_state = flush_ || (told_.mode == wire::PlayMode::kPaused) != paused_ || told_.rate != rate_;
    return play_state || (geometry_ && !geometry_told_);
}

void Stream::tell(std::int64_t now)
{
    if (!has_to_tell(now))
        return;
    if (closing_ && number_ && drained(now)) {
        outgoing_.outbox.control(wire::StreamClose{number_, *closing_});
        end();
        over_ = true;
        return;
    }
    if (!number_)
        begin();
    if (geometry_ && !geometry_told_) {
        wire::Geometry geometry = *geometry_;
        geometry.stream = number_;
        geometry.serial = ++geometry_serial_;
        outgoing_.outbox.control(geometry);
        geometry_told_ = true;
    }
    wire::PlayState state = told_;
    state.mode = paused_ ? wire::PlayMode::kPaused : wire::PlayMode::kPlaying;
    state.rate = rate_;
    if (flush_)
        state.epoch++;
    if (state == told_)
        return;
    outgoing_.outbox.control(state);
    if (flush_)
        sender_->flush(state.epoch);
    flush_ = false;
    told_ = state;
}

bool Stream::due(std::int64_t now) const
{
    return units_.earliest_pts() - kDueLead <= now;
}

void Stream::tick(std::int64_t now)
{
    now_ = now;
    units_.trim(now);
    if (!begun_ || flush_)
        return;
    if (rewind_at_ >= 0 && now >= rewind_at_) {
        rewind_at_ = -1;
        rewind_or_ask(now);
    }
    feed();
    note_drops(now);
}

void Stream::feed()
{
    // One at a time while there is time, since whatever else waited with it in the sender would be a backlog, which the sender
    // makes shorter.
    while (units_.next() && sender_->has_room() && (!sender_->backlogged() || (catching_up_ == 0 && due(now_)))) {
        const Unit &unit = *units_.next();
        bool past = catching_up_ > 0 && unit.droppable && !unit.key && unit.pts < now_ && !paused_;
        if (!past)
            sender_->push(unit, unit.pts, std::max(now_, unit.pts - kLead));
        catching_up_ -= catching_up_ > 0;
        units_.advance();
    }
}

bool Stream::next_message(std::vector<std::uint8_t> &out)
{
    if (!begun_ || flush_)
        return false;
    while (!sender_->next_message(out)) {
        if (!units_.next() || sender_->backlogged())
            return false;
        feed();
    }
    return true;
}

void Stream::settle(std::int64_t now)
{
    if (!begun_ || paused_ || now < settle_from_)
        return;
    std::uint64_t before = sender_->counters().dropped;
    sender_->settle(now);
    if (sender_->counters().dropped != before && stuck_since_ < 0)
        stuck_since_ = now;
    note_drops(now);
}

/// Something was left out that others refer to: the source may be able to help.
void Stream::note_drops(std::int64_t now)
{
    std::uint64_t drops = sender_->counters().dropped;
    if (drops == drops_seen_ || now - key_requested_at_ < kKeyInterval)
        return;
    drops_seen_ = drops;
    if (!sender_->needs_key())
        return;
    ask_for_key(now);
}

std::int64_t Stream::deadline() const
{
    std::int64_t soonest = INT64_MAX;
    auto at = [&](std::int64_t when) { soonest = std::min(soonest, when); };
    if (!number_ && refused_ && outgoing_.established && try_again_at_ >= 0)
        at(try_again_at_);
    if (begun_ && rewind_at_ >= 0)
        at(rewind_at_);
    if (begun_ && closing_)
        at(drain_until_);
    if (begun_ && !paused_ && sender_->backlogged()) {
        at(std::max(sender_->deadline(), settle_from_));
        if (units_.next() && sender_->has_room() && catching_up_ == 0)
            at(units_.earliest_pts() - kDueLead);
    }
    return soonest == INT64_MAX ? -1 : soonest;
}

// ---- what became of it

bool Stream::take_key_request()
{
    return std::exchange(key_request_, false);
}

std::size_t Stream::units_waiting() const
{
    return units_.units_waiting() - catching_up_ + (sender_ ? sender_->units_waiting() : 0);
}

std::size_t Stream::bytes_waiting() const
{
    return units_.bytes_waiting() - units_.bytes_of_next(catching_up_) + (sender_ ? sender_->bytes_waiting() : 0);
}

} // namespace spice_overlay::guest
