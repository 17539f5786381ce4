// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "clock_map.h"
#include "inbound_stream.h"
#include "wire/deframer.h"
#include "wire/handshake.h"
#include "wire/messages.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

namespace spice_overlay {

/// The client's side of the conversation on one port: handshake, streams, credit, clock. No input or output of its own:
/// bytes from the port go into feed(), bytes for the port come out of Listener::transmit(), time comes in as a
/// parameter (ns of the local CLOCK_MONOTONIC). One thread. Everything that comes in is hostile until checked here: the
/// Listener sees checked messages of live streams only, and may call the session back, except for feed(), tick(),
/// port_opened() and port_closed().
class Session {
public:
    class Listener {
    public:
        virtual ~Listener() = default;
        /// A stream begins. kNone accepts it, anything else refuses it with that reason.
        virtual wire::Reason open(const wire::StreamOpen &stream) = 0;
        /// Newest geometry of a stream; for one announced before STREAM_OPEN it follows open() at once.
        virtual void geometry(const wire::Geometry &geometry) = 0;
        /// A whole access unit of the stream's current epoch. `unit.data` is borrowed for the call.
        /// Every unit must be answered by unit_done() in time, since credit depends on it.
        virtual void access_unit(const wire::AccessUnit &unit) = 0;
        virtual void play_state(const wire::PlayState &state) = 0;
        /// The stream has ended: by the guest, by an error in its messages, or with the port or the conversation.
        virtual void close(std::uint32_t stream, wire::Reason reason) = 0;
        /// Bytes for the port, whole messages. Must not call back into the session.
        virtual void transmit(std::span<const std::uint8_t> bytes) = 0;
    };

    /// `hello` announces what this client can do (role, nonces are filled in). `listener` outlives the session.
    /// `assembly`: bytes that units which come in parts may take, all streams together.
    Session(wire::Hello hello, Listener &listener, std::size_t assembly = InboundStream::Budget{}.most);

    void port_opened(std::int64_t now, std::uint64_t nonce); ///< `nonce`: random, not 0
    void port_closed();                                      ///< closes all streams with kShuttingDown
    void feed(std::span<const std::uint8_t> bytes, std::int64_t now);

    /// Does what is due (HELLO again, ping, feedback at 4 Hz); returns when it wants to be called next, or a negative
    /// value when nothing is scheduled (an idle or paused session causes no wake-ups). Any other call may bring that
    /// forward: call this after each of them, or after a batch.
    [[nodiscard]] std::int64_t tick(std::int64_t now);

    /// The decoder is through with the oldest `units` access units of the stream: gives credit back.
    void units_done(std::uint32_t stream, std::uint32_t units, std::int64_t now);
    void presented(std::uint32_t stream, std::uint32_t frames);
    void late(std::uint32_t stream, std::uint32_t frames);
    void decode_time(std::uint32_t stream, std::int64_t ns);
    void need_key(std::uint32_t stream);
    /// Ends a stream from this side; Listener::close() is not called for it.
    void close_stream(std::uint32_t stream, wire::Reason reason);

    // Of a relay alone (docs/protocol.md, "Relays"): `hello` has capability kRelay.
    /// Told now, when that is news, and again whenever a conversation is established.
    void client_state(wire::ClientState state);
    /// Asks the other side for its clock: whoever lives answers.
    void ping(std::int64_t now);
    /// What becomes of a live stream; not from within Listener::open(), since it is none yet.
    void stream_state(std::uint32_t stream, wire::Reason reason);

    [[nodiscard]] bool established() const { return handshake_.established(); }
    [[nodiscard]] const wire::Hello &peer() const { return handshake_.peer(); } ///< only when established()

    /// Guest CLOCK_MONOTONIC ns to local CLOCK_MONOTONIC ns, from the ping exchange with the smallest round trip among
    /// the recent ones; before the first pong, from the arrival of the first access unit.
    [[nodiscard]] std::int64_t to_local(std::int64_t guest_time) const { return clock_.to_local(guest_time); }

    struct Counters {
        std::uint64_t wire_bytes = 0;      ///< received on the port, everything counted
        std::uint64_t bitstream_bytes = 0; ///< of which access-unit bytes
        std::uint64_t messages = 0;        ///< received
        std::uint64_t access_units = 0;
        std::uint64_t geometry_messages = 0;
        std::uint64_t protocol_errors = 0;
        std::uint64_t stale_units = 0; ///< of an old epoch or of no stream
        std::uint64_t units_before_key = 0; ///< dropped after need_key()
        std::uint64_t restarts = 0;    ///< of the conversation, by this side, after bytes that made no sense
        std::uint64_t max_in_flight = 0; ///< bytes granted and not yet received, largest seen
    };
    [[nodiscard]] const Counters &counters() const { return counters_; }

