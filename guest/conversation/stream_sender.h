// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "access_unit.h"
#include "portclient/wire/messages.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace spice_overlay::guest {

/// One stream's access units on their way out: keeps to the client's credit, and decides what is left out when the
/// credit does not suffice. No input or output of its own. Times are ns of CLOCK_MONOTONIC.
///
/// A unit is left out as a whole and before its first byte is written: first the droppable ones that wait; when the
/// next unit has waited for kPatience, everything up to the next key unit. A unit that has begun is finished, unless
/// flush() cuts it off.
class StreamSender {
public:
    static constexpr std::int64_t kPatience = 250'000'000;
    static constexpr std::size_t kMostWaiting = 64;     ///< units
    static constexpr std::size_t kMostBytes = 4u << 20; ///< held, beyond which one unit at most waits

    explicit StreamSender(std::uint32_t stream) : stream_(stream) {}

    /// The client's cumulative limits; smaller ones than before change nothing.
    void grant(std::uint64_t bytes, std::uint32_t units);

    /// True while one more unit may be handed over. Whoever asks first holds memory in bounds.
    [[nodiscard]] bool has_room() const;

    /// Hands over a unit that is to go now. `pts` is when to show it, `came` when its patience begins.
    void push(Unit unit, std::int64_t pts, std::int64_t came);

    /// Leaves out what could not go until `now`. To be called when next_message() has nothing more to give or the port
    /// takes nothing more: everything that still waits is then stuck.
    void settle(std::int64_t now);

    /// Encodes the next message, one chunk at most, into `out` (replaced). False when nothing may be sent.
    [[nodiscard]] bool next_message(std::vector<std::uint8_t> &out);

    /// When settle() has to be called again if no credit comes; negative: never.
    [[nodiscard]] std::int64_t deadline() const;

    /// What waits is forgotten (not counted as dropped), and nothing but a key unit goes next.
    void restart_at_key();

    /// As restart_at_key(), and what follows belongs to a larger epoch; the rest of a unit under way is not sent.
    void flush(std::uint32_t epoch);

    [[nodiscard]] bool idle() const { return waiting_.empty() && at_ == ends_.size(); } ///< nothing left to send
    [[nodiscard]] bool backlogged() const { return !waiting_.empty(); }
    [[nodiscard]] bool needs_key() const { return needs_key_; } ///< only a key unit goes next
    [[nodiscard]] std::size_t units_waiting() const { return waiting_.size(); }
    [[nodiscard]] std::size_t bytes_waiting() const;
    [[nodiscard]] std::size_t bytes_held() const; ///< as bytes_waiting(), but the whole unit under way until it is sent
    [[nodiscard]] bool granted() const { return unit_limit_ > 0; } ///< the client has let the stream begin

    struct Counters {
        std::uint64_t sent = 0;
        std::uint64_t dropped = 0;
        std::uint64_t keys = 0;  ///< of those sent
        std::uint64_t bytes = 0; ///< of access units, sent
    };
    [[nodiscard]] const Counters &counters() const { return counters_; }
    [[nodiscard]] std::uint64_t bytes_left() const { return byte_limit_ - sent_bytes_; }
    [[nodiscard]] std::uint32_t units_left() const { return unit_limit_ - sent_units_; }

private:
    struct Waiting {
        Unit unit;
        std::int64_t pts;
        std::int64_t came;
    };
    void trim();
    [[nodiscard]] bool may_begin(const Waiting &next) const;
    void begin(const Waiting &next);
    void end_unit();
    void drop(const Waiting &waiting);

    std::uint32_t stream_;
    std::uint32_t epoch_ = 0;
    std::uint64_t byte_limit_ = 0;
    std::uint32_t unit_limit_ = 0;
    std::uint64_t sent_bytes_ = 0;
    std::uint32_t sent_units_ = 0;
    bool needs_key_ = true;
    bool gap_ = false;                    ///< something that others refer to was left out since the unit sent last
    std::int64_t resumed_at_ = INT64_MIN; ///< pts of the key unit that the stream resumed with
    std::deque<Waiting> waiting_;
    std::vector<std::uint8_t> messages_; ///< of the unit under way
    std::vector<std::size_t> ends_;
    std::size_t at_ = 0;         ///< message of the unit under way that goes next
    std::size_t unit_size_ = 0;  ///< of the unit under way, in bytes; 0: there is none
    std::size_t unit_bytes_ = 0; ///< of it, not sent yet
    wire::UnitReference previous_;
    Counters counters_;
};

} // namespace spice_overlay::guest
