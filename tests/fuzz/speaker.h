// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "input.h"
#include "portclient/wire/messages.h"

#include <map>

namespace spice_overlay::fuzz {

/// A guest or a player that mostly keeps the protocol, as the fuzzer chooses: so its bytes get deep.
class Speaker {
public:
    std::uint64_t peer_nonce = 0; ///< of the HELLO that the other side sent last
    wire::Ping asked;             ///< what the other side asked last; mostly that is what is answered

    /// Appends one message, or a part of a unit, or bytes that are neither.
    void next(Input &in, Bytes &out);

private:
    struct Stream {
        std::uint32_t serial = 0;
        std::uint32_t epoch = 0;
        std::uint32_t geometry = 0;
        wire::UnitReference reference;
        std::uint32_t size = 0; ///< of the unit under way
        std::uint32_t sent = 0; ///< of it
    };
    wire::Message make(Input &in);
    void hello(Input &in, Bytes &out);
    void unit(Input &in, std::uint32_t id, Bytes &out);
    wire::Geometry geometry(Input &in, std::uint32_t id);

    std::map<std::uint32_t, Stream> streams_;
    std::uint32_t last_stream_ = 0;
    std::uint64_t nonce_ = 0x9e57;
};

/// Damages a byte behind `from`, now and then.
void damage(Input &in, Bytes &bytes, std::size_t from);

/// A client's message about one of `streams` streams, or a PING or PONG.
wire::Message client_message(Input &in, std::uint32_t streams);

/// Calls `sink` for each whole message at the front of `bytes`, which must all be well formed, and takes it off.
template <typename Sink>
void read_messages(Bytes &bytes, Sink &&sink);

} // namespace spice_overlay::fuzz

#include "portclient/wire/deframer.h"

template <typename Sink>
void spice_overlay::fuzz::read_messages(Bytes &bytes, Sink &&sink)
{
    std::size_t at = 0;
    while (bytes.size() - at >= wire::kHeaderSize) {
        const std::size_t size = bytes[at] | std::size_t{bytes[at + 1]} << 8;
        require(size >= wire::kHeaderSize, "what is sent has a length");
        if (bytes.size() - at < size)
            break;
        wire::Message message;
        std::string why;
        require(wire::decode(std::span(bytes).subspan(at, size), message, why), "what is sent is well formed");
        sink(message);
        at += size;
    }
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}
