// SPDX-License-Identifier: LGPL-2.1-or-later
// Players that break the rules, stop, or ask too much; and anything at any time.
#include "relay_kit.h"

#include <algorithm>
#include <random>

namespace spice_overlay::test {
namespace {

// ---- hostile and broken players

TEST_F(RelayTest, garbage_hurts_only_the_player_that_sends_it)
{
    client_comes();
    auto bad = player(), good = player();
    bad->open(1);
    good->open(1);
    pump();
    accept(opens[0].stream);
    accept(opens[1].stream);
    good->group(1, 1);
    bad->send_bytes({0, 0, 0, 0});
    pump();
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kProtocolError}}));
    std::size_t before = units.size();
    for (int i = 0; i < 200; i++)
        bad->send_bytes(Bytes(1000, static_cast<std::uint8_t>(i)));
    good->unit(1);
    pump();
    EXPECT_EQ(units.size(), before + 1);
    EXPECT_EQ(good->state(1), Reason::kNone);
}

TEST_F(RelayTest, units_out_of_order_close_that_stream_alone)
{
    client_comes();
    auto one = player();
    one->open(1);
    one->open(2);
    pump();
    accept(opens[0].stream);
    accept(opens[1].stream);
    Bytes bytes, data(100);
    std::vector<std::size_t> ends;
    wire::encode_access_unit({.stream = 1, .serial = 17, .pts = now, .data = data}, bytes, ends);
    one->send_bytes(bytes);
    pump();
    EXPECT_EQ(one->closes, (std::vector<wire::StreamClose>{{1, Reason::kProtocolError}}));
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kProtocolError}}));
    one->unit(2, wire::kKey);
    pump();
    EXPECT_EQ(units.size(), 1u);
}

TEST_F(RelayTest, units_as_far_apart_in_time_as_can_be_said_are_passed_on)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    const Bytes data(100);
    std::uint32_t serial = 0;
    for (const std::int64_t pts : {-wire::kMaxTime, wire::kMaxTime}) {
        Bytes bytes;
        std::vector<std::size_t> ends;
        wire::encode_access_unit({.stream = 1, .serial = serial++, .flags = wire::kKey, .pts = pts, .data = data},
                                 bytes, ends);
        one->send_bytes(bytes);
        pump();
    }
    ASSERT_EQ(units.size(), 2u);
    EXPECT_TRUE(closes.empty());
}

