// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_fixture.h"

#include <algorithm>

namespace spice_overlay::test {
namespace {

using wire::Reason;
using Events = std::vector<std::string>;

// ---- conversation

TEST(SessionStart, question_is_repeated_each_second_until_it_is_answered)
{
    Bench bench;
    EXPECT_LT(bench.session.tick(bench.now), 0) << "no port, nothing to do";
    bench.session.port_opened(bench.now, kClientNonce);
    for (int i = 0; i < 3; ++i) {
        auto hellos = bench.sent<wire::Hello>();
        ASSERT_EQ(hellos.size(), 1u) << "second " << i;
        EXPECT_EQ(hellos[0].nonce, kClientNonce);
        EXPECT_EQ(hellos[0].peer_nonce, 0u);
        EXPECT_EQ(hellos[0].role, wire::Role::kClient);
        EXPECT_EQ(hellos[0].codecs.size(), 2u);
        std::int64_t next = bench.session.tick(bench.now + kSecond / 2);
        EXPECT_TRUE(bench.messages.empty());
        EXPECT_EQ(next, bench.now + kSecond);
        bench.now = next;
        EXPECT_EQ(bench.session.tick(bench.now), bench.now + kSecond);
    }
    bench.messages.clear();
    bench.from_guest(guest_hello(kClientNonce));
    EXPECT_TRUE(bench.session.established());
    auto answers = bench.sent<wire::Hello>();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].peer_nonce, kGuestNonce);
    bench.now += 5 * kSecond;
    (void)bench.session.tick(bench.now);
    EXPECT_TRUE(bench.sent<wire::Hello>().empty());
}

TEST(SessionStart, messages_before_the_handshake_are_not_believed)
{
    Bench bench;
    bench.session.port_opened(bench.now, kClientNonce);
    bench.from_guest(h264(1));
    bench.from_guest(guest_hello(0));
    bench.from_guest(h264(1));
    EXPECT_TRUE(bench.events.empty());
    EXPECT_FALSE(bench.session.established());
}

TEST(SessionStart, guest_of_another_version_is_not_asked_again)
{
    Bench bench;
    bench.session.port_opened(bench.now, kClientNonce);
    wire::Hello later = guest_hello(kClientNonce);
    later.min_version = later.max_version = 2;
    bench.from_guest(later);
    EXPECT_FALSE(bench.session.established());
    EXPECT_LT(bench.session.tick(bench.now + 10 * kSecond), 0);
    bench.session.port_closed();
    bench.session.port_opened(bench.now, 5);
    bench.from_guest(guest_hello(5));
    EXPECT_TRUE(bench.session.established());
}

TEST_F(SessionTest, guest_that_begins_anew_ends_its_streams_and_may_use_their_identifiers_again)
{
    open(1);
    wire::Hello anew = guest_hello(0);
    anew.nonce = 77;
    bench.take_events();
    bench.from_guest(anew);
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kShuttingDown)});
    EXPECT_FALSE(bench.session.established());
    bench.from_guest(h264(2));
    EXPECT_TRUE(bench.take_events().empty()) << "not established yet";
    anew.peer_nonce = kClientNonce;
    bench.from_guest(anew);
    EXPECT_TRUE(bench.session.established());
    open(1);
}

TEST_F(SessionTest, malformed_message_ends_all_streams_and_begins_anew_under_another_nonce)
{
    open(1);
    open(2);
    bench.take_events();
    bench.messages.clear();
    bench.session.feed(Bytes{5, 0, 0x24, 0, 1}, bench.now);
    bench.session.feed(Bytes{3, 0, 0, 0}, bench.now);
    EXPECT_EQ(bench.take_events(), (Events{closed(1, Reason::kProtocolError), closed(2, Reason::kProtocolError)}));
    auto hellos = bench.sent<wire::Hello>();
    ASSERT_EQ(hellos.size(), 1u);
    EXPECT_NE(hellos[0].nonce, kClientNonce);
    EXPECT_NE(hellos[0].nonce, 0u);
    EXPECT_EQ(hellos[0].peer_nonce, 0u);
    EXPECT_TRUE(bench.messages.empty()) << "nothing else is sent for streams of a conversation that is over";
    EXPECT_EQ(bench.session.counters().restarts, 1u);
    EXPECT_EQ(bench.session.counters().protocol_errors, 1u);

    bench.from_guest(guest_hello(kClientNonce));
    EXPECT_FALSE(bench.session.established()) << "an answer to the old nonce";
    bench.from_guest(guest_hello(hellos[0].nonce));
    EXPECT_TRUE(bench.session.established());
}

