// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_kit.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace spice_overlay::test {
namespace {

/// Holds the session to what it promises its listener, whatever comes in.
class Contract : public Session::Listener {
public:
    wire::Reason open(const wire::StreamOpen &stream) override
    {
        EXPECT_FALSE(live.contains(stream.stream));
        EXPECT_LE(std::uint64_t{stream.coded_width} * stream.coded_height, wire::kMaxCodedArea);
        EXPECT_NE(stream.coded_width * stream.coded_height, 0u);
        EXPECT_NE(stream.aspect_num * stream.aspect_den, 0u);
        if (stream.stream % 7 == 0)
            return wire::Reason::kNoResources;
        live[stream.stream] = {};
        EXPECT_LE(live.size(), 3u);
        return wire::Reason::kNone;
    }
    void geometry(const wire::Geometry &g) override
    {
        ASSERT_TRUE(live.contains(g.stream));
        EXPECT_GE(std::int64_t{g.serial}, live[g.stream].serial);
        live[g.stream].serial = std::int64_t{g.serial} + 1;
    }
    void access_unit(const wire::AccessUnit &unit) override
    {
        ASSERT_TRUE(live.contains(unit.stream));
        EXPECT_EQ(unit.epoch, live[unit.stream].epoch);
        EXPECT_EQ(unit.data.size(), unit.total_size);
        EXPECT_LE(unit.data.size(), wire::kMaxAccessUnit);
        EXPECT_LE(++live[unit.stream].queued, 16u);
        ++units;
        switch (++turn % 8) {
        case 0: session->need_key(unit.stream); break;
        case 1: session->units_done(unit.stream, live[unit.stream].queued, now); live[unit.stream].queued = 0; break;
        case 2:
            if (turn % 64 == 2) {
                live.erase(unit.stream);
                session->close_stream(unit.stream, wire::Reason::kDecoderFailed);
            }
            break;
        }
    }
    void play_state(const wire::PlayState &state) override
    {
        ASSERT_TRUE(live.contains(state.stream));
        EXPECT_GE(state.epoch, live[state.stream].epoch);
        live[state.stream].epoch = state.epoch;
    }
    void close(std::uint32_t stream, wire::Reason) override { EXPECT_EQ(live.erase(stream), 1u); }
    void transmit(std::span<const std::uint8_t> bytes) override { sent += bytes.size(); }

    struct Stream {
        std::uint32_t epoch = 0;
        std::uint32_t queued = 0;
        std::int64_t serial = 0;
    };
    std::map<std::uint32_t, Stream> live;
    Session *session = nullptr;
    std::int64_t now = 1000 * kSecond;
    std::uint64_t units = 0, sent = 0;
    unsigned turn = 0;
};

std::vector<Bytes> conversation()
{
    std::vector<Bytes> messages;
    auto add = [&](const wire::Message &message) { wire::encode(message, messages.emplace_back()); };
    add(guest_hello(0));
    add(guest_hello(kClientNonce));
    for (std::uint32_t id : {1u, 2u, 3u}) {
        add(geometry(id, 1));
        add(h264(id));
    }
    wire::UnitReference previous;
    for (std::uint32_t i = 0; i < 6; ++i) {
        Bytes data(20 + i, static_cast<std::uint8_t>(i));
        std::vector<std::size_t> ends;
        wire::encode_access_unit({.stream = 1,
                                  .serial = i,
                                  .flags = i % 3 ? std::uint16_t{0} : std::uint16_t{wire::kKey},
                                  .pts = i * 40 * kMs,
                                  .data = data},
                                 messages.emplace_back(), ends, &previous);
        add(wire::AccessUnit{
            .stream = 2, .serial = i, .flags = wire::kKey, .total_size = 30, .data = std::span(data).first(20)});
        add(geometry(2, i + 2));
        add(wire::AccessUnitChunk{2, i, 20, std::span(data).first(10)});
    }
    add(wire::PlayState{1, 1});
    add(wire::Ping{1, 1});
    add(wire::StreamClose{3, wire::Reason::kEndOfStream});
    add(h264(4));
    return messages;
}

TEST(SessionFuzz, two_hundred_thousand_mutations_break_no_promise)
{
    const auto good = conversation();
    std::mt19937 random(4711);
    Contract contract;
    Session session(client_hello(), contract);
    contract.session = &session;
    std::uint64_t established = 0;
    for (int round = 0; round < 200'000 && !testing::Test::HasFailure(); ++round) {
        auto messages = good;
        Bytes bytes;
        for (unsigned change = 0; change < 1 + random() % 3; ++change) { // whole messages
            std::size_t a = random() % messages.size(), b = random() % messages.size();
            switch (random() % 4) {
            case 0: std::swap(messages[a], messages[b]); break;
            case 1: messages.insert(messages.begin() + static_cast<std::ptrdiff_t>(a), Bytes(messages[b])); break;
            case 2: messages[a].clear(); break;
            case 3: break;
            }
        }
        for (const Bytes &message : messages)
            bytes.insert(bytes.end(), message.begin(), message.end());
        for (unsigned change = 0; change < random() % 4; ++change) { // bytes
            std::size_t at = random() % bytes.size();
            if (random() % 2)
                bytes[at] = static_cast<std::uint8_t>(random());
            else
                bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
        }
        session.port_opened(contract.now, kClientNonce);
        for (std::size_t at = 0; at < bytes.size();) {
            std::size_t size = std::min<std::size_t>(1 + random() % 700, bytes.size() - at);
            session.feed(std::span(bytes).subspan(at, size), contract.now);
            at += size;
            contract.now += 60 * kMs;
            (void)session.tick(contract.now);
        }
        established += session.established();
        if (random() % 2)
            session.port_closed();
        EXPECT_TRUE(session.established() || contract.live.empty());
        EXPECT_LE(session.assembly_memory(), (32u << 20) + contract.live.size() * InboundStream::kKept);
    }
    EXPECT_GT(established, 50'000u);
    EXPECT_GT(contract.units, 200'000u);
}

} // namespace
} // namespace spice_overlay::test
