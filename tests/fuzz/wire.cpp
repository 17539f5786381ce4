// SPDX-License-Identifier: LGPL-2.1-or-later
// The wire parser, the deframer and the client's session, with a guest that may send anything.
#include "portclient/session.h"
#include "speaker.h"

#include <map>
#include <utility>

namespace spice_overlay::fuzz {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr unsigned kMostStreams = 3;

/// Holds the session to what it promises its listener.
class Client : public Session::Listener {
public:
    explicit Client(Input &input) : in(input), session(hello(), *this) {}

    static wire::Hello hello()
    {
        wire::Hello hello;
        hello.max_streams = kMostStreams;
        hello.codecs = {{wire::Codec::kH264, 0, 100, 51, 4096, 2304}, {wire::Codec::kMjpeg, 0, -1, -1, 0, 0}};
        return hello;
    }

    wire::Reason open(const wire::StreamOpen &open) override
    {
        require(!live.contains(open.stream), "a stream is opened once");
        require(*wire::name(open.codec), "a codec has a name");
        require(live.size() < kMostStreams, "no more streams than were announced");
        require(open.coded_width > 0 && open.coded_height > 0
                    && std::uint64_t{open.coded_width} * open.coded_height <= wire::kMaxCodedArea,
                "a picture has a possible size");
        require(open.aspect_num > 0 && open.aspect_den > 0 && open.frame_rate_den > 0, "no denominator is 0");
        if (in.rarely(8))
            return wire::Reason::kNoResources;
        live[open.stream] = {};
        return wire::Reason::kNone;
    }
    void geometry(const wire::Geometry &g) override
    {
        Stream &s = alive(g.stream);
        require(std::int64_t{g.serial} > s.geometry, "geometry never goes back");
        s.geometry = g.serial;
    }
    void access_unit(const wire::AccessUnit &unit) override
    {
        Stream &s = alive(unit.stream);
        require(unit.epoch == s.epoch, "no unit of another epoch");
        require(unit.data.size() == unit.total_size && !unit.data.empty(), "a unit is whole");
        require(!s.needs_key || (unit.flags & wire::kKey), "a key unit comes after need_key()");
        s.needs_key = false;
        for (const std::uint8_t byte : unit.data) // a sanitizer sees one that is gone
            sum += byte;
        require(++s.queued <= 16, "no more units than were granted");
        react(unit.stream, s);
    }
    void play_state(const wire::PlayState &state) override
    {
        Stream &s = alive(state.stream);
        require(state.epoch >= s.epoch, "no epoch comes again");
        s.epoch = state.epoch;
    }
    void close(std::uint32_t stream, wire::Reason reason) override
    {
        require(*wire::describe(reason), "a reason has a text");
        require(live.erase(stream) == 1, "only a live stream ends");
    }
    void transmit(std::span<const std::uint8_t> bytes) override
    {
        Bytes sent(bytes.begin(), bytes.end());
        read_messages(sent, [this](const wire::Message &message) {
            if (const auto *hello = std::get_if<wire::Hello>(&message))
                guest.peer_nonce = hello->nonce;
            else if (const auto *accept = std::get_if<wire::StreamAccept>(&message))
                credits[accept->stream] = {};
            else if (const auto *credit = std::get_if<wire::Credit>(&message))
                grant(*credit);
        });
        require(sent.empty(), "whole messages are sent");
    }

    void grant(const wire::Credit &credit)
    {
        wire::Credit &before = credits[credit.stream];
        require(credit.bytes >= before.bytes && credit.units >= before.units, "credit never shrinks");
        before = credit;
    }
    struct Stream {
        std::uint32_t epoch = 0;
        std::int64_t geometry = -1;
        std::uint32_t queued = 0;
        bool needs_key = false;
    };
    /// What a viewer may do when a unit has come, in the middle of feed().
    void react(std::uint32_t id, Stream &s);
    Stream &alive(std::uint32_t id)
    {
        const auto found = live.find(id);
        require(found != live.end(), "only live streams are heard of");
        return found->second;
    }

    Input &in;
    Session session;
    Speaker guest;
    std::map<std::uint32_t, Stream> live;
    std::map<std::uint32_t, wire::Credit> credits;
    std::int64_t now = 1000 * 1000 * kMs;
    std::uint64_t sum = 0;
};

void Client::react(std::uint32_t id, Stream &s)
{
    switch (in.byte() % 16) {
    case 0:
        s.needs_key = true;
        return session.need_key(id);
    case 1:
        live.erase(id);
        return session.close_stream(id, wire::Reason::kDecoderFailed);
    case 2:
        return session.presented(id, in.byte());
    case 3:
        return;
    default:
        session.units_done(id, std::exchange(s.queued, 0), now);
    }
}

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
    Client client(in);
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
    if (wire::decode(raw, message, why)) {
        fuzz::Bytes again;
        if (!std::holds_alternative<wire::Unknown>(message))
            wire::encode(message, again); // asserts that what was decoded keeps to the limits
    }
    fuzz::Input none(nullptr, 0);
    fuzz::Client client(none);
    client.session.port_opened(client.now, 0x3131313131313131);
    client.session.feed(raw, client.now);
    return 0;
}