TEST_F(SessionTest, garbage_never_kills_the_session_for_good)
{
    for (int round = 0; round < 50; ++round) {
        Bytes garbage(300, static_cast<std::uint8_t>(round * 7 + 1));
        bench.session.feed(garbage, bench.now);
        for (int i = 0; i < 12 && bench.session.established(); ++i) {
            bench.now += kSecond;
            (void)bench.session.tick(bench.now);
        }
        ASSERT_FALSE(bench.session.established()) << "round " << round;
        auto hellos = bench.sent<wire::Hello>();
        ASSERT_FALSE(hellos.empty());
        bench.from_guest(guest_hello(hellos.back().nonce));
        ASSERT_TRUE(bench.session.established()) << "round " << round;
        bench.sent<wire::Hello>();
    }
}

TEST_F(SessionTest, message_that_never_ends_is_given_up_after_ten_seconds)
{
    bench.session.feed(Bytes{200, 0, 0x11}, bench.now);
    std::int64_t began = bench.now, next = 0;
    bench.now += 3 * kSecond;
    bench.session.feed(Bytes{0, 1}, bench.now);
    while ((next = bench.session.tick(bench.now)) < began + 10 * kSecond && next >= 0)
        bench.now = next;
    EXPECT_EQ(next, began + 10 * kSecond);
    EXPECT_TRUE(bench.session.established());
    (void)bench.session.tick(next);
    EXPECT_FALSE(bench.session.established());
    EXPECT_EQ(bench.session.counters().restarts, 1u);
}

TEST_F(SessionTest, large_message_that_comes_slowly_but_is_followed_by_others_is_not_given_up)
{
    Bytes ping;
    wire::encode(wire::Ping{1, 1}, ping);
    for (int i = 0; i < 8; ++i) { // the end of one message and the beginning of the next, every 4 seconds
        bench.session.feed(i == 0 ? std::span(ping).first(5) : std::span(ping).subspan(5), bench.now);
        if (i > 0)
            bench.session.feed(std::span(ping).first(5), bench.now);
        bench.now += 4 * kSecond;
        (void)bench.session.tick(bench.now);
    }
    EXPECT_EQ(bench.session.counters().restarts, 0u);
}

TEST_F(SessionTest, closed_port_closes_the_streams_and_schedules_nothing)
{
    open(1);
    bench.take_events();
    bench.messages.clear();
    bench.session.port_closed();
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kShuttingDown)});
    EXPECT_FALSE(bench.session.established());
    EXPECT_LT(bench.session.tick(bench.now), 0);
    bench.from_guest(h264(2));
    EXPECT_TRUE(bench.events.empty());
    EXPECT_TRUE(bench.messages.empty());
}

TEST_F(SessionTest, answers_a_ping_and_ignores_what_only_clients_send)
{
    bench.from_guest(wire::Ping{9, 1234});
    auto pongs = bench.sent<wire::Pong>();
    ASSERT_EQ(pongs.size(), 1u);
    EXPECT_EQ(pongs[0].id, 9u);
    EXPECT_EQ(pongs[0].sent, 1234u);
    EXPECT_EQ(pongs[0].received, static_cast<std::uint64_t>(bench.now));
    open(1);
    bench.take_events();
    bench.sent<wire::Credit>();
    for (const wire::Message &m :
         {wire::Message{wire::Credit{1, 99, 99}}, wire::Message{wire::StreamReject{1, Reason::kTooLarge}},
          wire::Message{wire::StreamAccept{1}}, wire::Message{wire::NeedKey{1}}, wire::Message{wire::Feedback{1}}})
        bench.from_guest(m);
    EXPECT_TRUE(bench.events.empty());
    EXPECT_TRUE(bench.messages.empty());
    EXPECT_TRUE(bench.session.established());
}

