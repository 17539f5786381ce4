// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/outbox.h"
#include "relayed_stream.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace spice_overlay::guest {

class RelayedPlayer;

/// What one player, and all of them, may take.
struct RelayLimits {
    std::uint16_t streams_per_player = 8;
    std::size_t stream_memory = 16u << 20;      ///< bytes kept of one stream
    std::size_t player_memory = 32u << 20;      ///< bytes kept of one player's streams, or waiting for the client
    std::size_t memory = 96u << 20;             ///< bytes kept of all, or waiting for the client
    std::size_t stream_spare = 2u << 20;        ///< bytes of each stream that wait for the client and are not counted
    std::size_t assembly = 17u << 20;           ///< bytes of a player's units that come in parts
    std::size_t unread = 256u << 10;            ///< bytes that a player has not read; then it is given up
    std::uint64_t bytes_per_second = 32u << 20; ///< that a player may send; it is read no faster
    std::uint64_t messages_per_second = 4000;
    std::uint64_t opens_per_second = 4;       ///< streams; what is beyond is refused
    std::size_t in_flight = 512u << 10;       ///< bytes on their way to the client, of all streams
    std::int64_t stall_limit = 3'000'000'000; ///< ns for the client to read anything while bytes are on their way
};

/// The streams of all players, and the one client that they share. No input or output of its own: it speaks through
/// `Outgoing` to the client and through each player's session to the players. Times are ns of CLOCK_MONOTONIC.
class Relay {
public:
    using Log = std::function<void(const std::string &)>;

    /// `outgoing` outlives the relay. `log`: one line for each thing that a person may want to know.
    Relay(Outgoing &outgoing, RelayLimits limits, Log log);
    ~Relay();

    // The conversation with the client, as guest/conversation's Listener has it.
    void established(const wire::Hello &client);
    void over(wire::Reason why);
    void message(const wire::Message &message, std::int64_t now);
    [[nodiscard]] bool next_data(std::vector<std::uint8_t> &out, std::int64_t now);

    // Players come and go; each belongs to the caller, and ends before the relay.
    void add(RelayedPlayer &player);
    void remove(RelayedPlayer &player, std::int64_t now);
    RelayedStream *open(RelayedPlayer &player, const wire::StreamOpen &open);

    /// Brings everybody up to date; to be called after anything has happened, before writing.
    void update(std::int64_t now);
    /// Leaves out what is stuck; to be called when everything that can be written has been.
    void settle(std::int64_t now);
    [[nodiscard]] std::int64_t deadline() const; ///< for update() and settle(); negative: none

    /// The client has read nothing for so long that its conversation is to be given up.
    [[nodiscard]] bool stalled(std::int64_t now) const;

    [[nodiscard]] const RelayLimits &limits() const { return limits_; }
    [[nodiscard]] wire::Reason client_absent() const { return client_.absent; }
    [[nodiscard]] const std::list<std::unique_ptr<RelayedStream>> &streams() const { return streams_; }
    [[nodiscard]] RelayedStream::Counters totals() const; ///< of all streams, those that are over included
    [[nodiscard]] std::size_t memory_used() const { return limits_.memory - memory_.left; }
    [[nodiscard]] std::uint64_t in_flight() const { return sent_ - acknowledged_; } ///< bytes, at most
    [[nodiscard]] std::uint64_t max_in_flight() const { return max_in_flight_; }
    void log(const std::string &text) const { log_(text); }

private:
    [[nodiscard]] RelayedStream *find(std::uint32_t client_stream);
    template <typename M>
    void take(const M &message, std::int64_t now);
    void take(const wire::Pong &pong, std::int64_t now);
    void append_ping(std::vector<std::uint8_t> &out, std::int64_t now);

    Outgoing &outgoing_;
    const RelayLimits limits_;
    Log log_;
    MemoryBudget memory_;
    std::set<RelayedPlayer *> players_;
    std::list<std::unique_ptr<RelayedStream>> streams_;
    RelayedStream::Counters ended_;
    std::size_t turn_ = 0; ///< whose turn it is to send data
    RelayedStream::Client client_;
    wire::Hello client_hello_;

    // How much is on its way: a PING goes behind every so many bytes, and its PONG says that they have been read.
    struct Asked {
        std::uint32_t id;
        std::uint64_t sent; ///< bytes before it
        std::int64_t at;
    };
    std::deque<Asked> asked_;
    std::uint32_t next_ping_ = 1;
    std::uint64_t sent_ = 0;
    std::uint64_t asked_up_to_ = 0;
    std::uint64_t acknowledged_ = 0;
    std::int64_t heard_at_ = INT64_MIN / 2;
    std::uint64_t max_in_flight_ = 0;
};

} // namespace spice_overlay::guest
