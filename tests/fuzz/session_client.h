// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/session.h"
#include "speaker.h"

#include <map>
#include <utility>

namespace spice_overlay::fuzz {

inline constexpr unsigned kMostStreams = 3;

/// Holds the session to what it promises its listener.
class Client : public Session::Listener {
public:
    /// `assembly`: bytes for units that come in parts. The sanitizer takes long for memory that nobody writes, too.
    Client(Input &input, std::size_t assembly) : in(input), session(hello(), *this, assembly) {}

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
        look_at(unit.data);
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
            else if (const auto *ping = std::get_if<wire::Ping>(&message))
                guest.asked = *ping;
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
};

inline void Client::react(std::uint32_t id, Stream &s)
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

} // namespace spice_overlay::fuzz