TEST_F(SessionTest, flood_of_messages_about_a_stream_costs_that_stream)
{
    open(1);
    open(2);
    bench.take_events();
    std::uint32_t serial = 1;
    for (std::uint32_t i = 0; i < 3 * InboundStream::kMaxMessages; ++i) { // as much as allowed, three seconds long
        if (i % InboundStream::kMaxMessages == 0)
            bench.now += kSecond;
        bench.from_guest(geometry(1, serial++));
    }
    EXPECT_EQ(bench.take_events().size(), 3 * InboundStream::kMaxMessages);
    bench.from_guest(geometry(1, serial++));
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kProtocolError)});
    EXPECT_EQ(bench.sent<wire::StreamClose>(), (std::vector<wire::StreamClose>{{1, Reason::kProtocolError}}));
    bench.unit(2, 0, 100, wire::kKey);
    EXPECT_EQ(bench.take_events().size(), 1u) << "the other stream has to go on";
}

TEST_F(SessionTest, flood_of_other_messages_costs_the_conversation_and_is_not_answered)
{
    open(1);
    bench.take_events();
    bench.now += kSecond;
    bench.messages.clear();
    for (std::uint32_t i = 0; i < 2000; ++i)
        bench.from_guest(wire::Ping{i, 1});
    EXPECT_EQ(bench.sent<wire::Pong>().size(), 2000u);
    EXPECT_TRUE(bench.take_events().empty());
    bench.from_guest(wire::Ping{2000, 1});
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kProtocolError)});
    const auto hellos = bench.sent<wire::Hello>();
    ASSERT_EQ(hellos.size(), 1u);
    // A guest that goes on is not listened to before the second is over.
    for (int i = 0; i < 5000; ++i)
        bench.from_guest(guest_hello(hellos[0].nonce));
    EXPECT_FALSE(bench.session.established());
    EXPECT_TRUE(bench.messages.empty());
    EXPECT_EQ(bench.session.counters().restarts, 1u);
    bench.now += kSecond;
    bench.from_guest(guest_hello(hellos[0].nonce));
    EXPECT_TRUE(bench.session.established());
}

Bytes unknown_message(std::uint8_t size)
{
    Bytes bytes(size);
    bytes[0] = size;
    bytes[2] = 0x7f;
    return bytes;
}

TEST_F(SessionTest, flood_of_unknown_messages_costs_the_conversation)
{
    open(1);
    bench.take_events();
    bench.now += kSecond;
    Bytes bytes;
    for (int i = 0; i < 2000; ++i) {
        const Bytes one = unknown_message(4 + i % 60);
        bytes.insert(bytes.end(), one.begin(), one.end());
    }
    bench.session.feed(bytes, bench.now);
    EXPECT_TRUE(bench.take_events().empty()) << "so many a later version may send";
    bench.from_guest(wire::Ping{1, 1});
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kProtocolError)});
    EXPECT_EQ(bench.session.counters().restarts, 1u);
    bench.now += kSecond;
    const auto hellos = bench.sent<wire::Hello>();
    ASSERT_EQ(hellos.size(), 1u);
    bench.from_guest(guest_hello(hellos[0].nonce));
    bench.session.feed(bytes, bench.now + kSecond);
    bench.session.feed(unknown_message(4), bench.now + kSecond);
    EXPECT_EQ(bench.session.counters().restarts, 2u);
}

TEST_F(SessionTest, unknown_messages_of_which_the_next_has_always_begun_are_no_message_that_drips)
{
    open(1);
    Bytes bytes = unknown_message(8);
    bench.session.feed(std::span(bytes).first(5), bench.now);
    std::rotate(bytes.begin(), bytes.begin() + 5, bytes.end());
    for (int i = 0; i < 200; ++i) {
        bench.now += 100 * kMs;
        bench.session.feed(bytes, bench.now);
        (void)bench.session.tick(bench.now);
    }
    EXPECT_EQ(bench.session.counters().restarts, 0u);
    bench.now += 10 * kSecond;
    (void)bench.session.tick(bench.now);
    EXPECT_EQ(bench.session.counters().restarts, 1u) << "the last one does not come";
}

