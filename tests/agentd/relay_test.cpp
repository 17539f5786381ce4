// SPDX-License-Identifier: LGPL-2.1-or-later
// The relay between model players and a model client, with a made-up clock.
#include "relay_kit.h"

#include <algorithm>

namespace spice_overlay::test {
namespace {

TEST_F(RelayTest, stream_reaches_the_client_under_a_number_of_its_own)
{
    client_comes();
    auto one = player(), other = player();
    one->open(1);
    other->open(1);
    one->place(1, 11);
    other->place(1, 22);
    pump();
    ASSERT_EQ(opens.size(), 2u);
    EXPECT_NE(opens[0].stream, opens[1].stream);
    EXPECT_EQ(opens[0].coded_width, 640u);
    ASSERT_EQ(geometries.size(), 2u);
    EXPECT_EQ(geometries[0].stream, opens[geometries[0].target.x == 11 ? 0 : 1].stream);
    accept(opens[0].stream);
    one->group(1, 2);
    other->group(1, 2);
    pump();
    ASSERT_EQ(units.size(), 3u);
    EXPECT_EQ(units[0].stream, opens[0].stream);
    EXPECT_EQ(units[0].flags, wire::kKey);
    EXPECT_EQ(one->state(1), Reason::kNone);
    EXPECT_EQ(other->state(1), std::nullopt) << "the client has not answered yet";
}

TEST_F(RelayTest, without_a_client_the_player_is_told_so_and_goes_on)
{
    auto one = player();
    ASSERT_EQ(one->client_states.size(), 1u);
    EXPECT_EQ(one->client_states[0].reason, Reason::kNoClient);
    one->open(1);
    pump();
    EXPECT_EQ(one->state(1), Reason::kNoClient);
    for (int i = 0; i < 1000; i++) {
        one->unit(1, i % 25 ? 0 : wire::kKey, 10'000);
        pass(40 * kMs);
    }
    EXPECT_TRUE(one->closes.empty()) << "credit comes back though nobody takes the units";
    EXPECT_TRUE(outgoing.outbox.front([](Bytes &) { return false; }).empty());
    client_comes();
    one->take();
    EXPECT_EQ(one->client_states.back().reason, Reason::kNone);
    ASSERT_EQ(one->client_states.back().codecs.size(), 1u);
    EXPECT_EQ(opens.size(), 1u);
}

TEST_F(RelayTest, late_client_gets_the_current_group_of_pictures_at_once)
{
    auto one = player();
    one->open(1);
    one->group(1, 3);
    std::int64_t key_came = now += 500 * kMs;
    one->unit(1, wire::kKey);
    for (int i = 0; i < 5; i++) {
        now += 40 * kMs;
        one->unit(1);
    }
    client_comes();
    ASSERT_EQ(opens.size(), 1u);
    accept(opens[0].stream);
    ASSERT_EQ(units.size(), 6u);
    EXPECT_TRUE(units[0].flags & wire::kKey);
    EXPECT_EQ(units[0].data[0], 4) << "the first group is over";
    for (std::uint32_t i = 0; i < 6; i++) {
        EXPECT_EQ(units[i].serial, i);
        EXPECT_EQ(units[i].pts, key_came + i * 40 * kMs + 100 * kMs);
    }
    one->unit(1);
    pump();
    EXPECT_EQ(units.size(), 7u);
    EXPECT_EQ(units.back().flags, 0) << "nothing is missing before it";
}

TEST_F(RelayTest, burst_that_waits_for_credit_loses_nothing)
{
    auto one = player();
    one->open(1);
    one->group(1, 19);
    client_comes();
    from_client(wire::StreamAccept{opens[0].stream});
    for (std::uint32_t credits = 5; units.size() < 20; credits += 5) { // while the client's decoder starts
        ASSERT_LT(credits, 30u);
        credit(opens[0].stream, 1u << 30, credits);
        pass(400 * kMs);
    }
    for (std::uint32_t i = 0; i < 20; i++) {
        EXPECT_EQ(units[i].data[0], i);
        EXPECT_FALSE(units[i].flags & wire::kDiscontinuity) << i;
    }
}

TEST_F(RelayTest, burst_is_left_for_the_next_group_when_that_begins_meanwhile)
{
    auto one = player();
    one->open(1);
    one->group(1, 199);
    client_comes();
    from_client(wire::StreamAccept{opens[0].stream});
    credit(opens[0].stream, 1u << 30, 2);
    one->unit(1, wire::kKey); // number 200
    one->unit(1);
    credit(opens[0].stream);
    ASSERT_GT(units.size(), 3u);
    EXPECT_EQ(units.back().data[0], 201);
    EXPECT_LT(units.size(), 100u) << "what can no longer be in time is not sent";
    auto key = std::find_if(units.begin() + 1, units.end(), [](const Unit &u) { return u.flags & wire::kKey; });
    ASSERT_NE(key, units.end());
    EXPECT_TRUE(key->flags & wire::kDiscontinuity);
}

TEST_F(RelayTest, client_that_needs_a_key_unit_gets_the_group_again_but_not_too_often)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    one->group(1, 3);
    pump();
    ASSERT_EQ(units.size(), 4u);
    one->need_keys.clear();
    pass(kSecond);
    from_client(wire::NeedKey{opens[0].stream});
    ASSERT_EQ(units.size(), 8u);
    EXPECT_EQ(units[4].data, units[0].data);
    EXPECT_EQ(units[4].pts, units[0].pts);
    EXPECT_EQ(units[4].flags, wire::kKey | wire::kDiscontinuity);
    EXPECT_EQ(units[4].serial, 4u);
    from_client(wire::NeedKey{opens[0].stream});
    from_client(wire::NeedKey{opens[0].stream});
    EXPECT_EQ(units.size(), 8u);
    EXPECT_EQ(relay->deadline(), now + 100 * kMs);
    pass(100 * kMs);
    EXPECT_EQ(units.size(), 12u);
    EXPECT_TRUE((one->take(), one->need_keys.empty()));
}

TEST_F(RelayTest, request_for_a_key_unit_is_passed_on_when_nothing_is_kept)
{
    make_relay({.stream_memory = 20'000});
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    one->take();
    EXPECT_TRUE(one->need_keys.empty()) << "a stream begins with one";
    one->group(1, 30); // more than is kept
    pump();
    EXPECT_EQ(units.size(), 31u) << "what is not kept is passed on all the same";
    EXPECT_EQ(relay->memory_used(), 0u);
    pass(kSecond);
    from_client(wire::NeedKey{opens[0].stream});
    one->take();
    EXPECT_EQ(one->need_keys.size(), 1u);
    one->unit(1);
    pump();
    EXPECT_EQ(units.size(), 31u) << "of no use without a key unit";
    one->unit(1, wire::kKey);
    pump();
    EXPECT_EQ(units.size(), 32u);
}

TEST_F(RelayTest, player_shows_the_video_itself_until_there_is_a_key_unit)
{
    make_relay({.stream_memory = 5'000});
    auto one = player();
    one->open(1);
    one->group(1, 10);
    pump();
    client_comes();
    accept(opens[0].stream);
    EXPECT_EQ(one->state(1), Reason::kNoClient) << "the client has taken it, but has nothing to show";
    one->unit(1, wire::kKey);
    pump();
    EXPECT_EQ(one->state(1), Reason::kNone);
}

TEST_F(RelayTest, memory_is_bounded_for_a_player_and_for_all)
{
    make_relay({.stream_memory = 100'000, .player_memory = 150'000, .memory = 250'000});
    auto one = player(), two = player();
    for (auto &each : {one.get(), two.get()})
        for (std::uint32_t stream = 1; stream <= 3; stream++) {
            each->open(stream);
            each->unit(stream, wire::kKey, 1000);
        }
    for (int i = 0; i < 200; i++) {
        for (std::uint32_t stream = 1; stream <= 3; stream++) {
            one->unit(stream, 0, 2000);
            EXPECT_LE(relay->memory_used(), 155'000u); // with what the other one has
        }
    }
    for (int i = 0; i < 200; i++)
        for (auto &each : {one.get(), two.get()})
            for (std::uint32_t stream = 1; stream <= 3; stream++) {
                each->unit(stream, i % 20 ? 0 : wire::kKey, 2500);
                EXPECT_LE(relay->memory_used(), 250'000u);
            }
    one.reset();
    two.reset();
    EXPECT_EQ(relay->memory_used(), 0u);
    EXPECT_TRUE(relay->streams().empty());
}

TEST_F(RelayTest, refusal_is_told_with_its_reason_and_the_next_client_is_asked_again)
{
    client_comes();
    auto one = player();
    one->open(1);
    one->group(1, 1);
    pump();
    from_client(wire::StreamReject{opens[0].stream, Reason::kUnsupportedProfile});
    EXPECT_EQ(one->state(1), Reason::kUnsupportedProfile);
    EXPECT_TRUE(one->closes.empty());
    pass(1000 * kSecond);
    EXPECT_EQ(opens.size(), 1u);
    client_goes();
    EXPECT_EQ(one->state(1), Reason::kNoClient);
    client_comes();
    ASSERT_EQ(opens.size(), 2u);
    EXPECT_GT(opens[1].stream, opens[0].stream);
    accept(opens[1].stream);
    EXPECT_EQ(one->state(1), Reason::kNone);
    EXPECT_EQ(units.size(), 2u);
    from_client(wire::StreamClose{opens[1].stream, Reason::kDecoderFailed});
    EXPECT_EQ(one->state(1), Reason::kDecoderFailed);
    auto told = [&](const char *what) {
        return std::any_of(lines.begin(), lines.end(), [&](auto &l) { return l.find(what) != std::string::npos; });
    };
    EXPECT_TRUE(told("stream 1 (H.264, 640x360) is redirected"));
    EXPECT_TRUE(told(wire::describe(Reason::kUnsupportedProfile)));
    EXPECT_TRUE(told(wire::describe(Reason::kDecoderFailed)));
}

TEST_F(RelayTest, stream_that_has_ended_is_closed_behind_its_last_unit)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    from_client(wire::StreamAccept{opens[0].stream});
    credit(opens[0].stream, 1u << 30, 2);
    one->group(1, 3);
    one->send(wire::StreamClose{1, Reason::kEndOfStream});
    pump();
    EXPECT_TRUE(closes.empty());
    credit(opens[0].stream);
    EXPECT_EQ(units.size(), 4u);
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kEndOfStream}}));
    EXPECT_EQ(order.back(), "close");
    EXPECT_TRUE(relay->streams().empty());
}

TEST_F(RelayTest, stream_that_has_ended_does_not_wait_for_ever_for_credit)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    from_client(wire::StreamAccept{opens[0].stream});
    credit(opens[0].stream, 1u << 30, 1);
    one->group(1, 3);
    one->send(wire::StreamClose{1, Reason::kEndOfStream});
    pump();
    one.reset();
    for (int i = 0; i < 100 && relay->deadline() >= 0; i++)
        pass(std::max<std::int64_t>(relay->deadline() - now, 1));
    EXPECT_EQ(closes.size(), 1u);
    EXPECT_LE(now, 1003 * kSecond);
    EXPECT_LT(relay->deadline(), 0);
}

TEST_F(RelayTest, player_that_dies_takes_its_picture_along_at_once)
{
    client_comes();
    auto one = player(), other = player();
    one->open(1);
    other->open(1);
    pump();
    accept(opens[0].stream);
    accept(opens[1].stream);
    one->group(1, 3);
    other->group(1, 3);
    pump();
    one.reset();
    pump();
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kShuttingDown}}));
    other->unit(1);
    pump();
    EXPECT_EQ(units.back().stream, opens[1].stream);
}

