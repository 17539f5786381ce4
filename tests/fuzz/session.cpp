// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's session with a guest that has been greeted already and says little: as `wire`, in short executions.
#include "brief_guest.h"
#include "session_client.h"

namespace spice_overlay::fuzz {
namespace {

constexpr std::size_t kAssembly = 1024; ///< bytes of units that come in parts

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
    BriefGuest guest;
    Bytes bytes;
    bytes.reserve(2048);
    for (int steps = 0; steps < 12 && !in.empty(); ++steps) {
        const std::uint8_t choice = in.byte();
        if (choice >= 0x80)
            meanwhile(client, choice);
        guest.asked = client.guest.asked;
        append(in, guest, bytes);
        if (choice % 8 == 7)
            continue; // it comes with the next
        const std::size_t cut = choice % 8 == 6 ? std::min<std::size_t>(bytes.size(), choice) : bytes.size();
        session.feed(std::span(bytes).first(cut), client.now);
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
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
    return 0;
}
