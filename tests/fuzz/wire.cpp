// SPDX-License-Identifier: LGPL-2.1-or-later
// The wire parser, the deframer and the client's session, with a guest that may send anything.
#include "session_client.h"

namespace spice_overlay::fuzz {
namespace {

/// Bytes: one unit of a megabyte is too large, and so are many small ones together.
constexpr std::size_t kAssembly = 1u << 19;

/// One thing that happens to the session, input from the port aside.
void event(Client &client, unsigned kind)
{
    Session &session = client.session;
    const auto id = static_cast<std::uint32_t>(client.in.range(1, 8));
    const auto found = client.live.find(id);
    switch (kind) {
    case 0:
        return session.port_closed();
    case 1:
        return session.port_opened(client.now, 1 + client.in.byte());
    case 2:
        client.now += client.in.byte() * 60 * kMs;
        (void)session.tick(client.now);
        return;
    case 3:
        session.late(id, client.in.byte());
        return session.decode_time(id, client.in.number<std::int64_t>());
    case 4:
        if (found != client.live.end())
            session.units_done(id, std::exchange(found->second.queued, 0), client.now);
        return;
    case 5:
        if (found != client.live.end())
            found->second.needs_key = true;
        return session.need_key(id);
    case 6:
        client.live.erase(id);
        return session.close_stream(id, wire::Reason::kClosedByUser);
    default:
        session.stream_state(id, wire::Reason::kNoClient);
        session.client_state({wire::Reason::kNoClient, {}});
        return session.ping(client.now);
    }
}

void run(Input &in)
{
    Client client(in, kAssembly);
    Session &session = client.session;
    session.port_opened(client.now, 1);
    Bytes bytes;
    while (!in.empty()) {
        if (const unsigned kind = in.byte() % 32; kind < 8)
            event(client, kind);
        const std::size_t before = bytes.size();
        client.guest.next(in, bytes);
        damage(in, bytes, before);
        // All of it, or all but a piece that comes with the next.
        const std::size_t size = in.rarely(4) ? in.number<std::uint16_t>() % (bytes.size() + 1) : bytes.size();
        session.feed(std::span(bytes).first(size), client.now);
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        (void)session.to_local(in.number<std::uint16_t>());
        require(session.established() || client.live.empty(), "no stream without a conversation");
        require(session.assembly_memory() <= kAssembly + client.live.size() * InboundStream::kKept,
                "units in parts hold no more than they may");
    }
    const Session::Counters &counters = session.counters();
    require(counters.bitstream_bytes <= counters.wire_bytes, "a bitstream comes by the wire");
    require(counters.access_units + counters.stale_units <= counters.messages, "a unit comes in a message");
    require(counters.max_in_flight <= 100'000'000 / 8 / 4, "credit stays within the largest window");
    session.port_closed();
    require(client.live.empty(), "a port that closes ends all streams");
}

} // namespace
} // namespace spice_overlay::fuzz

/// The first byte tells whether the rest goes in as it is, as messages, or is a guest's choices.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay;
    fuzz::Input in(data, size);
    if (in.byte() % 4 != 3) {
        fuzz::run(in);
        return 0;
    }
    for (std::uint16_t number = 0; number < 64; ++number) // whatever a message has
        fuzz::require(*wire::describe(static_cast<wire::Reason>(number))
                          && *wire::name(static_cast<wire::Codec>(number))
                          && *wire::name(static_cast<wire::Type>(number)),
                      "every number has a text");
    wire::Message message;
    std::string why;
    const fuzz::Bytes raw = in.bytes(wire::kMaxMessageSize);
    const bool decoded = wire::decode(raw, message, why);
    if (raw.size() >= wire::kHeaderSize && raw[2] == 1 && (raw[0] | raw[1] << 8) == static_cast<int>(raw.size()))
        fuzz::require((wire::look_at_hello(raw) == wire::HelloHead::kRight) == decoded,
                      "what a HELLO begins with tells what becomes of it");
    if (decoded) {
        fuzz::Bytes again;
        if (!std::holds_alternative<wire::Unknown>(message))
            wire::encode(message, again); // asserts that what was decoded keeps to the limits
    }
    fuzz::Input none(nullptr, 0);
    fuzz::Client client(none, fuzz::kAssembly);
    client.session.port_opened(client.now, 0x3131313131313131);
    client.session.feed(raw, client.now);
    return 0;
}