TEST_F(RelayTest, epochs_begin_at_zero_for_every_client)
{
    auto one = player();
    one->open(1);
    one->group(1, 3);
    one->send(wire::PlayState{1, 5, wire::PlayMode::kPlaying});
    one->unit(1, wire::kKey, 1000, 5);
    client_comes();
    accept(opens[0].stream);
    ASSERT_EQ(units.size(), 1u) << "units of an old epoch are not shown";
    EXPECT_EQ(units[0].epoch, 0u);
    one->send(wire::PlayState{1, 9, wire::PlayMode::kPaused});
    one->unit(1, wire::kKey, 1000, 9);
    pump();
    ASSERT_EQ(play_states.size(), 1u);
    EXPECT_EQ(play_states[0], (wire::PlayState{opens[0].stream, 1, wire::PlayMode::kPaused}));
    ASSERT_EQ(units.size(), 2u);
    EXPECT_EQ(units[1].epoch, 1u);
    client_goes();
    client_comes();
    ASSERT_EQ(play_states.size(), 2u);
    EXPECT_EQ(play_states[1], (wire::PlayState{opens[1].stream, 0, wire::PlayMode::kPaused}));
}

TEST_F(RelayTest, session_that_is_not_shown_has_no_picture_and_gets_it_back)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    one->group(1, 3);
    pump();
    one->relayed.hold(Reason::kSessionInactive);
    pump();
    EXPECT_EQ(closes, (std::vector<wire::StreamClose>{{opens[0].stream, Reason::kSessionInactive}}));
    EXPECT_EQ(one->state(1), Reason::kSessionInactive);
    EXPECT_EQ(one->client_states.back().reason, Reason::kSessionInactive);
    one->unit(1);
    one->open(2);
    pump();
    EXPECT_EQ(opens.size(), 1u);
    EXPECT_EQ(one->state(2), Reason::kSessionInactive);
    one->relayed.hold(Reason::kNone);
    pump();
    ASSERT_EQ(opens.size(), 3u);
    accept(opens[1].stream);
    EXPECT_EQ(one->state(1), Reason::kNone);
    EXPECT_EQ(units.size(), 4u + 5u);
}

