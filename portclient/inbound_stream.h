// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "message_rate.h"
#include "wire/messages.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spice_overlay {

/// One live stream as the client receives it: access units put together, credit, epoch. No output of its own: functions
/// say what is to be done. See docs/protocol.md, "Streams" and "Credit".
class InboundStream {
public:
    static constexpr std::uint64_t kMinWindow = 256 * 1024;     ///< bytes
    static constexpr std::uint64_t kMaxBitRate = 100'000'000;   ///< bits per second, for the window
    static constexpr std::uint32_t kUnitWindow = 16;            ///< access units, on their way and queued
    static constexpr std::uint32_t kMaxMessages = 10'000;       ///< in a second; kMaxBitRate in whole chunks is 400
    static constexpr std::size_t kKept = 1u << 20; ///< bytes that the next large unit need not ask for again

    /// Memory for units that come in parts, shared by all streams of a session. Each takes its whole size at once.
    struct Budget {
        std::size_t most = 32u << 20; ///< bytes
        std::size_t taken = 0;        ///< by units that are not complete
    };

    /// `budget` outlives the stream.
    InboundStream(const wire::StreamOpen &open, Budget &budget) : open_(open), budget_(budget) {}
    ~InboundStream() { abandon(); }
    InboundStream(const InboundStream &) = delete;
    InboundStream &operator=(const InboundStream &) = delete;

    enum class Verdict {
        kMore,      ///< taken; the unit is not complete
        kComplete,  ///< `unit` is whole, and lent until take_back()
        kStale,     ///< dropped: of an old epoch
        kNotKey,    ///< dropped: waiting for a key unit
        kViolation, ///< the guest broke the protocol: close the stream
        kNoMemory,  ///< taken, but all are beyond the budget now: close the stream that has taken most
    };
    struct Received {
        Verdict verdict;
        wire::AccessUnit unit{};
    };
    [[nodiscard]] Received receive(wire::AccessUnit unit, std::int64_t now);
    [[nodiscard]] Received receive(const wire::AccessUnitChunk &chunk, std::int64_t now);

    /// The unit that was lent is no longer used: keeps no more memory than kKept.
    void take_back();

    /// Every message of the stream is counted first. False: there are too many of them.
    [[nodiscard]] bool count_message(std::int64_t now) { return messages_.count(now); }

    /// True: the state has changed (false: an epoch that is over).
    [[nodiscard]] bool play_state(const wire::PlayState &state);

    /// True: to be passed on (false: older than what is known). A violation sets nothing.
    [[nodiscard]] std::optional<bool> geometry(const wire::Geometry &geometry);

    /// Drops units until a key unit. True: NEED_KEY is to be sent (false: has been).
    [[nodiscard]] bool need_key();

    void done(std::uint32_t units); ///< the decoder is through with so many

    /// The CREDIT to send now, if the guest has to hear one. `anyway`: something is sent now, so that one may go with it.
    [[nodiscard]] std::optional<wire::Credit> credit(bool anyway = false);

    /// Nothing more comes: gives back what a unit that is not complete has taken.
    void abandon() { discard(Verdict::kStale); }

    [[nodiscard]] const wire::StreamOpen &open() const { return open_; }
    [[nodiscard]] std::size_t taken() const { return taken_; } ///< of the budget, bytes
    /// Bytes of memory for units in parts; kKept beyond what is taken, at most, unless a unit is lent.
    [[nodiscard]] std::size_t memory() const { return assembly_.capacity(); }
    [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
    [[nodiscard]] bool playing() const { return mode_ == wire::PlayMode::kPlaying; }
    [[nodiscard]] std::uint32_t queued() const { return delivered_ - done_; }
    [[nodiscard]] std::uint64_t in_flight() const { return granted_bytes_ - received_; } ///< bytes, at most

private:
    [[nodiscard]] bool account(std::size_t bytes, std::int64_t now);
    [[nodiscard]] std::uint64_t window() const;
    Received finish(const wire::AccessUnit &unit);
    void discard(Verdict why);
    void drop_assembly();

    const wire::StreamOpen open_;
    MessageRate messages_{kMaxMessages};
    Budget &budget_;

    std::uint32_t epoch_ = 0;
    wire::PlayMode mode_ = wire::PlayMode::kPlaying;
    std::optional<std::uint32_t> geometry_serial_;
    bool waiting_for_key_ = false;

    wire::UnitReference last_unit_;
    std::uint32_t begun_ = 0;     ///< units, complete or not
    std::uint32_t delivered_ = 0; ///< units given to the decoder
    std::uint32_t dropped_ = 0;   ///< units that it will never see
    std::uint32_t done_ = 0;      ///< units, of those delivered

    // The unit that comes in parts, when filled_ is not 0. `fate_` other than kMore: its bytes are only counted.
    wire::AccessUnit head_;
    std::vector<std::uint8_t> assembly_;
    std::size_t taken_ = 0; ///< bytes, from the budget
    std::size_t filled_ = 0;
    Verdict fate_ = Verdict::kMore;

    std::uint64_t received_ = 0;
    std::uint64_t granted_bytes_ = 0;
    std::uint32_t granted_units_ = 0;

    // Measured bit rate: of the last whole second, and the bytes of the one that runs.
    std::int64_t second_began_ = 0;
    std::uint64_t second_bytes_ = 0;
    std::uint64_t last_rate_ = 0; ///< bits per second
};

} // namespace spice_overlay