TEST_F(SessionTest, leftovers_of_a_stream_that_this_side_ended_take_no_other_stream)
{
    struct Case {
        const char *name;
        std::function<void()> end; ///< of stream 1, by this side
    };
    const Case cases[] = {
        {"a flood",
         [&] {
             open(1);
             for (std::uint32_t serial = 1; serial <= InboundStream::kMaxMessages + 1; ++serial)
                 bench.from_guest(geometry(1, serial));
         }},
        {"closed",
         [&] {
             open(1);
             bench.session.close_stream(1, Reason::kDecoderFailed);
         }},
        {"refused",
         [&] {
             bench.on_open = [](auto &) { return Reason::kNoResources; };
             bench.from_guest(h264(1));
             bench.on_open = nullptr;
         }},
    };
    for (const Case &c : cases) {
        SCOPED_TRACE(c.name);
        bench.session.port_closed();
        bench.now += kSecond;
        bench.establish();
        open(2);
        c.end();
        bench.now += kSecond;
        const auto restarts = bench.session.counters().restarts;
        for (std::uint32_t i = 0; i < InboundStream::kMaxMessages; ++i)
            bench.from_guest(geometry(1, i));
        EXPECT_EQ(bench.session.counters().restarts, restarts);
        bench.take_events();
        bench.unit(2, 0);
        EXPECT_EQ(bench.take_events().size(), 1u) << "the other stream has to go on";
        for (std::uint32_t i = 0; i < 2000; ++i)
            bench.from_guest(geometry(1, i));
        EXPECT_EQ(bench.session.counters().restarts, restarts) << "what is more counts as the conversation's";
        bench.from_guest(geometry(1, 0));
        EXPECT_EQ(bench.session.counters().restarts, restarts + 1);
    }
}

TEST_F(SessionTest, messages_of_a_stream_that_is_over_for_the_guest_are_no_leftovers)
{
    struct Case {
        const char *name;
        std::function<void()> end; ///< of stream 1
    };
    const Case cases[] = {
        {"closed by the guest",
         [&] {
             bench.from_guest(wire::StreamClose{1, Reason::kNone});
         }},
        {"closed by both",
         [&] {
             bench.session.close_stream(1, Reason::kNone);
             bench.from_guest(wire::StreamClose{1, Reason::kNone});
         }},
        {"closed two seconds ago",
         [&] {
             bench.session.close_stream(1, Reason::kNone);
             bench.now += 2 * kSecond;
         }},
        {"closed by the guest and opened again",
         [&] {
             bench.from_guest(wire::StreamClose{1, Reason::kNone});
             bench.from_guest(h264(1));
         }},
        {"of many",
         [&] {
             for (std::uint32_t id = 100; id < 200; ++id) {
                 bench.from_guest(h264(id));
                 bench.session.close_stream(id, Reason::kNone);
             }
             bench.session.close_stream(1, Reason::kNone);
         }},
    };
    for (const Case &c : cases) {
        SCOPED_TRACE(c.name);
        bench.session.port_closed();
        bench.now += kSecond;
        bench.establish();
        open(1);
        c.end();
        const auto restarts = bench.session.counters().restarts;
        for (std::uint32_t i = 0; i < 2001; ++i)
            bench.from_guest(geometry(1, i));
        EXPECT_EQ(bench.session.counters().restarts, restarts + 1);
    }
}

TEST_F(SessionTest, stream_that_is_opened_again_and_again_costs_the_conversation)
{
    open(1);
    bench.session.close_stream(1, Reason::kNone);
    bench.now += kSecond;
    for (std::uint32_t i = 0; i < 2001; ++i)
        bench.from_guest(h264(1));
    EXPECT_EQ(rejections().size(), 2000u);
    EXPECT_EQ(bench.session.counters().restarts, 1u);
}

// ---- what is sent, and when

TEST_F(SessionTest, one_feed_makes_one_transmission_at_most)
{
    Bytes bytes;
    for (std::uint32_t id : {1u, 2u, 3u})
        wire::encode(h264(id), bytes);
    wire::encode(wire::Ping{1, 1}, bytes);
    wire::encode(h264(4), bytes);
    int before = bench.transmissions;
    bench.session.feed(bytes, bench.now);
    EXPECT_EQ(bench.transmissions, before + 1);
    EXPECT_EQ(bench.messages.size(), 8u);
}

