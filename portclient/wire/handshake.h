// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "messages.h"

namespace spice_overlay::wire {

/// The HELLO exchange, the same for both ends (docs/protocol.md, "Handshake"). No input or output of its own.
///
/// The owner calls start() when the port opens and resets its deframer to that nonce, sends what start() returns, and
/// resend() every second until established(). Each HELLO that the deframer reports goes to receive(), whose outcome is
/// acted on in the order of its members; other messages are ignored, and none is sent, until established().
class Handshake {
public:
    /// `ours` carries role, versions, name and capabilities; its nonces are set here.
    explicit Handshake(Hello ours) : ours_(std::move(ours)) { ours_.nonce = ours_.peer_nonce = 0; }

    /// Begins a conversation under a fresh `nonce` (never 0; from a random source). Returns the HELLO to send.
    [[nodiscard]] const Hello &start(std::uint64_t nonce);

    /// The HELLO to send now: the answer, when receive() has just asked for one; else the question again.
    [[nodiscard]] const Hello &resend();

    struct Outcome {
        bool reset = false;       ///< the peer has begun anew: drop all streams before anything else
        bool reply = false;       ///< send resend() now
        bool established = false; ///< the conversation has just become established
        bool incompatible = false; ///< no common version or a wrong role; nothing will follow
    };
    [[nodiscard]] Outcome receive(const Hello &theirs);

    [[nodiscard]] bool established() const { return established_; }
    [[nodiscard]] bool incompatible() const { return incompatible_; } ///< no use in resend() until start()
    [[nodiscard]] std::uint64_t nonce() const { return ours_.nonce; }
    [[nodiscard]] const Hello &peer() const { return theirs_; } ///< only when established()
    [[nodiscard]] std::uint16_t version() const { return version_; } ///< only when established()

private:
    Hello ours_;
    Hello theirs_;
    std::uint64_t to_answer_ = 0; ///< nonce of the HELLO that the next resend() answers, or 0
    std::uint64_t answered_ = 0;  ///< the last nonce that was answered in this conversation
    std::uint16_t version_ = 0;
    bool established_ = false;
    bool incompatible_ = false;
};

} // namespace spice_overlay::wire
