// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's session with a guest that has been greeted already and says little: as `wire`, in short executions.
#include "raw_message.h"
#include "session_client.h"

namespace spice_overlay::fuzz {
namespace {

constexpr std::uint64_t kNonce = 1;     ///< of the client
constexpr std::size_t kAssembly = 1024; ///< bytes of units that come in parts

const Bytes &greeting()
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

wire::Message open(std::uint32_t stream, std::uint8_t choice)
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

/// A message that may well be right about one of three streams, or one of any kind.
void append(Input &in, std::array<std::uint32_t, 4> &serials, wire::Ping asked, Bytes &out)
{
    static const Bytes data(300, 0xda);
    const std::uint8_t kind = in.byte();
    const std::uint8_t choice = in.byte();
    const std::uint32_t stream = 1 + kind / 16 % 3u;
    std::uint32_t &serial = serials[stream];
    switch (kind % 16) {
    case 0:
    case 1:
        serial = 0;
        return wire::encode(open(stream + (kind >= 0xe0 ? choice : 0u), choice), out);
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

/// What the viewer does meanwhile.
void meanwhile(Client &client, std::uint8_t choice)
{
    const std::uint32_t stream = 1 + choice / 8 % 3u;
    const auto found = client.live.find(stream);
    switch (choice % 8) {
    case 0:
        client.now += std::int64_t{choice} * 100 * kMs;
        (void)client.session.tick(client.now);
        return;
    case 1:
        if (found != client.live.end())
            client.session.units_done(stream, std::exchange(found->second.queued, 0), client.now);
        return;
    case 2:
        if (found != client.live.end())
            found->second.needs_key = true;
        return client.session.need_key(stream);
    case 3:
        client.live.erase(stream);
        return client.session.close_stream(stream, wire::Reason::kClosedByUser);
    case 4:
        client.session.decode_time(stream, choice - 100);
        return client.session.presented(stream, choice);
    case 5:
        client.now += choice * kMs;
        return client.session.late(stream, 1);
    case 6:
        client.session.stream_state(stream, wire::Reason::kNoClient);
        return client.session.ping(client.now);
    default:
        if (choice == 0xff)
            client.session.port_closed();
        else if (choice >= 0xf0)
            client.session.port_opened(client.now, kNonce);
    }
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay;
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    Client client(in, kAssembly);
    Session &session = client.session;
    session.port_opened(client.now, kNonce);
    session.feed(greeting(), client.now);
    require(session.established(), "a conversation is begun by one greeting");
    std::array<std::uint32_t, 4> serials{};
    Bytes bytes;
    bytes.reserve(2048);
    for (int steps = 0; steps < 12 && !in.empty(); ++steps) {
        const std::uint8_t choice = in.byte();
        if (choice >= 0x80)
            meanwhile(client, choice);
        append(in, serials, client.guest.asked, bytes);
        if (choice % 8 == 7)
            continue; // it comes with the next
        const std::size_t cut = choice % 8 == 6 ? std::min<std::size_t>(bytes.size(), choice) : bytes.size();
        session.feed(std::span(bytes).first(cut), client.now);
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
        require(session.established() || client.live.empty(), "no stream without a conversation");
    }
    const Session::Counters &counters = session.counters();
    require(counters.bitstream_bytes <= counters.wire_bytes, "a bitstream comes by the wire");
    require(counters.access_units + counters.stale_units <= counters.messages, "a unit comes in a message");
    require(counters.max_in_flight <= 100'000'000 / 8 / 4, "credit stays within the largest window");
    session.port_closed();
    require(client.live.empty(), "a port that closes ends all streams");
    return 0;
}
