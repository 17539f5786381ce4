// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/access_unit.h"
#include "guest/conversation/outbox.h"
#include "guest/conversation/stream_sender.h"
#include "portclient/wire/messages.h"
#include "spice-overlay-guest.h"
#include "unit_queue.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace spice_overlay::guest {

/// A player's stream, whether or not a conversation carries it. What the player wants is kept as a state and told when the outbox
/// has room, so that nothing piles up behind a peer that does not read. No input or output of its own; one thread; times are ns of
/// CLOCK_MONOTONIC.
class Stream {
public:
    static constexpr std::int64_t kLead =
        StreamSender::kPatience; ///< a unit's patience ends at its pts, at the earliest
    static constexpr std::int64_t kDueLead =
        100'000'000; ///< this long before its pts a unit no longer waits for others
    static constexpr std::int64_t kGrace = 2'000'000'000;       ///< for a peer that begins: nothing is left out
    static constexpr std::int64_t kDrainLimit = 10'000'000'000; ///< for what waits when the stream has ended
    static constexpr std::int64_t kKeyInterval = 1'000'000'000; ///< between requests for a key unit

    /// `description`: its number is filled in.
    Stream(wire::StreamOpen description, Outgoing &outgoing);

    // ---- the player's side

    void submit(Unit unit); ///< pts is guest time; without data: one that was left out
    void flush(std::int64_t now);
    void set_paused(bool paused, std::int64_t now);
    void set_rate(std::int32_t rate);    ///< 16.16
    void place(wire::Geometry geometry); ///< stream and serial are filled in
    /// The end. On kEndOfStream what waits goes first, within kDrainLimit.
    void close(wire::Reason reason, std::int64_t now);

    // ---- the conversation's side

    void connected(bool relay);
    void disconnected(spice_overlay_reason why);
    [[nodiscard]] std::uint32_t number() const { return number_; } ///< 0: not on the wire

    // For number().
    void take(const wire::StreamAccept &, std::int64_t now);
    void take(const wire::StreamReject &reject, std::int64_t now);
    void take(const wire::StreamClose &close, std::int64_t now);
    void take(const wire::StreamState &state, std::int64_t now);
    void take(const wire::Credit &credit, std::int64_t now);
    void take(const wire::NeedKey &, std::int64_t now);
    void take(const wire::Feedback &feedback, std::int64_t now);

    // ---- the loop

    /// Queues what there is to tell.
    void tell(std::int64_t now);
    [[nodiscard]] bool has_to_tell(std::int64_t now) const;
    /// Hands on the units that are to go.
    void tick(std::int64_t now);
    [[nodiscard]] bool next_message(std::vector<std::uint8_t> &out);
    /// Leaves out what is stuck. To be called when everything that can be written has been.
    void settle(std::int64_t now);
    /// When the loop is to come again if nothing else happens; negative: never.
    [[nodiscard]] std::int64_t deadline() const;

    // ---- what became of it

    [[nodiscard]] spice_overlay_reason state() const { return state_; }
    [[nodiscard]] bool take_key_request(); ///< true once each time that the player is to be asked for a key unit
    [[nodiscard]] std::uint64_t presented() const { return presented_before_ + feedback_.presented; }
    [[nodiscard]] std::uint64_t late() const { return late_before_ + feedback_.late; }
    /// What has been handed over and not gone; not counting what goes once more.
    [[nodiscard]] std::size_t units_waiting() const;
    [[nodiscard]] std::size_t bytes_waiting() const;
    [[nodiscard]] bool over() const { return over_; } ///< closed, and nothing left to send
    /// Since when units are left out without any credit having come; negative: they are not.
    [[nodiscard]] std::int64_t stuck_since() const { return stuck_since_; }

private:
    void begin();
    void end();
    void refused(wire::Reason reason, std::int64_t now);
    void rewind_or_ask(std::int64_t now);
    void ask_for_key(std::int64_t now);
    void note_drops(std::int64_t now);
    void feed();
    [[nodiscard]] bool due(std::int64_t now) const;
    [[nodiscard]] bool drained(std::int64_t now) const;
    [[nodiscard]] bool wants_to_begin(std::int64_t now) const;

    wire::StreamOpen description_;
    Outgoing &outgoing_;
    AccessUnitInspector inspector_;
    UnitQueue units_;

    // What the player wants.
    bool paused_ = false;
    std::int32_t rate_ = 65536;
    std::optional<wire::Geometry> geometry_;
    std::optional<wire::Reason> closing_;
    std::int64_t drain_until_ = 0;
    bool over_ = false;
    bool had_units_ = false;

    // The stream on the wire.
    std::uint32_t number_ = 0;
    std::optional<StreamSender> sender_;
    bool relay_ = false;
    bool begun_ = false; ///< credit has come
    wire::PlayState told_;
    bool flush_ = false; ///< the next thing to tell is a larger epoch
    bool geometry_told_ = false;
    std::uint32_t geometry_serial_ = 0;
    std::size_t catching_up_ = 0; ///< of the units that wait, the first that had gone before
    std::int64_t settle_from_ = 0;
    std::int64_t now_ = 0;        ///< of the last tick()
    std::int64_t rewind_at_ = -1; ///< when to answer NEED_KEY
    std::int64_t rewound_at_ = INT64_MIN / 2;
    std::int64_t stuck_since_ = -1;
    std::int64_t try_again_at_ = -1; ///< after a refusal that may pass
    bool refused_ = false;

    spice_overlay_reason state_ = SPICE_OVERLAY_REASON_PENDING;
    bool key_request_ = false;
    std::int64_t key_requested_at_ = INT64_MIN / 2;
    std::uint64_t drops_seen_ = 0;
    wire::Feedback feedback_;
    std::uint64_t presented_before_ = 0; ///< in earlier conversations
    std::uint64_t late_before_ = 0;
};

} // namespace spice_overlay::guest