TEST_F(RelayTest, player_stopped_in_mid_unit_loses_its_picture_and_blocks_nobody)
{
    client_comes();
    auto stopped = player(), good = player();
    stopped->open(1);
    good->open(1);
    pump();
    accept(opens[0].stream);
    accept(opens[1].stream);
    stopped->group(1, 2);
    Bytes bytes, data(100'000);
    std::vector<std::size_t> ends;
    wire::encode_access_unit({.stream = 1, .serial = 3, .pts = now, .data = data}, bytes, ends);
    bytes.resize(40'000); // in the middle of a chunk
    stopped->send_bytes(bytes);
    stopped->answers_pings = false;
    std::int64_t began = now;
    std::size_t sent = 0;
    while (closes.empty() && now < began + 20 * kSecond) {
        good->unit(1, sent % 10 ? 0 : wire::kKey);
        sent++;
        stopped->relayed.tick(now);
        pass(40 * kMs);
    }
    ASSERT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kShuttingDown}}));
    EXPECT_LE(now - began, 5 * kSecond);
    EXPECT_GE(now - began, 3 * kSecond);
    EXPECT_EQ(units.size(), sent + 3);
    EXPECT_EQ(good->state(1), Reason::kNone);

    // It wakes, and ends its unit.
    stopped->answers_pings = true;
    Bytes whole;
    ends.clear();
    wire::encode_access_unit({.stream = 1, .serial = 3, .pts = now, .data = data}, whole, ends);
    stopped->send_bytes(Bytes(whole.begin() + 40'000, whole.end()));
    pump();
    ASSERT_EQ(opens.size(), 3u);
    accept(opens[2].stream);
    EXPECT_EQ(stopped->state(1), Reason::kNone);
}

TEST_F(RelayTest, message_that_never_ends_ends_the_streams_of_its_player)
{
    auto one = player();
    one->open(1);
    pump();
    one->send_bytes({0xff, 0x7f, 0x11});
    pass(11 * kSecond);
    one->relayed.tick(now);
    pump();
    EXPECT_TRUE(relay->streams().empty());
    EXPECT_LT(one->relayed.deadline(), now + 2 * kSecond) << "it is asked to begin anew";
}

TEST_F(RelayTest, silent_player_is_not_asked_while_nothing_of_it_is_shown)
{
    auto one = player();
    one->open(1);
    one->unit(1, wire::kKey);
    one->send(wire::PlayState{1, 0, wire::PlayMode::kPaused});
    for (int i = 0; i < 10; i++) { // the first exchanges of clocks
        now += 100 * kMs;
        one->relayed.tick(now);
        one->take();
    }
    EXPECT_LT(one->relayed.deadline(), 0);
    client_comes();
    accept(opens[0].stream);
    one->relayed.tick(now);
    EXPECT_LT(one->relayed.deadline(), 0) << "paused";
}

TEST_F(RelayTest, too_many_streams_are_refused_and_too_fast_ones_too)
{
    auto one = player();
    for (std::uint32_t stream = 1; stream <= 9; stream++)
        one->open(stream);
    ASSERT_EQ(one->rejects.size(), 1u);
    EXPECT_EQ(one->rejects[0], (wire::StreamReject{9, Reason::kTooManyStreams}));
    for (std::uint32_t stream = 10; stream <= 60; stream++) {
        one->open(stream);
        one->send(wire::StreamClose{stream, Reason::kClosedByUser});
        one->send(wire::StreamClose{stream - 1, Reason::kClosedByUser});
        one->send(wire::StreamClose{1, Reason::kClosedByUser});
    }
    EXPECT_GT(std::count_if(one->rejects.begin(), one->rejects.end(),
                            [](const auto &reject) { return reject.reason == Reason::kNoResources; }),
              40);
    now += 2 * kSecond;
    one->rejects.clear();
    one->open(61);
    EXPECT_TRUE(one->rejects.empty());
}

TEST_F(RelayTest, flood_of_messages_is_read_no_faster_than_allowed)
{
    auto one = player();
    one->open(1);
    EXPECT_LT(one->relayed.throttled_until(), 0);
    int sent = 0;
    while (one->relayed.throttled_until() < 0 && sent < 100'000) {
        one->place(1, 1);
        sent++;
    }
    EXPECT_LT(sent, 10'000);
    EXPECT_GT(one->relayed.throttled_until(), now);
    now = one->relayed.throttled_until();
    one->relayed.tick(now);
    EXPECT_LT(one->relayed.throttled_until(), 0);
}

TEST_F(RelayTest, flood_of_bytes_is_read_no_faster_than_allowed)
{
    auto one = player();
    one->open(1);
    int sent = 0;
    while (one->relayed.throttled_until() < 0 && sent < 10'000) {
        one->unit(1, wire::kKey, 1u << 20);
        sent++;
    }
    EXPECT_LE(sent, 70);
    EXPECT_LE(relay->memory_used(), 2u << 20);
}

TEST_F(RelayTest, nothing_more_is_said_of_a_stream_that_the_client_has_closed)
{
    client_comes();
    auto bad = player();
    for (std::uint32_t stream : {1u, 2u})
        bad->open(stream);
    pump();
    accept(opens[0].stream);
    bad->unit(1, wire::kKey);
    pump();
    // The port takes nothing for a while.
    for (std::uint32_t i = 1; i <= 4000; i++) {
        bad->send(wire::PlayState{1, i, i % 2 ? wire::PlayMode::kPaused : wire::PlayMode::kPlaying});
        bad->place(1, static_cast<int>(i));
        bad->send(wire::PlayState{2, 0, i % 2 ? wire::PlayMode::kPlaying : wire::PlayMode::kPaused});
        relay->update(now);
    }
    EXPECT_LT(outgoing.outbox.control_bytes(), 200u);
    geometries.clear();
    from_client(wire::StreamClose{opens[0].stream, Reason::kTooLarge});
    EXPECT_TRUE(geometries.empty());
    ASSERT_EQ(play_states.size(), 1u) << "of the other stream";
    EXPECT_EQ(play_states[0], (wire::PlayState{opens[1].stream, 0, wire::PlayMode::kPaused}));
}

TEST_F(RelayTest, flood_of_geometry_takes_little_of_the_link_and_the_newest_is_told)
{
    client_comes();
    std::vector<std::unique_ptr<ModelPlayer>> players;
    wire::Geometry geometry;
    geometry.target = {0, 0, 640, 360};
    for (int i = 0; i < 256; i++)
        geometry.visible.push_back({i, i, 1, 1});
    for (int i = 0; i < 2; i++) {
        players.push_back(player());
        for (std::uint32_t stream = 1; stream <= 8; stream++)
            players[static_cast<std::size_t>(i)]->open(stream);
    }
    pump();
    ASSERT_EQ(opens.size(), 16u);
    for (int i = 0; i < 1000; i++) {
        for (auto &each : players)
            for (int n = 0; n < 4; n++) {
                geometry.stream = 1 + static_cast<std::uint32_t>(4 * i + n) % 8;
                geometry.serial++;
                each->send(geometry);
            }
        pass(kMs);
    }
    Bytes bytes;
    for (const wire::Geometry &told : geometries)
        wire::encode(told, bytes);
    EXPECT_LT(bytes.size(), 2u << 20) << "in a second; a link of 100 Mbit/s carries 12 MiB";
    EXPECT_GT(geometries.size(), 16u * 20);
    pass(100 * kMs); // what is left of it
    pass(100 * kMs);
    geometries.clear();
    geometry.visible.resize(1);
    for (int x = 1; x <= 2; x++) {
        geometry.stream = 1;
        geometry.serial++;
        geometry.target.x = x;
        players[0]->send(geometry);
        pump();
        ASSERT_EQ(geometries.size(), 1u) << "the first at once, the next soon";
        EXPECT_EQ(geometries[0].target.x, 1);
    }
    ASSERT_GT(relay->deadline(), now);
    EXPECT_LE(relay->deadline(), now + 10 * kMs);
    pass(relay->deadline() - now);
    ASSERT_EQ(geometries.size(), 2u);
    EXPECT_EQ(geometries[1].target.x, 2);
}

TEST_F(RelayTest, flood_of_play_states_is_told_by_the_newest_and_never_behind_its_units)
{
    client_comes();
    auto bad = player();
    bad->open(1);
    bad->send(wire::PlayState{1, 0});
    pump();
    EXPECT_TRUE(play_states.empty()) << "a stream begins like that";
    accept(opens[0].stream);
    for (std::uint32_t epoch = 1; epoch <= 1000; epoch++) {
        bad->send(wire::PlayState{1, epoch});
        bad->unit(1, wire::kKey, 1000, epoch);
        pump(); // which sees that each unit is of an epoch that has been told
        ASSERT_FALSE(play_states.empty() || units.empty()) << "the first at once";
        pass(kMs);
    }
    EXPECT_LE(play_states.size(), 51u);
    pass(100 * kMs);
    ASSERT_FALSE(units.empty());
    EXPECT_EQ(units.back().epoch, 1000u);
    std::size_t before = play_states.size();
    for (int i = 0; i < 100; i++) {
        bad->send(wire::PlayState{1, 1000});
        pass(kMs);
    }
    EXPECT_EQ(play_states.size(), before) << "nothing new";
}

TEST_F(RelayTest, stream_that_ends_before_the_client_has_heard_of_it_is_never_told)
{
    client_comes();
    auto bad = player();
    bad->open(1);
    bad->place(1, 1);
    relay->update(now); // the port takes nothing
    bad->send(wire::StreamClose{1, Reason::kClosedByUser});
    relay->update(now);
    EXPECT_EQ(outgoing.outbox.control_bytes(), 0u);
    bad->open(2);
    pump();
    EXPECT_EQ(order, (std::vector<std::string>{"open"}));
    bad->place(2, 1);
    relay->update(now);
    bad->send(wire::StreamClose{2, Reason::kClosedByUser});
    pump();
    EXPECT_EQ(order, (std::vector<std::string>{"open", "close"})) << "what it was like does not matter any more";
}

TEST_F(RelayTest, units_that_wait_for_a_client_that_lets_none_come_are_counted_as_kept)
{
    client_comes();
    std::vector<std::unique_ptr<ModelPlayer>> players;
    for (std::size_t i = 0; i < 4; i++) {
        players.push_back(player());
        players[i]->open(1);
        players[i]->send(wire::PlayState{1, 0, wire::PlayMode::kPaused});
        pump();
        from_client(wire::StreamAccept{opens[i].stream});
        credit(opens[i].stream, 1u << 30, 1);
    }
    for (int i = 0; i < 6; i++) {
        for (auto &each : players)
            each->unit(1, wire::kKey, 4u << 20);
        pass(kSecond);
        std::size_t held = 0;
        for (const auto &stream : relay->streams())
            held += stream->bytes_held();
        EXPECT_LE(held, relay->memory_used() + 4 * relay->limits().stream_spare);
        EXPECT_LE(held, std::size_t{64} << 20);
    }
    EXPECT_EQ(units.size(), 4u);
    for (const wire::StreamOpen &open : opens)
        credit(open.stream);
    EXPECT_GE(units.size(), 8u);
    players.clear();
    pump();
    EXPECT_EQ(relay->memory_used(), 0u);
}

TEST_F(RelayTest, what_others_keep_leaves_a_stream_enough_to_go_on_with)
{
    make_relay({.stream_memory = 1u << 20, .memory = 1u << 20, .stream_spare = 100'000});
    client_comes();
    auto greedy = player(), good = player();
    greedy->open(1);
    good->open(1);
    pump();
    greedy->group(1, 19, 50'000);
    for (const wire::StreamOpen &open : opens)
        from_client(wire::StreamAccept{open.stream});
    credit(opens[1].stream);
    ASSERT_GT(relay->memory_used(), (1u << 20) - 50'100u);
    for (int i = 0; i < 20; i++) {
        good->unit(1, i ? 0 : wire::kKey, 60'000);
        pump();
    }
    EXPECT_EQ(units.size(), 20u);
    good->unit(1, wire::kKey, 150'000);
    pump();
    EXPECT_EQ(units.size(), 20u);
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[1].stream, Reason::kNoResources}}));
    EXPECT_EQ(good->state(1), Reason::kNoResources) << "it shows itself what there is no memory for";
    greedy->send(wire::PlayState{1, 1});
    pass(11 * kSecond);
    ASSERT_EQ(opens.size(), 3u);
    accept(opens[2].stream);
    good->unit(1, wire::kKey, 150'000);
    pump();
    EXPECT_EQ(units.size(), 21u);
}

TEST_F(RelayTest, player_that_does_not_read_is_given_up)
{
    auto one = player();
    one->open(1);
    int unread = 0;
    Bytes ping;
    wire::encode(wire::Ping{1, 2}, ping);
    while (!one->relayed.hopeless() && unread < 1'000'000) {
        one->relayed.feed(ping, now += kMs); // no flood: it would not be answered
        unread++;
    }
    EXPECT_LT(unread, 20'000);
}

// ---- anything at any time: the rules of the protocol are checked by the kit

TEST_F(RelayTest, whatever_happens_the_client_gets_what_the_protocol_allows)
{
    std::mt19937 random(20261124);
    auto any = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
    make_relay({.stream_memory = 60'000, .player_memory = 90'000, .memory = 150'000, .opens_per_second = 1000});
    std::vector<std::unique_ptr<ModelPlayer>> players(3);
    struct Stream {
        std::size_t player;
        std::uint32_t number, epoch = 0;
    };
    std::vector<Stream> live;
    std::vector<std::uint32_t> next(3, 1), answered;
    auto lose = [&](std::size_t player) {
        players[player].reset();
        std::erase_if(live, [&](const Stream &stream) { return stream.player == player; });
        next[player] = 1;
    };
    for (int step = 0; step < 40'000 && !HasFailure(); step++) {
        SCOPED_TRACE(step);
        std::size_t at = any(3);
        if (!players[at])
            players[at] = player();
        ModelPlayer &one = *players[at];
        switch (any(40)) {
        case 0:
            if (next[at] < 250) {
                live.push_back({at, next[at]});
                one.open(next[at]++);
                one.take();
                if (!one.rejects.empty())
                    live.pop_back();
                one.rejects.clear();
            }
            break;
        case 1:
            if (any(20) == 0)
                lose(at);
            break;
        case 2:
            if (any(20) == 0) {
                one.send_bytes({0, 0, 0, 0}); // and its conversation begins anew
                lose(at);
            }
            break;
        case 3:
            one.relayed.hold(any(3) ? Reason::kNone : Reason::kSessionInactive);
            break;
        case 4:
            if (any(4) == 0)
                outgoing.established ? client_goes() : client_comes(static_cast<std::uint16_t>(1 + any(6)));
            break;
        default:
            break;
        }
        if (!live.empty()) {
            std::size_t which = any(live.size());
            Stream &stream = live[which];
            ModelPlayer &owner = *players[stream.player];
            switch (any(12)) {
            case 0:
                owner.send(wire::PlayState{stream.number, stream.epoch,
                                           any(2) ? wire::PlayMode::kPlaying : wire::PlayMode::kPaused});
                break;
            case 1:
                if (any(3) == 0)
                    owner.send(wire::PlayState{stream.number, stream.epoch += 2, wire::PlayMode::kPlaying});
                break;
            case 2:
                owner.place(stream.number, step % 1000);
                break;
            case 3:
                if (any(10) == 0) {
                    owner.send(wire::StreamClose{stream.number, any(2) ? Reason::kEndOfStream : Reason::kClosedByUser});
                    live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
                }
                break;
            default:
                owner.unit(stream.number, any(6) ? (any(3) ? 0 : wire::kDroppable) : wire::kKey,
                           1 + any(any(20) ? 3000 : 80'000), stream.epoch);
            }
        }
        for (const wire::StreamOpen &open : opens) {
            if (std::ranges::find(answered, open.stream) != answered.end() || any(4))
                continue;
            answered.push_back(open.stream);
            if (any(5))
                from_client(wire::StreamAccept{open.stream});
            else
                from_client(wire::StreamReject{open.stream, any(2) ? Reason::kTooLarge : Reason::kNoResources});
        }
        if (!opens.empty() && outgoing.established) {
            std::uint32_t stream = opens[opens.size() - 1 - any(std::min<std::size_t>(opens.size(), 8))].stream;
            bool known = std::ranges::find(answered, stream) != answered.end();
            auto [bytes, count] = taken(stream);
            if (known && any(3) == 0)
                credit(stream, bytes + any(200'000), count + static_cast<std::uint32_t>(any(9)));
            else if (any(60) == 0)
                from_client(wire::NeedKey{stream});
            else if (any(300) == 0)
                from_client(wire::StreamClose{stream, Reason::kDecoderFailed});
        }
        if (opens.size() > 200) {
            opens.erase(opens.begin(), opens.end() - 50);
        }
        if (any(200) == 0)
            answers_pings = !answers_pings;
        now += static_cast<std::int64_t>(any(30)) * kMs;
        for (auto &each : players)
            if (each)
                each->relayed.tick(now);
        pump();
        for (auto &each : players)
            EXPECT_TRUE(!each || each->closes.empty()) << "players that keep to the rules keep their streams";
        if (relay->stalled(now)) {
            client_goes(Reason::kLinkTooSlow);
            answers_pings = true;
        }
        EXPECT_LE(relay->memory_used(), 150'000u);
        EXPECT_LE(relay->in_flight(), 512u * 1024 + 2 * wire::kChunkPayload);
    }
    EXPECT_GT(units.size(), 1000u) << "nothing much was shown";
    players.clear();
    pump();
    EXPECT_EQ(relay->memory_used(), 0u);
}

} // namespace
} // namespace spice_overlay::test