TEST_F(RelayTest, geometry_comes_before_units_and_the_newest_alone)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    one->group(1, 3);
    for (int x = 1; x <= 50; x++)
        one->place(1, x);
    order.clear();
    pump();
    ASSERT_EQ(geometries.size(), 1u);
    EXPECT_EQ(geometries[0].target.x, 50);
    EXPECT_EQ(order.front(), "geometry");
}

TEST_F(RelayTest, feedback_and_clock_go_their_way)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    from_client(wire::Feedback{opens[0].stream, 0, 10, 2, 1500, 1});
    one->relayed.tick(now);
    one->take();
    ASSERT_EQ(one->feedbacks.size(), 1u);
    EXPECT_EQ(one->feedbacks[0].stream, 1u);
    EXPECT_EQ(one->feedbacks[0].presented, 10u);
    EXPECT_EQ(one->feedbacks[0].late, 2u);
    EXPECT_EQ(one->feedbacks[0].decode_us, 1500u);
    client_goes();
    client_comes();
    accept(opens[1].stream);
    from_client(wire::Feedback{opens[1].stream, 0, 5, 0, 0, 0});
    from_client(wire::Feedback{opens[1].stream, 0, 3, 0, 0, 0}); // counters do not shrink
    now += kSecond;
    one->relayed.tick(now);
    one->take();
    EXPECT_EQ(one->feedbacks.back().presented, 15u) << "counted since the player's STREAM_OPEN";
}