TEST_F(SessionTest, feedback_comes_at_four_a_second_and_only_after_a_change)
{
    open(1);
    for (int i = 0; i < 100 && bench.session.tick(bench.now) >= 0 && i < 10; ++i)
        bench.now += 100 * kMs; // through the first pings
    bench.messages.clear();
    std::size_t count = 0;
    std::int64_t end = bench.now + 2 * kSecond;
    for (; bench.now < end; bench.now += 10 * kMs) {
        bench.session.presented(1, 1);
        bench.session.decode_time(1, 2'000'000);
        (void)bench.session.tick(bench.now);
        for (const auto &feedback : bench.sent<wire::Feedback>()) {
            ++count;
            EXPECT_EQ(feedback.decode_us, 2000u);
        }
    }
    EXPECT_GE(count, 8u);
    EXPECT_LE(count, 9u);
    bench.session.late(1, 3);
    bench.now += kSecond;
    (void)bench.session.tick(bench.now);
    auto last = bench.sent<wire::Feedback>();
    ASSERT_EQ(last.size(), 1u);
    EXPECT_EQ(last[0].presented, 200u);
    EXPECT_EQ(last[0].late, 3u);
    bench.now += kSecond;
    (void)bench.session.tick(bench.now);
    EXPECT_TRUE(bench.sent<wire::Feedback>().empty()) << "nothing has changed";
}

TEST_F(SessionTest, first_picture_of_an_epoch_is_reported_at_once)
{
    open(1);
    bench.session.presented(1, 1);
    (void)bench.session.tick(bench.now);
    EXPECT_EQ(bench.sent<wire::Feedback>().size(), 1u);
    bench.from_guest(wire::PlayState{1, 1});
    bench.session.presented(1, 1);
    (void)bench.session.tick(bench.now + kMs);
    auto feedback = bench.sent<wire::Feedback>();
    ASSERT_EQ(feedback.size(), 1u);
    EXPECT_EQ(feedback[0].epoch, 1u);
}

TEST_F(SessionTest, idle_or_paused_session_schedules_nothing)
{
    auto settle = [&] {
        int calls = 0;
        std::int64_t next = 0;
        while ((next = bench.session.tick(bench.now)) >= 0 && calls < 100) {
            EXPECT_GT(next, bench.now);
            bench.now = next;
            ++calls;
        }
        return calls;
    };
    EXPECT_LT(settle(), 10) << "established, without a stream";
    EXPECT_EQ(bench.sent<wire::Ping>().size(), 4u);
    open(1);
    EXPECT_EQ(settle(), 100) << "a playing stream is pinged for";
    auto pings = bench.sent<wire::Ping>();
    EXPECT_EQ(static_cast<std::int64_t>(pings[20].sent - pings[19].sent), 10 * kSecond);
    bench.from_guest(wire::PlayState{1, 0, wire::PlayMode::kPaused});
    bench.session.presented(1, 1);
    EXPECT_LT(settle(), 3) << "paused";
    bench.from_guest(wire::PlayState{1, 0, wire::PlayMode::kPlaying});
    bench.from_guest(wire::StreamClose{1, Reason::kEndOfStream});
    EXPECT_LT(settle(), 3) << "closed";
}

// ---- clock

TEST_F(SessionTest, clock_follows_the_exchange_with_the_smallest_round_trip)
{
    constexpr std::int64_t ahead = 5000 * kSecond; // the guest's clock
    EXPECT_EQ(bench.session.to_local(123), 123) << "nothing known";
    open(1);
    bench.unit(1, 0); // pts is our own clock here: 0 ahead
    EXPECT_EQ(bench.session.to_local(bench.now), bench.now);

    auto exchange = [&](std::int64_t there, std::int64_t stay, std::int64_t back) {
        std::vector<wire::Ping> pings;
        for (std::int64_t next = bench.now; pings.empty(); pings = bench.sent<wire::Ping>()) {
            bench.now = std::max(bench.now, next);
            next = bench.session.tick(bench.now);
        }
        std::int64_t received = static_cast<std::int64_t>(pings[0].sent) + there + ahead;
        bench.now += there + stay + back;
        bench.from_guest(wire::Pong{pings[0].id, pings[0].sent, static_cast<std::uint64_t>(received),
                                    static_cast<std::uint64_t>(received + stay)});
    };
    auto error = [&] { return bench.session.to_local(bench.now + ahead) - bench.now; };
    exchange(9 * kMs, 50 * kMs, kMs);
    EXPECT_EQ(error(), -4 * kMs) << "half of the difference of the two ways";
    exchange(kMs, 0, kMs);
    EXPECT_EQ(error(), 0);
    exchange(30 * kMs, 0, kMs);
    EXPECT_EQ(error(), 0) << "a slow exchange does not replace a quick one";
    for (int i = 0; i < 8; ++i)
        exchange(3 * kMs, 0, 2 * kMs);
    EXPECT_EQ(error(), -kMs / 2) << "only the last eight count";
}