    /// Bytes that units in parts hold, all streams together: what they may take, and InboundStream::kKept for each
    /// stream, at most. Not from within Listener::access_unit(), since a whole unit is held for that call.
    [[nodiscard]] std::size_t assembly_memory() const;

private:
    static constexpr std::uint32_t kMaxMessages = 2000; // in a second, of no live stream
    static constexpr std::size_t kMaxUnopened = 16;    // streams whose geometry is kept before STREAM_OPEN
    static constexpr std::uint32_t kUsedSpan = 256;    // identifiers that are remembered below the largest
    static constexpr std::size_t kMaxLeftovers = 64;   // streams whose leftovers are not held against the conversation
    static constexpr std::int64_t kLeftoverTime = 2'000'000'000; // ns

    struct Entry {
        Entry(const wire::StreamOpen &open, InboundStream::Budget &budget) : stream(open, budget) {}
        InboundStream stream;
        wire::Feedback feedback;      ///< decode_us aside
        std::uint64_t decode_ns = 0;  ///< since the last feedback, of decode_count units
        std::uint32_t decode_count = 0;
        bool feedback_due = false;
        std::int64_t last_feedback = 0; ///< 0: none in this epoch
    };
    /// What was on its way on a stream when this side ended it: for kLeftoverTime, and InboundStream::kMaxMessages.
    struct Leftovers {
        std::int64_t since;
        std::uint32_t messages = 0;
    };
    using Streams = std::map<std::uint32_t, std::unique_ptr<Entry>>;
    class Batch;

    void receive(const wire::Hello &hello);
    void receive(const wire::Ping &ping);
    void receive(const wire::Pong &pong);
    void receive(const wire::StreamOpen &open);
    void receive(const wire::AccessUnit &unit);
    void receive(const wire::AccessUnitChunk &chunk);
    void receive(const wire::Geometry &geometry);
    void receive(const wire::PlayState &state);
    void receive(const wire::StreamClose &close);
    template <typename Other>
    void receive(const Other &) // only clients send these
    {
    }
    [[nodiscard]] bool count_message(std::uint32_t stream);
    [[nodiscard]] bool left_over(std::uint32_t stream);
    void expect_leftovers(std::uint32_t stream);
    [[nodiscard]] wire::Reason refuse(const wire::StreamOpen &open) const;
    void take(std::uint32_t stream, const InboundStream::Received &received);
    void grant(std::uint32_t stream, bool anyway = false);
    void pass(Entry &entry, const wire::Geometry &geometry);

    Entry *find(std::uint32_t stream);
    [[nodiscard]] bool used(std::uint32_t stream) const;
    bool remove(std::uint32_t stream);
    void retire(std::unique_ptr<Entry> entry);
    void fail_largest(std::uint32_t newest);
    void fail(std::uint32_t stream, wire::Reason reason);
    void end_all(wire::Reason reason);
    void begin(std::uint64_t nonce);
    void restart();
    void send(const wire::Message &message) { wire::encode(message, out_); }

    const wire::Hello hello_;
    Listener &listener_;
    wire::Handshake handshake_;
    wire::Deframer deframer_;
    Counters counters_;
    wire::ClientState client_state_;
    bool open_ = false;
    std::int64_t now_ = 0;
    MessageRate messages_{kMaxMessages};

    InboundStream::Budget budget_;
    Streams streams_;
    std::vector<std::unique_ptr<Entry>> ended_; ///< what they lend is still in use until the outermost call returns
    std::map<std::uint32_t, Leftovers> leftovers_;
    std::map<std::uint32_t, wire::Geometry> unopened_;
    std::set<std::uint32_t> used_;
    std::uint32_t largest_used_ = 0;

    ClockMap clock_;
    unsigned first_pings_ = 0; ///< of the burst, still to be sent
    std::int64_t next_ping_ = 0;
    std::int64_t next_hello_ = 0;
    std::int64_t incomplete_since_ = -1; ///< when the message that is not whole began to come

    std::vector<std::uint8_t> out_;
    int depth_ = 0; ///< of public calls, which nest when the Listener calls back
};

} // namespace spice_overlay
