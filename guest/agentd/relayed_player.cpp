// SPDX-License-Identifier: LGPL-2.1-or-later
#include "relayed_player.h"

#include <algorithm>
#include <utility>

namespace spice_overlay::guest {
namespace {

using wire::Reason;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kAskAfter = 2 * kSecond;  ///< of silence, while something of the player is shown and plays
constexpr std::int64_t kDeadAfter = 4 * kSecond; ///< of silence

wire::Hello relay_hello(const RelayLimits &limits)
{
    wire::Hello hello;
    hello.name = "spice-overlay-agentd " SPICE_OVERLAY_VERSION;
    hello.capabilities = wire::kRelay;
    hello.max_streams = limits.streams_per_player;
    for (std::uint16_t number = 1; auto codec = wire::codec_from_number(number); number++)
        hello.codecs.push_back({*codec, 0, -1, -1, 0, 0});
    return hello;
}

} // namespace

void Allowance::refill(std::int64_t now)
{
    std::int64_t most = 2 * per_second_;
    if (refilled_at_ < 0) {
        left_ = most;
    } else {
        auto milliseconds = std::clamp<std::int64_t>((now - refilled_at_) / 1'000'000, 0, 1'000'000);
        if (milliseconds == 0)
            return;
        left_ = std::min(most, left_ + milliseconds * per_second_ / 1000);
    }
    refilled_at_ = now;
}

std::int64_t Allowance::back_at() const
{
    return refilled_at_ + kSecond / 10 + std::max<std::int64_t>(-left_, 0) * 1000 / per_second_ * 1'000'000;
}

RelayedPlayer::RelayedPlayer(Relay &relay, std::string name, std::int64_t now, std::uint64_t nonce)
    : relay_(relay),
      name_(std::move(name)),
      memory_(std::make_shared<MemoryBudget>(MemoryBudget{relay.limits().player_memory})),
      session_(relay_hello(relay.limits()), *this, relay.limits().assembly),
      now_(now),
      bytes_(relay.limits().bytes_per_second),
      messages_(relay.limits().messages_per_second),
      opens_(relay.limits().opens_per_second),
      heard_at_(now)
{
    relay_.add(*this);
    session_.port_opened(now, nonce);
    tick(now);
}

RelayedPlayer::~RelayedPlayer()
{
    disconnect(now_);
    relay_.remove(*this, now_);
}

void RelayedPlayer::feed(std::span<const std::uint8_t> bytes, std::int64_t now)
{
    now_ = heard_at_ = now;
    asked_ = false;
    if (std::exchange(unresponsive_, false))
        apply_hold();
    bytes_.refill(now);
    messages_.refill(now);
    std::uint64_t messages = session_.counters().messages;
    session_.feed(bytes, now);
    if (session_.established() && !std::exchange(introduced_, true))
        relay_.log(name_ + ": is " + session_.peer().name);
    bytes_.take(bytes.size());
    messages_.take(session_.counters().messages - messages);
    if (!bytes_.any_left())
        throttled_until_ = bytes_.back_at();
    if (!messages_.any_left())
        throttled_until_ = std::max(throttled_until_, messages_.back_at());
    if (session_.counters().restarts > garbage_) {
        garbage_ = session_.counters().restarts;
        relay_.log(name_ + ": sent what is not the protocol; beginning anew with it");
    }
}

void RelayedPlayer::disconnect(std::int64_t now)
{
    now_ = now;
    session_.port_closed();
}

void RelayedPlayer::tick(std::int64_t now)
{
    now_ = now;
    if (throttled_until_ >= 0 && now >= throttled_until_)
        throttled_until_ = -1;
    deadline_ = session_.tick(now);
    if (throttled_until_ >= 0)
        deadline_ = deadline_ < 0 ? throttled_until_ : std::min(deadline_, throttled_until_);
    if (unresponsive_ || throttled_until_ >= 0 || !watched())
        return;
    std::int64_t silence = now - heard_at_;
    if (silence >= kDeadAfter) {
        unresponsive_ = true;
        relay_.log(name_ + ": does not answer; its videos are not shown until it does");
        return apply_hold();
    }
    if (silence >= kAskAfter && !asked_) {
        asked_ = true;
        session_.ping(now);
    }
    std::int64_t next = heard_at_ + (asked_ ? kDeadAfter : kAskAfter);
    deadline_ = deadline_ < 0 ? next : std::min(deadline_, next);
}

/// Only where something would be left on the client's screen is it worth to wake up.
bool RelayedPlayer::watched() const
{
    return std::any_of(streams_.begin(), streams_.end(),
                       [](const auto &entry) { return entry.second->client_stream() != 0 && entry.second->playing(); });
}

void RelayedPlayer::hold(Reason reason)
{
    held_ = reason;
    apply_hold();
}

void RelayedPlayer::apply_hold()
{
    for (auto &[id, stream] : streams_)
        stream->hold(held());
}

// ---- for the relay

void RelayedPlayer::tell_client_state(Reason absent, const std::vector<wire::CodecCapability> &codecs)
{
    Reason why = held_ != Reason::kNone ? held_ : absent;
    session_.client_state({why, why == Reason::kNone ? codecs : std::vector<wire::CodecCapability>{}});
}

bool RelayedPlayer::owns(const RelayedStream &stream) const
{
    return std::any_of(streams_.begin(), streams_.end(), [&](const auto &entry) { return entry.second == &stream; });
}

void RelayedPlayer::report(const RelayedStream &stream) const
{
    const wire::StreamOpen &open = stream.description();
    std::string what = name_ + ": stream " + std::to_string(open.stream) + " (" + wire::name(open.codec) + ", "
                       + std::to_string(open.coded_width) + "x" + std::to_string(open.coded_height) + ") ";
    relay_.log(stream.told() == Reason::kNone ? what + "is redirected"
                                              : what + "is not redirected: " + wire::describe(stream.told()));
}

// ---- what the player sends

Reason RelayedPlayer::open(const wire::StreamOpen &stream)
{
    opens_.refill(now_);
    if (!opens_.any_left()) {
        relay_.log(name_ + ": opens too many streams; refused");
        return Reason::kNoResources;
    }
    opens_.take(1);
    RelayedStream *relayed = relay_.open(*this, stream);
    relayed->hold(held());
    streams_[stream.stream] = relayed;
    return Reason::kNone;
}

void RelayedPlayer::geometry(const wire::Geometry &geometry)
{
    streams_.at(geometry.stream)->geometry(geometry);
}

void RelayedPlayer::access_unit(const wire::AccessUnit &unit)
{
    streams_.at(unit.stream)->access_unit(unit, now_);
}

void RelayedPlayer::play_state(const wire::PlayState &state)
{
    streams_.at(state.stream)->play_state(state);
}

void RelayedPlayer::close(std::uint32_t stream, Reason reason)
{
    auto entry = streams_.extract(stream);
    if (!entry)
        return;
    relay_.log(name_ + ": stream " + std::to_string(stream) + " has ended: " + wire::describe(reason));
    entry.mapped()->orphaned(reason, now_);
}

void RelayedPlayer::transmit(std::span<const std::uint8_t> bytes)
{
    output_.insert(output_.end(), bytes.begin(), bytes.end());
}

} // namespace spice_overlay::guest