TEST_F(SessionTest, impossible_pongs_are_ignored)
{
    (void)bench.session.tick(bench.now);
    auto pings = bench.sent<wire::Ping>();
    ASSERT_EQ(pings.size(), 1u);
    auto t = static_cast<std::uint64_t>(bench.now);
    bench.now += 10 * kMs;
    for (const wire::Pong &pong :
         {wire::Pong{pings[0].id + 1, pings[0].sent, t, t}, wire::Pong{pings[0].id, pings[0].sent + 1, t, t},
          wire::Pong{pings[0].id, pings[0].sent, t + 5, t + 4},
          wire::Pong{pings[0].id, pings[0].sent, UINT64_MAX, UINT64_MAX},
          wire::Pong{pings[0].id, pings[0].sent, 7, 7 + 11 * kMs}}) {
        bench.from_guest(pong);
        EXPECT_EQ(bench.session.to_local(42), 42);
    }
    open(1);
    for (int i = 0; i < 20; ++i)
        bench.now = std::max(bench.now, bench.session.tick(bench.now));
    bench.from_guest(wire::Pong{pings[0].id, pings[0].sent, t, t});
    EXPECT_EQ(bench.session.to_local(42), 42) << "a question of long ago";
}

// ---- as a relay

wire::Hello relay_hello()
{
    wire::Hello hello = client_hello();
    hello.capabilities = wire::kRelay;
    return hello;
}

TEST(SessionOfRelay, state_of_the_client_is_told_once_established_and_on_every_change)
{
    Bench bench(relay_hello());
    bench.session.client_state({Reason::kNoClient, {}});
    EXPECT_TRUE(bench.messages.empty());
    bench.establish();
    auto states = bench.sent<wire::ClientState>();
    ASSERT_EQ(states.size(), 1u);
    EXPECT_EQ(states[0].reason, Reason::kNoClient);
    bench.session.client_state({Reason::kNoClient, {}});
    EXPECT_TRUE(bench.sent<wire::ClientState>().empty()) << "no news";
    bench.session.client_state({Reason::kNone, client_hello().codecs});
    states = bench.sent<wire::ClientState>();
    ASSERT_EQ(states.size(), 1u);
    EXPECT_EQ(states[0].codecs, client_hello().codecs);
    wire::Hello anew = guest_hello(kClientNonce);
    anew.nonce = 77;
    bench.from_guest(anew);
    EXPECT_EQ(bench.sent<wire::ClientState>().size(), 1u) << "a player that begins anew knows nothing";
}

TEST(SessionOfRelay, state_of_a_stream_is_told_while_it_lives)
{
    Bench bench(relay_hello());
    bench.establish();
    bench.from_guest(h264(1));
    bench.session.stream_state(1, Reason::kUnsupportedCodec);
    bench.session.stream_state(2, Reason::kNone);
    bench.session.close_stream(1, Reason::kProtocolError);
    bench.session.stream_state(1, Reason::kNone);
    EXPECT_EQ(bench.sent<wire::StreamState>(), (std::vector<wire::StreamState>{{1, Reason::kUnsupportedCodec}}));
}

TEST(SessionOfRelay, client_that_is_no_relay_tells_no_state)
{
    Bench plain;
    plain.establish();
    EXPECT_TRUE(plain.sent<wire::ClientState>().empty());
}

} // namespace
} // namespace spice_overlay::test
