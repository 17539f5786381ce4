// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/session.h"
#include "relay.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// How much of something may come, as time goes by: a bucket that holds two seconds' worth.
class Allowance {
public:
    explicit Allowance(std::uint64_t per_second) : per_second_(static_cast<std::int64_t>(per_second)) {}
    void refill(std::int64_t now);
    void take(std::uint64_t amount) { left_ -= static_cast<std::int64_t>(amount); }
    [[nodiscard]] bool any_left() const { return left_ > 0; }
    [[nodiscard]] std::int64_t back_at() const; ///< when there is some again

private:
    std::int64_t per_second_;
    std::int64_t left_ = 0;
    std::int64_t refilled_at_ = -1;
};

/// One player, hostile until its messages have been checked: the client's side of its conversation. What is too much closes
/// or slows down this player, or one stream of it, alone. No input or output of its own; times are ns of CLOCK_MONOTONIC.
class RelayedPlayer : private Session::Listener {
public:
    /// `name`: who it is, for the log. `relay` outlives the player.
    RelayedPlayer(Relay &relay, std::string name, std::int64_t now, std::uint64_t nonce);
    ~RelayedPlayer() override;
    RelayedPlayer(const RelayedPlayer &) = delete;

    void feed(std::span<const std::uint8_t> bytes, std::int64_t now);
    /// The connection has ended: ends the streams.
    void disconnect(std::int64_t now);

    /// Its streams may not be shown now; kNone: they may.
    void hold(wire::Reason reason);

    void tick(std::int64_t now);
    [[nodiscard]] std::int64_t deadline() const { return deadline_; } ///< for tick(); negative: none
    /// Before that time nothing more is to be read from it; negative: read on.
    [[nodiscard]] std::int64_t throttled_until() const { return throttled_until_; }

    /// Bytes for it; whoever sends them erases them.
    [[nodiscard]] std::vector<std::uint8_t> &output() { return output_; }
    /// It does not read what it is sent.
    [[nodiscard]] bool hopeless() const { return output_.size() > relay_.limits().unread; }

    // For the relay.
    [[nodiscard]] Session &session() { return session_; }
    [[nodiscard]] const std::shared_ptr<MemoryBudget> &memory() const { return memory_; }
    void tell_client_state(wire::Reason absent, const std::vector<wire::CodecCapability> &codecs);
    [[nodiscard]] bool owns(const RelayedStream &stream) const;
    void report(const RelayedStream &stream) const; ///< what it was told goes to the log

    [[nodiscard]] const std::string &name() const { return name_; }
    [[nodiscard]] bool introduced() const { return introduced_; } ///< it has spoken the protocol once
    [[nodiscard]] wire::Reason session_hold() const { return held_; }
    [[nodiscard]] wire::Reason held() const { return unresponsive_ ? wire::Reason::kShuttingDown : held_; }
    [[nodiscard]] const Session::Counters &counters() const { return session_.counters(); }
    [[nodiscard]] std::size_t streams() const { return streams_.size(); }

private:
    wire::Reason open(const wire::StreamOpen &stream) override;
    void geometry(const wire::Geometry &geometry) override;
    void access_unit(const wire::AccessUnit &unit) override;
    void play_state(const wire::PlayState &state) override;
    void close(std::uint32_t stream, wire::Reason reason) override;
    void transmit(std::span<const std::uint8_t> bytes) override;

    void apply_hold();
    [[nodiscard]] bool watched() const;

    Relay &relay_;
    const std::string name_;
    std::shared_ptr<MemoryBudget> memory_;
    Session session_;
    std::map<std::uint32_t, RelayedStream *> streams_; ///< by the player's number
    std::vector<std::uint8_t> output_;
    wire::Reason held_ = wire::Reason::kNone;
    std::int64_t now_ = 0;
    std::int64_t deadline_ = -1;
    Allowance bytes_;
    Allowance messages_;
    Allowance opens_;
    std::int64_t throttled_until_ = -1;
    bool introduced_ = false;
    std::uint64_t garbage_ = 0; ///< restarts of the conversation that have been reported

    // Whether it lives: a player that was stopped leaves a picture behind that nobody moves with its window.
    std::int64_t heard_at_ = 0;
    bool asked_ = false;
    bool unresponsive_ = false;
};

} // namespace spice_overlay::guest
