// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "messages.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay::wire {

/// Decodes one message body. Returns the message, or nothing with `why` set to a short text ("GEOMETRY: 300 rectangles").
/// Data that an AccessUnit or chunk refers to is borrowed from `body`.
[[nodiscard]] std::optional<Message> decode(std::uint16_t type, std::span<const std::uint8_t> body, std::string &why);

/// Turns the port's arbitrary byte stream into messages. Starts out hunting: bytes are skipped until a HELLO is seen that
/// answers `our_nonce` (whatever else stands in the stream is the tail of an older conversation), or one with
/// peer_nonce 0, which is reported too and leaves the deframer hunting. Not thread-safe; holds at most one message.
class Deframer {
public:
    enum class State { kHunting, kInSync, kBroken };

    /// Forgets all bytes and hunts for a HELLO whose peer_nonce is `our_nonce`.
    void reset(std::uint64_t our_nonce);

    /// Takes bytes as they come from the port and calls `sink(const Message &)` for each message that is complete.
    /// `sink` may call reset(): the rest of `bytes` is then hunted through. Bytes after a malformed message are ignored until
    /// reset(): state() is then kBroken and error() says why.
    template <typename Sink>
    void feed(std::span<const std::uint8_t> bytes, Sink &&sink)
    {
        push(bytes);
        while (const Message *message = next())
            sink(*message);
    }

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] const std::string &error() const { return error_; }
    [[nodiscard]] std::uint64_t skipped_bytes() const { return skipped_; } ///< since reset(), while hunting
    [[nodiscard]] std::uint64_t unknown_messages() const { return unknown_; }

private:
    void push(std::span<const std::uint8_t> bytes);
    const Message *next();

    State state_ = State::kHunting;
    std::uint64_t our_nonce_ = 0;
    std::uint64_t skipped_ = 0;
    std::uint64_t unknown_ = 0;
    std::vector<std::uint8_t> buffer_; ///< the start of a message that is not complete yet
    std::span<const std::uint8_t> input_; ///< what feed() was given and next() has not used
    Message message_;
    std::string error_;
};

} // namespace spice_overlay::wire
