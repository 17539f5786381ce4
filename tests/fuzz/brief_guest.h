// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "raw_message.h"

namespace spice_overlay::fuzz {

inline constexpr std::uint64_t kNonce = 1; ///< of whom the guest speaks to

/// From a guest to a client whose nonce is kNonce.
inline const Bytes &greeting()
{
    static const Bytes bytes = [] {
        wire::Hello hello;
        hello.nonce = 2;
        hello.peer_nonce = kNonce;
        Bytes made;
        wire::encode(hello, made);
        return made;
    }();
    return bytes;
}

inline wire::Message stream_open(std::uint32_t stream, std::uint8_t choice)
{
    wire::StreamOpen open;
    open.stream = stream;
    open.codec = choice % 8 == 7 ? wire::Codec::kAv1 : wire::Codec::kH264;
    open.coded_width = choice == 0xff ? wire::kMaxCodedSide + 1 : 64;
    open.coded_height = choice / 8 == 30 ? 0 : 48;
    open.rotation = choice / 8 == 29 ? 45 : 0;
    open.bit_rate = choice / 8 == 28 ? 0xffffffff : 0;
    return open;
}

/// What a guest keeps in mind.
struct BriefGuest {
    std::array<std::uint32_t, 4> serials{}; ///< of three streams' units
    wire::Ping asked;                       ///< what it was asked last
};

/// Appends a message that may well be right about one of three streams, or one of any kind.
inline void append(Input &in, BriefGuest &guest, Bytes &out)
{
    static const Bytes data(300, 0xda);
    const std::uint8_t kind = in.byte();
    const std::uint8_t choice = in.byte();
    const std::uint32_t stream = 1 + kind / 16 % 3u;
    std::uint32_t &serial = guest.serials[stream];
    wire::Ping asked = guest.asked;
    switch (kind % 16) {
    case 0:
    case 1:
        serial = 0;
        return wire::encode(stream_open(stream + (kind >= 0xe0 ? choice : 0u), choice), out);
    case 2:
    case 3:
    case 4:
    case 5: {
        wire::AccessUnit unit;
        unit.stream = stream;
        unit.serial = choice >= 0xf8 ? serial + choice - 0xfb : serial++;
        unit.epoch = choice / 16 % 4 == 3 ? 1 : 0;
        unit.flags = choice % 8;
        unit.pts = serial * std::int64_t{40'000'000};
        unit.data = std::span(data).first(1u + in.byte());
        unit.total_size = static_cast<std::uint32_t>(unit.data.size())
                          + (kind % 16 > 3 ? choice >= 0xc0 ? wire::kMaxAccessUnit - 300 : 1u + choice / 4 : 0u);
        return wire::encode(unit, out);
    }
    case 6:
    case 7: {
        const std::uint32_t offset = 1u + in.byte();
        return wire::encode(
            wire::AccessUnitChunk{stream, serial - (choice % 8 != 7), offset, std::span(data).first(1u + choice / 4)},
            out);
    }
    case 8:
    case 9: {
        wire::Geometry geometry;
        geometry.stream = stream + (choice == 0xff ? in.byte() : 0u);
        geometry.serial = choice % 16;
        geometry.target = {choice / 16, 0, choice % 5 ? 64u : 0u, 48};
        if (choice % 3)
            geometry.visible = {geometry.target};
        if (choice / 32 == 7)
            geometry.crop = {0, 0, 1u << choice % 16, 65u << 16};
        return wire::encode(geometry, out);
    }
    case 10:
        return wire::encode(
            wire::PlayState{stream, choice % 4u, choice & 8 ? wire::PlayMode::kPaused : wire::PlayMode::kPlaying}, out);
    case 11:
        return wire::encode(wire::StreamClose{stream, static_cast<wire::Reason>(choice % 20)}, out);
    case 12: {
        const std::uint64_t received = in.number<std::uint32_t>();
        const std::uint64_t replied = choice % 4 ? received + in.byte() : in.byte();
        if (choice >= 0xe0)
            asked = {choice % 8u, choice};
        return wire::encode(wire::Pong{asked.id, asked.sent, received, replied}, out);
    }
    case 13:
        out.insert(out.end(), greeting().begin(), greeting().end());
        if (choice >= 0x80)
            out[out.size() - greeting().size() + wire::kHeaderSize + wire::kHelloMagic.size() + 4] ^=
                choice; // another nonce
        return;
    default: {
        const std::uint8_t number = type(in);
        return append_message(number, choice & kFlagsThatMeanMuch, in.borrow(choice / 32 * 4u), out);
    }
    }
}

} // namespace spice_overlay::fuzz
