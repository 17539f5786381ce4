// SPDX-License-Identifier: LGPL-2.1-or-later
// Rows of messages in whichever pieces they come, and units in their messages, without a session.
#include "raw_message.h"

#include "portclient/wire/deframer.h"
#include "portclient/wire/handshake.h"

namespace spice_overlay::fuzz {
namespace {

constexpr std::uint64_t kNonce = 0x3131313131313131; ///< of the side that reads

/// What a deframer makes of a row of bytes, in whichever pieces they come.
struct Heard {
    /// Memory serves again, as with a client that is connected anew.
    void begin()
    {
        deframer.reset(kNonce);
        handshake = greeted();
        messages.clear();
    }
    void feed(std::span<const std::uint8_t> bytes)
    {
        deframer.feed(bytes, [this](const wire::Message &message) {
            const auto *hello = std::get_if<wire::Hello>(&message);
            if (const auto *unknown = std::get_if<wire::Unknown>(&message)) {
                messages.insert(messages.end(), {0, static_cast<std::uint8_t>(unknown->type)});
            } else if (!hello) {
                wire::encode(message, messages);
            } else {
                messages.insert(messages.end(),
                                {static_cast<std::uint8_t>(hello->nonce), static_cast<std::uint8_t>(hello->peer_nonce),
                                 static_cast<std::uint8_t>(hello->codecs.size())});
                const auto outcome = handshake.receive(*hello);
                require(!(outcome.established && outcome.incompatible), "a conversation is possible, or is not");
                require(!outcome.reset || !handshake.established() || outcome.established,
                        "who begins anew has to be greeted anew");
                if (outcome.reply)
                    require(handshake.resend().peer_nonce == hello->nonce, "the answer is to the question");
            }
        });
    }
    [[nodiscard]] bool same(const Heard &o) const
    {
        return messages == o.messages && deframer.state() == o.deframer.state()
               && deframer.error() == o.deframer.error() && deframer.skipped_bytes() == o.deframer.skipped_bytes()
               && deframer.mid_message() == o.deframer.mid_message()
               && handshake.established() == o.handshake.established();
    }
    wire::Deframer deframer;
    /// A client that has begun.
    static const wire::Handshake &greeted()
    {
        static const wire::Handshake begun = [] {
            wire::Hello hello;
            hello.role = wire::Role::kClient;
            wire::Handshake made(hello);
            (void)made.start(kNonce);
            return made;
        }();
        return begun;
    }
    wire::Handshake handshake = greeted();
    Bytes messages; ///< written again
};

/// Appends a HELLO as the other side may send it: one of 32, written once and for all.
void append_hello(std::uint8_t choice, Bytes &out)
{
    static const std::array<Bytes, 32> written = [] {
        std::array<Bytes, 32> made;
        for (std::size_t i = 0; i < made.size(); ++i) {
            wire::Hello hello;
            hello.nonce = 1 + i / 16;
            hello.peer_nonce = i % 8 == 7 ? 0 : i % 8 == 6 ? kNonce + 1 : kNonce;
            if (i % 8 == 5)
                hello.role = wire::Role::kClient;
            if (i % 8 == 4)
                hello.min_version = hello.max_version = wire::kProtocolVersion + 1;
            if (i % 16 > 8)
                hello.codecs = {{wire::Codec::kVp9, 0, -1, -1, 640, 360}};
            wire::encode(hello, made[i]);
        }
        return made;
    }();
    const Bytes &bytes = written[choice % written.size()];
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// Bytes in pieces, and the same at once: both make the same messages.
void in_pieces(Input &in)
{
    static Bytes row;
    static Heard at_once;
    static Heard in_parts;
    row.clear();
    at_once.begin();
    in_parts.begin();
    if (const std::uint8_t choice = in.byte(); choice < 0xe0)
        append_hello(choice, row);
    std::array<std::size_t, 4> cuts{};
    for (std::size_t &cut : cuts)
        cut = in.byte();
    for (unsigned count = 0; count < 6 && !in.empty(); ++count) {
        const std::uint8_t number = type(in);
        const std::uint8_t choice = in.byte();
        if (choice >= 0xe0) {
            append_hello(choice, row);
        } else if (choice >= 0xd0) {
            const auto noise = in.borrow(choice % 16u);
            row.insert(row.end(), noise.begin(), noise.end());
        } else {
            const auto body = in.borrow(choice % 32u);
            append_message(number, in.byte() & kFlagsThatMeanMuch, body, row);
        }
        if (choice / 32 == 5)
            row.resize(row.size() - std::min<std::size_t>(row.size(), choice % 8u));
    }
    const Bytes bytes = row; // a sanitizer sees what is beyond
    at_once.feed(bytes);
    std::span<const std::uint8_t> left = bytes;
    for (const std::size_t cut : cuts) {
        const auto part = left.first(std::min(cut, left.size()));
        in_parts.feed(part);
        left = left.subspan(part.size());
    }
    in_parts.feed(left);
    require(at_once.same(in_parts), "it does not matter how bytes are cut");
}

/// Units of a stream, as a sender splits and shortens them, come out as they went in.
void units(Input &in)
{
    static const Bytes data(wire::kChunkPayload + 300, 0xda);
    wire::UnitReference sent;
    wire::UnitReference taken;
    wire::AccessUnit unit;
    unit.stream = 1 + in.byte();
    for (unsigned count = 0; count < 4 && !in.empty(); ++count) {
        const std::uint8_t choice = in.byte();
        unit.serial += choice % 4 ? 1 : in.number<std::uint32_t>();
        if (choice % 8 == 7)
            unit.epoch += in.byte();
        unit.flags = choice / 8 % 8;
        unit.pts =
            choice % 16 == 9 ? in.number<std::int64_t>() % (wire::kMaxTime + 1) : unit.pts + in.number<std::int16_t>();
        unit.pts = std::clamp(unit.pts, -wire::kMaxTime, wire::kMaxTime);
        unit.data = std::span(data).first(choice == 0xff ? data.size() - in.byte() : 1u + in.byte());
        Bytes bytes;
        std::vector<std::size_t> ends;
        wire::encode_access_unit(unit, bytes, ends, choice % 32 == 31 ? nullptr : &sent);
        wire::Message message;
        std::string why;
        std::size_t at = 0;
        std::size_t size = 0;
        for (const std::size_t end : ends) {
            require(wire::decode(std::span(bytes).subspan(at, end - at), message, why), "a unit is well formed");
            if (auto *first = std::get_if<wire::AccessUnit>(&message)) {
                require(at == 0 && wire::resolve(*first, taken), "a unit begins once, and what it follows is known");
                require(first->stream == unit.stream && first->serial == unit.serial && first->epoch == unit.epoch
                            && first->flags == unit.flags && first->pts == unit.pts
                            && first->total_size == unit.data.size(),
                        "a unit comes as it went");
                size = first->data.size();
            } else {
                const auto &chunk = std::get<wire::AccessUnitChunk>(message);
                require(chunk.stream == unit.stream && chunk.serial == unit.serial && chunk.offset == size,
                        "a part belongs to the unit before it");
                size += chunk.data.size();
            }
            require(end - at <= 32768, "no message takes more than one write");
            at = end;
        }
        require(at == bytes.size() && size == unit.data.size(), "a unit comes whole");
        sent = taken; // where it was sent in full for itself, what follows refers to it nevertheless
    }
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    if (in.byte() % 4 == 3)
        units(in);
    else
        in_pieces(in);
    return 0;
}