TEST_F(RelayTest, what_is_on_its_way_is_bounded_for_all_streams_together)
{
    answers_pings = false;
    client_comes();
    auto one = player();
    for (std::uint32_t stream = 1; stream <= 6; stream++)
        one->open(stream);
    pump();
    for (const auto &open : opens)
        accept(open.stream);
    for (int i = 0; i < 4; i++)
        for (std::uint32_t stream = 1; stream <= 6; stream++)
            one->unit(stream, wire::kKey, 100'000);
    pump();
    EXPECT_GT(data_bytes, 400'000u);
    EXPECT_LE(data_bytes, 512u * 1024 + wire::kChunkPayload);
    EXPECT_LE(relay->max_in_flight(), 512u * 1024 + 2 * wire::kChunkPayload);
    std::set<std::uint32_t> served;
    for (const Unit &unit : units)
        served.insert(unit.stream);
    EXPECT_EQ(served.size(), 6u) << "each has its turn";
    order.clear();
    one->place(3, 7);
    pump();
    EXPECT_EQ(order, (std::vector<std::string>{"geometry"})) << "geometry does not wait for it";

    EXPECT_FALSE(relay->stalled(now));
    EXPECT_EQ(relay->deadline() >= 0, true);
    pass(2900 * kMs);
    EXPECT_FALSE(relay->stalled(now));
    pass(200 * kMs);
    EXPECT_TRUE(relay->stalled(now));
}

TEST_F(RelayTest, client_that_has_read_lets_more_come)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    for (int i = 0; i < 40; i++) {
        one->unit(1, wire::kKey, 100'000);
        pump();
    }
    EXPECT_EQ(units.size(), 40u);
    pass(100 * kSecond);
    EXPECT_FALSE(relay->stalled(now));
    EXPECT_LT(relay->deadline(), 0) << "nothing is asked when nothing is on its way";
}

TEST_F(RelayTest, link_that_loses_pictures_for_seconds_gives_the_video_back_and_is_tried_again_later)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    auto play = [&](std::uint32_t stream, int seconds) {
        std::uint32_t granted = 8;
        for (int i = 0; i < 25 * seconds; i++) {
            one->unit(1, i % 10 ? 0 : wire::kKey, 2000);
            if (i % 50 == 0 && stream)
                credit(stream, 1u << 30, granted += 4);
            pass(40 * kMs);
        }
    };
    accept(opens[0].stream);
    play(0, 5);
    EXPECT_EQ(one->state(1), Reason::kNone);
    EXPECT_TRUE(closes.empty());

    client_goes();
    client_comes();
    from_client(wire::StreamAccept{opens[1].stream});
    credit(opens[1].stream, 1u << 30, 8);
    play(opens[1].stream, 12);
    ASSERT_EQ(closes, (std::vector<wire::StreamClose>{{opens[1].stream, Reason::kLinkTooSlow}}));
    EXPECT_EQ(one->state(1), Reason::kLinkTooSlow);
    std::int64_t first = 0, second = 0;
    for (std::size_t tries : {3u, 4u}) {
        std::int64_t since = now;
        while (opens.size() < tries && now < since + 60 * kSecond)
            play(0, 1);
        ASSERT_EQ(opens.size(), tries);
        (tries == 3 ? first : second) = now - since;
        EXPECT_EQ(one->state(1), Reason::kLinkTooSlow) << "until the client has taken it";
        std::uint32_t stream = opens.back().stream;
        from_client(wire::StreamAccept{stream});
        credit(stream, 1u << 30, 8);
        std::size_t before = closes.size();
        while (closes.size() == before && now < since + 120 * kSecond)
            play(stream, 1);
        ASSERT_EQ(closes.size(), before + 1);
    }
    EXPECT_GT(second, first);
}

TEST_F(RelayTest, pictures_that_come_late_at_the_client_give_the_video_back)
{
    client_comes();
    auto one = player();
    one->open(1);
    pump();
    accept(opens[0].stream);
    std::uint32_t presented = 0, late = 0;
    for (int i = 0; i < 25 * 10; i++) {
        one->unit(1, i % 10 ? 0 : wire::kKey, 2000);
        if (i % 5 == 0 && closes.empty())
            from_client(wire::Feedback{opens[0].stream, 0, ++presented, late += 4, 0, 0});
        pass(40 * kMs);
    }
    ASSERT_FALSE(closes.empty());
    EXPECT_EQ(closes[0].reason, Reason::kLinkTooSlow);
}

TEST_F(RelayTest, client_is_not_offered_more_streams_than_it_takes)
{
    client_comes(2);
    auto one = player();
    for (std::uint32_t stream = 1; stream <= 3; stream++) {
        one->open(stream);
        one->unit(stream, wire::kKey);
    }
    pump();
    EXPECT_EQ(opens.size(), 2u);
    EXPECT_EQ(one->state(3), Reason::kTooManyStreams);
    one->send(wire::StreamClose{1, Reason::kClosedByUser});
    pump();
    ASSERT_EQ(opens.size(), 3u);
    accept(opens[2].stream);
    EXPECT_EQ(one->state(3), Reason::kNone);
}

} // namespace
} // namespace spice_overlay::test
