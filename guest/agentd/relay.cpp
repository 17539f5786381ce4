// SPDX-License-Identifier: LGPL-2.1-or-later
#include "relay.h"

#include "relayed_player.h"

#include <algorithm>

namespace spice_overlay::guest {
namespace {

using wire::Reason;

constexpr std::uint64_t kAskEvery = 64 * 1024; ///< bytes between two PINGs

} // namespace

Relay::Relay(Outgoing &outgoing, RelayLimits limits, Log log)
    : outgoing_(outgoing), limits_(limits), log_(std::move(log)), memory_{limits.memory}
{
}

Relay::~Relay() = default;

// ---- the client

void Relay::established(const wire::Hello &client)
{
    client_hello_ = client;
    client_.absent = Reason::kNone;
    log_("a client is connected: " + client.name);
}

void Relay::over(Reason why)
{
    client_.absent = why == Reason::kLinkTooSlow ? why : Reason::kNoClient;
    for (auto &stream : streams_)
        stream->conversation_over();
    asked_.clear();
    acknowledged_ = asked_up_to_ = sent_;
    log_(std::string("the client is gone: ") + wire::describe(why));
}

void Relay::message(const wire::Message &message, std::int64_t now)
{
    std::visit([&](const auto &m) { take(m, now); }, message);
}

void Relay::take(const wire::Pong &pong, std::int64_t now)
{
    auto found = std::find_if(asked_.begin(), asked_.end(), [&](const Asked &asked) { return asked.id == pong.id; });
    if (found == asked_.end())
        return;
    acknowledged_ = found->sent;
    heard_at_ = now;
    asked_.erase(asked_.begin(), found + 1);
}

template <typename M>
void Relay::take(const M &m, std::int64_t now)
{
    if constexpr (requires { m.stream; }) {
        if constexpr (std::is_same_v<M, wire::StreamReject> || std::is_same_v<M, wire::StreamClose>)
            outgoing_.outbox.forget(m.stream);
        RelayedStream *stream = find(m.stream);
        if (!stream)
            return; // it is over, or never was
        if constexpr (std::is_same_v<M, wire::StreamAccept>)
            stream->accepted();
        else if constexpr (std::is_same_v<M, wire::StreamReject> || std::is_same_v<M, wire::StreamClose>)
            stream->refused(m.reason, now);
        else if constexpr (std::is_same_v<M, wire::Credit>)
            stream->credit(m, now);
        else if constexpr (std::is_same_v<M, wire::Feedback>)
            stream->feedback(m);
        else if constexpr (std::is_same_v<M, wire::NeedKey>)
            stream->need_key(now);
    }
}

RelayedStream *Relay::find(std::uint32_t client_stream)
{
    auto found = std::find_if(streams_.begin(), streams_.end(), [&](const auto &stream) {
        return client_stream != 0 && stream->client_stream() == client_stream;
    });
    return found == streams_.end() ? nullptr : found->get();
}

bool Relay::next_data(std::vector<std::uint8_t> &out, std::int64_t now)
{
    if (in_flight() >= limits_.in_flight || streams_.empty())
        return false;
    turn_ %= streams_.size();
    auto stream = std::next(streams_.begin(), static_cast<std::ptrdiff_t>(turn_));
    for (std::size_t i = 0; i < streams_.size(); i++) {
        RelayedStream &candidate = **stream;
        if (++stream == streams_.end())
            stream = streams_.begin();
        if (!candidate.next_message(out, now))
            continue;
        turn_ += i + 1;
        sent_ += out.size();
        if (sent_ - asked_up_to_ >= kAskEvery)
            append_ping(out, now);
        max_in_flight_ = std::max(max_in_flight_, in_flight());
        return true;
    }
    return false;
}

void Relay::append_ping(std::vector<std::uint8_t> &out, std::int64_t now)
{
    wire::Ping ping{next_ping_++, static_cast<std::uint64_t>(now)};
    wire::encode(ping, out);
    asked_.push_back({ping.id, sent_, now});
    asked_up_to_ = sent_;
}

bool Relay::stalled(std::int64_t now) const
{
    return !asked_.empty() && now - std::max(asked_.front().at, heard_at_) >= limits_.stall_limit;
}

// ---- the players

void Relay::add(RelayedPlayer &player)
{
    players_.insert(&player);
    player.tell_client_state(client_.absent, client_hello_.codecs);
}

void Relay::remove(RelayedPlayer &player, std::int64_t now)
{
    players_.erase(&player);
    update(now);
}

RelayedStream *Relay::open(RelayedPlayer &player, const wire::StreamOpen &open)
{
    return streams_
        .emplace_back(std::make_unique<RelayedStream>(player.session(), open, limits_.stream_memory,
                                                      limits_.stream_spare, player.memory(), memory_, outgoing_))
        .get();
}

RelayedStream::Counters Relay::totals() const
{
    RelayedStream::Counters sum = ended_;
    for (const auto &stream : streams_)
        sum += stream->counters();
    return sum;
}

// ---- time

void Relay::update(std::int64_t now)
{
    std::erase_if(streams_, [this](const auto &stream) {
        if (stream->over())
            ended_ += stream->counters();
        return stream->over();
    });
    auto at_client = std::count_if(streams_.begin(), streams_.end(),
                                   [](const auto &stream) { return stream->client_stream() != 0; });
    client_.streams_left = client_hello_.max_streams
                           - std::min<std::uint32_t>(client_hello_.max_streams, static_cast<std::uint32_t>(at_client));
    for (RelayedPlayer *player : players_)
        player->tell_client_state(client_.absent, client_hello_.codecs);
    for (auto &stream : streams_)
        if (stream->update(client_, now))
            for (RelayedPlayer *player : players_)
                if (player->owns(*stream))
                    player->report(*stream);
}

void Relay::settle(std::int64_t now)
{
    for (auto &stream : streams_)
        stream->settle(now);
}

std::int64_t Relay::deadline() const
{
    std::int64_t soonest = INT64_MAX;
    for (const auto &stream : streams_)
        if (std::int64_t when = stream->deadline(); when >= 0)
            soonest = std::min(soonest, when);
    if (!asked_.empty())
        soonest = std::min(soonest, std::max(asked_.front().at, heard_at_) + limits_.stall_limit);
    return soonest == INT64_MAX ? -1 : soonest;
}

} // namespace spice_overlay::guest
