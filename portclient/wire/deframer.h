// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "messages.h"

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay::wire {

/// Decodes one whole message, header included, into `out` (unspecified on failure). False sets `why` to a short text
/// ("GEOMETRY: 300 rectangles"). Data that an AccessUnit or chunk refers to is borrowed from `message`. Does not
/// allocate for ACCESS_UNIT and ACCESS_UNIT_CHUNK.
[[nodiscard]] bool decode(std::span<const std::uint8_t> message, Message &out, std::string &why);

/// What the first bytes of a HELLO, with more behind them or less, tell of the whole: decode() refuses it, or takes it
/// when all of it is there; or they are too few to tell, and never are 105.
enum class HelloHead { kTooShort, kWrong, kRight };
[[nodiscard]] HelloHead look_at_hello(std::span<const std::uint8_t> bytes);

/// Turns the port's arbitrary byte stream into messages. Starts out hunting: bytes are skipped until a HELLO is seen
/// that answers `our_nonce` (whatever else stands in the stream is the tail of an older conversation), or one with
/// peer_nonce 0, which is reported too and leaves the deframer hunting. A message of unknown type is an Unknown.
/// Not thread-safe; keeps at most one message between calls, and copies only one that the fed bytes split.
class Deframer {
public:
    enum class State { kHunting, kInSync, kBroken };

    /// Forgets all bytes, except those of a feed() under way, and hunts for a HELLO whose peer_nonce is `our_nonce`.
    void reset(std::uint64_t our_nonce);

    /// Takes bytes as they come from the port and calls `sink(const Message &)` for each message that is complete.
    /// `sink` may call reset(): the rest of `bytes` is then hunted through. Bytes after a malformed message are ignored
    /// until reset(): state() is then kBroken and error() says why.
    template <typename Sink>
    void feed(std::span<const std::uint8_t> bytes, Sink &&sink)
    {
        push(bytes);
        while (const Message *message = next())
            sink(*message);
    }

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] const std::string &error() const { return error_; }
    /// In sync, and the beginning of a message has come but not its end.
    [[nodiscard]] bool mid_message() const { return state_ == State::kInSync && head_ < buffer_.size(); }
    [[nodiscard]] std::uint64_t skipped_bytes() const { return skipped_; } ///< since reset(), while hunting

private:
    void push(std::span<const std::uint8_t> bytes);
    const Message *next();
    const Message *hunt();
    [[nodiscard]] HelloHead look(std::span<const std::uint8_t> bytes) const;
    void begin_search();
    std::span<const std::uint8_t> whole_message();
    bool top_up(std::size_t size);

    static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

    State state_ = State::kHunting;
    bool feeding_ = false;
    std::uint64_t our_nonce_ = 0;
    std::uint64_t skipped_ = 0;
    std::vector<std::uint8_t> buffer_;    ///< bytes kept from an earlier feed(), those before head_ already used
    std::size_t head_ = 0;
    std::span<const std::uint8_t> input_; ///< what feed() was given and next() has not used
    Message message_;
    std::string error_;

    // While hunting, offsets behind head_: how far it was searched, where the first HELLO begins that is right as far
    // as it has come, and where the first such one ends.
    std::size_t searched_ = 0;
    std::size_t waiting_ = kNone;
    std::size_t whole_at_ = kNone;
};

} // namespace spice_overlay::wire
