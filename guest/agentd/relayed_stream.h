// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/outbox.h"
#include "guest/conversation/stream_sender.h"
#include "portclient/session.h"
#include "unit_cache.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// One stream of a player, and its counterpart towards the client while there is one: renumbered, with an epoch of its own
/// that begins at 0. Keeps what a client that comes later needs: description, geometry, play state, the current group of
/// pictures. No input or output of its own; times are ns of CLOCK_MONOTONIC.
class RelayedStream {
public:
    /// What the client's side has to say about every stream.
    struct Client {
        wire::Reason absent = wire::Reason::kNoClient; ///< kNone: there is one
        std::uint32_t streams_left = 0;                ///< that it would still take
    };

    /// `spare`: bytes that wait for the client and are not counted. All references outlive the stream, `player` until
    /// orphaned().
    RelayedStream(Session &player, const wire::StreamOpen &open, std::size_t cache_limit, std::size_t spare,
                  std::shared_ptr<MemoryBudget> player_memory, MemoryBudget &all_memory, Outgoing &outgoing);

    // The player's messages.
    void geometry(const wire::Geometry &geometry);
    void play_state(const wire::PlayState &state);
    void access_unit(const wire::AccessUnit &unit, std::int64_t now);
    /// The player has closed it, or is gone: nothing of it is called any more. What may still be sent goes out first when
    /// the stream has ended by itself.
    void orphaned(wire::Reason reason, std::int64_t now);

    // The conversation with the client, and its messages for client_stream().
    void conversation_over();
    void accepted();
    void refused(wire::Reason reason, std::int64_t now); ///< STREAM_REJECT or STREAM_CLOSE
    void credit(const wire::Credit &credit, std::int64_t now);
    void feedback(const wire::Feedback &feedback);
    void need_key(std::int64_t now);

    /// The player may not show this now (kNone: it may).
    void hold(wire::Reason reason);

    /// Offers the stream to the client where it may be, tells the player what has become of it. True: the player was told
    /// something new, told().
    bool update(Client &client, std::int64_t now);
    /// Leaves out what is stuck: when everything that can be written has been.
    void settle(std::int64_t now);
    /// The next message with data of units, if one may go.
    [[nodiscard]] bool next_message(std::vector<std::uint8_t> &out, std::int64_t now);
    [[nodiscard]] std::int64_t deadline() const; ///< for update() and settle(); negative: none

    [[nodiscard]] std::uint32_t client_stream() const { return client_stream_; } ///< 0: none
    [[nodiscard]] bool over() const { return !player_ && client_stream_ == 0; }  ///< to be forgotten
    [[nodiscard]] wire::Reason told() const { return told_.value_or(wire::Reason::kNone); }
    [[nodiscard]] bool shown() const { return told_ == wire::Reason::kNone; }
    [[nodiscard]] bool playing() const { return play_state_.mode == wire::PlayMode::kPlaying; }
    [[nodiscard]] const wire::StreamOpen &description() const { return open_; } ///< with the player's number

    struct Counters {
        std::uint64_t units = 0; ///< from the player
        StreamSender::Counters sent;
        std::uint64_t presented = 0; ///< as the client says
        std::uint64_t late = 0;
        std::uint64_t replays = 0;      ///< the group of pictures was sent again
        std::uint64_t offers = 0;       ///< streams opened at clients
        std::uint64_t key_requests = 0; ///< passed on to the player

        Counters &operator+=(const Counters &other);
    };
    [[nodiscard]] Counters counters() const;
    [[nodiscard]] const UnitCache &cache() const { return cache_; }
    /// Bytes of units, kept or on their way.
    [[nodiscard]] std::size_t bytes_held() const { return cache_.bytes() + (sender_ ? sender_->bytes_held() : 0); }

private:
    void offer(std::int64_t now);
    void end_client_stream();
    void close_if_ended(std::int64_t now);
    void close_client_stream(wire::Reason reason);
    void replay(std::int64_t now);
    void pull(std::int64_t now);
    void push(std::uint64_t number, std::int64_t now);
    [[nodiscard]] bool has_room(std::size_t bytes);
    [[nodiscard]] bool count_memory(std::size_t more = 0);
    [[nodiscard]] wire::PlayState play_state_to_tell() const;
    [[nodiscard]] bool has_geometry_to_tell() const;
    [[nodiscard]] bool has_play_state_to_tell() const;
    void tell(std::int64_t now);
    void judge_link(std::int64_t now);
    void give_back(wire::Reason reason, std::int64_t now);
    void back_off(std::int64_t now);
    [[nodiscard]] std::optional<wire::Reason> state(const Client &client) const;

    Session *player_;
    const wire::StreamOpen open_;
    Outgoing &outgoing_;
    std::shared_ptr<MemoryBudget> player_memory_; ///< the stream may outlive the player for a moment
    UnitCache cache_;
    const std::size_t spare_;
    MemoryShare waiting_; ///< what waits for the client, but for the spare bytes
    std::optional<wire::Geometry> geometry_;
    wire::PlayState play_state_;
    bool fresh_ = true; ///< no unit has come since the stream began, or was flushed: the next one is a key unit
    wire::Reason held_ = wire::Reason::kNone;
    std::optional<wire::Reason> told_;

    // Refused by this client: for good, or until `retry_at_`.
    wire::Reason refused_ = wire::Reason::kNone;
    std::int64_t retry_at_ = -1;
    std::int64_t back_off_ = 0;

    // The client's stream.
    std::uint32_t client_stream_ = 0;
    std::optional<StreamSender> sender_;
    std::uint32_t epoch_ = 0;
    std::uint32_t geometry_serial_ = 0;
    bool geometry_told_ = false;
    std::int64_t tell_geometry_at_ = 0;
    wire::PlayState told_play_state_;
    std::int64_t tell_play_state_at_ = 0;
    bool accepted_ = false;
    bool begun_ = false;             ///< credit has come, units are going out
    std::uint64_t next_ = 0;         ///< unit of the cache that the sender gets next
    bool skipped_ = false;           ///< units before that one were left out
    bool no_memory_ = false;         ///< for that one, though nothing waits before it
    std::int64_t behind_since_ = -1; ///< a burst from the key unit to the present is under way
    std::int64_t grace_until_ = 0;   ///< until then units wait for credit rather than being dropped
    std::int64_t last_replay_ = INT64_MIN / 2;
    std::int64_t replay_at_ = -1;        ///< when to answer NEED_KEY
    std::optional<wire::Reason> ending_; ///< closed by the player, once the sender is through
    std::int64_t ending_limit_ = 0;
    wire::Feedback feedback_;

    // How the link does, second by second.
    std::int64_t second_began_ = 0;
    StreamSender::Counters second_sent_;
    wire::Feedback second_feedback_;
    int bad_seconds_ = 0;
    int good_seconds_ = 0;

    Counters totals_; ///< of earlier client streams
};

} // namespace spice_overlay::guest
