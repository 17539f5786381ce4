// SPDX-License-Identifier: LGPL-2.1-or-later
// The library through its C functions, against a model of what may be at the other end of the socket.
#include "fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

/// How often this process's thread of that name has gone to sleep; negative when there is none.
long sleeps_of_thread(const std::string &name)
{
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream status(entry.path() / "status");
        std::string line;
        for (bool ours = false; std::getline(status, line);) {
            ours |= line == "Name:\t" + name;
            if (ours && line.starts_with("voluntary_ctxt_switches:"))
                return std::stol(line.substr(line.find(':') + 1));
        }
    }
    return -1;
}

// ---- being redirected

TEST_F(Library, a_plain_client_that_accepts_shows_the_stream)
{
    connect(peer_);
    Told told;
    auto what = format();
    const std::uint8_t sets[] = {0, 0, 0, 1, 0x67, 1};
    what.extradata = sets;
    what.extradata_size = sizeof sets;
    what.rotation = 90;
    what.bit_rate = 12345;
    auto stream = open(told, what);
    ASSERT_TRUE(stream);
    EXPECT_EQ(spice_overlay_stream_state(stream.get()), SPICE_OVERLAY_REASON_PENDING);
    ASSERT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    EXPECT_EQ(spice_overlay_stream_state(stream.get()), SPICE_OVERLAY_REASON_NONE);
    ASSERT_EQ(peer_.opens.size(), 1u);
    EXPECT_EQ(peer_.opens[0].codec, wire::Codec::kH264);
    EXPECT_EQ(peer_.opens[0].coded_width, 640u);
    EXPECT_EQ(peer_.opens[0].rotation, 90);
    EXPECT_EQ(peer_.opens[0].bit_rate, 12345u);
    EXPECT_EQ(peer_.opens[0].extradata, (std::vector<std::uint8_t>(sets, sets + sizeof sets)));
}

TEST_F(Library, units_arrive_as_they_were_handed_over)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    std::int64_t now = monotonic_now();
    auto big = unit(true, true, 100'000);
    EXPECT_EQ(submit(stream, big, now + 10 * kMs, SPICE_OVERLAY_UNIT_KEY), 0);
    EXPECT_EQ(submit(stream, unit(false), now + 50 * kMs), 0);
    EXPECT_EQ(submit(stream, unit(false, false), now + 30 * kMs, SPICE_OVERLAY_UNIT_DISCONTINUITY), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 3; }));
    EXPECT_EQ(peer_.units[0].data, big);
    EXPECT_EQ(peer_.units[0].flags, wire::kKey);
    EXPECT_EQ(peer_.units[0].pts, now + 10 * kMs);
    EXPECT_EQ(peer_.units[1].flags, 0);
    EXPECT_EQ(peer_.units[2].flags, wire::kDroppable | wire::kDiscontinuity) << "found out from the unit";
    EXPECT_EQ(peer_.units[2].pts, now + 30 * kMs);
}

TEST_F(Library, units_ahead_of_their_time_wait_for_credit_and_none_is_left_out)
{
    peer_.unit_window = 2;
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false;
    std::int64_t pts = monotonic_now() + 3'000 * kMs;
    for (int i = 0; i < 60; i++)
        ASSERT_EQ(submit(stream, unit(i == 0, i % 2 == 0), pts + i * 20 * kMs, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 2; }));
    peer_.run_for(0.6); // longer than the patience of units that are due
    EXPECT_EQ(peer_.units.size(), 2u);
    peer_.gives_credit = true;
    peer_.give_credit(peer_.opens[0].stream);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 60; }));
    EXPECT_EQ(told.need_keys(), 0);
}

TEST_F(Library, late_units_are_left_out_up_to_a_key_unit_and_the_player_is_asked_for_one)
{
    peer_.unit_window = 2;
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false;
    std::int64_t now = monotonic_now();
    for (int i = 0; i < 10; i++)
        ASSERT_EQ(submit(stream, unit(i == 0), now + i * 20 * kMs, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    // The grace of a beginning has to pass, too.
    ASSERT_TRUE(peer_.run_until([&] { return told.need_keys() > 0; }));
    ASSERT_EQ(peer_.units.size(), 2u);
    peer_.gives_credit = true;
    peer_.give_credit(peer_.opens[0].stream);
    now = monotonic_now();
    ASSERT_EQ(submit(stream, unit(false), now), 0);
    ASSERT_EQ(submit(stream, unit(true), now + 20 * kMs, SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 3; }));
    EXPECT_EQ(peer_.units[2].flags, wire::kKey | wire::kDiscontinuity);
}

TEST_F(Library, a_client_that_lost_its_decoder_gets_the_group_of_pictures_again)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    std::int64_t now = monotonic_now();
    for (int i = 0; i < 6; i++)
        ASSERT_EQ(submit(stream, unit(i % 3 == 0), now + i * 10 * kMs, i % 3 == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 6; }));
    ASSERT_TRUE(peer_.run_until([&] { return monotonic_now() > now + 60 * kMs; }));
    peer_.send(wire::NeedKey{peer_.opens[0].stream});
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 9; }));
    EXPECT_EQ(peer_.units[6].data, unit(true));
    EXPECT_EQ(peer_.units[6].pts, now + 30 * kMs) << "of the newest group";
    EXPECT_TRUE(peer_.units[6].gap());
    EXPECT_EQ(told.need_keys(), 0);
}

TEST_F(Library, a_client_that_lost_its_decoder_before_any_key_unit_makes_the_player_be_asked)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    ASSERT_EQ(submit(stream, unit(false), monotonic_now()), 0);
    peer_.send(wire::NeedKey{peer_.opens[0].stream});
    EXPECT_TRUE(peer_.run_until([&] { return told.need_keys() > 0; }));
}

TEST_F(Library, a_stream_ends_behind_its_last_unit)
{
    peer_.unit_window = 1;
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    std::int64_t now = monotonic_now();
    for (int i = 0; i < 20; i++)
        ASSERT_EQ(submit(stream, unit(i == 0), now + (500 + i * 20) * kMs, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    spice_overlay_stream_free(stream.release(), SPICE_OVERLAY_REASON_END_OF_STREAM);
    ASSERT_TRUE(peer_.run_until([&] { return !peer_.closes.empty(); }));
    EXPECT_EQ(peer_.units.size(), 20u);
    EXPECT_EQ(peer_.closes[0].reason, wire::Reason::kEndOfStream);
    EXPECT_EQ(peer_.order.back(), "close 1");
}

TEST_F(Library, a_stream_that_the_user_closes_ends_at_once)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false;
    for (int i = 0; i < 20; i++)
        ASSERT_EQ(submit(stream, unit(i == 0), monotonic_now() + 5'000 * kMs, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    stream.reset();
    ASSERT_TRUE(peer_.run_until([&] { return !peer_.closes.empty(); }, 2));
    EXPECT_EQ(peer_.closes[0].reason, wire::Reason::kClosedByUser);
}

TEST_F(Library, what_ended_before_the_connection_is_still_told)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false; // would find nobody
    ASSERT_EQ(submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    spice_overlay_stream_free(stream.release(), SPICE_OVERLAY_REASON_END_OF_STREAM);
    guest_.reset();
    (void)peer_.run_until([&] { return !peer_.port_open(); });
    EXPECT_EQ(peer_.units.size(), 1u);
    ASSERT_EQ(peer_.closes.size(), 1u);
    EXPECT_EQ(peer_.closes[0].reason, wire::Reason::kEndOfStream);
}

TEST_F(Library, seeking_pausing_and_rate_are_told_as_the_last_of_each)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    ASSERT_EQ(submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 1; }));
    spice_overlay_stream_set_paused(stream.get(), 1);
    ASSERT_TRUE(peer_.run_until([&] { return !peer_.states.empty(); }));
    EXPECT_EQ(peer_.states.back(), (wire::PlayState{1, 0, wire::PlayMode::kPaused, 65536}));
    spice_overlay_stream_flush(stream.get());
    spice_overlay_stream_set_paused(stream.get(), 0);
    spice_overlay_stream_set_rate(stream.get(), 2.0);
    ASSERT_EQ(submit(stream, unit(false), monotonic_now()), 0);
    ASSERT_EQ(submit(stream, unit(true, true, 300), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == 2; }));
    EXPECT_EQ(peer_.states.back(), (wire::PlayState{1, 1, wire::PlayMode::kPlaying, 131072}));
    EXPECT_EQ(peer_.units[1].epoch, 1u);
    EXPECT_EQ(peer_.units[1].data.size(), 300u) << "the next one is a key unit";
    ASSERT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
}

TEST_F(Library, a_region_is_told_and_one_that_cannot_be_is_not_shown)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    spice_overlay_rect target = {-10, 20, 640, 360};
    std::vector<spice_overlay_rect> visible = {{0, 20, 630, 100}, {0, 120, 100, 260}};
    auto last = [&](auto matches) {
        return peer_.run_until([&] { return !peer_.geometries.empty() && matches(peer_.geometries.back()); });
    };
    spice_overlay_stream_set_region(stream.get(), 1, &target, visible.data(), visible.size(), 0x123456);
    ASSERT_TRUE(last([](const wire::Geometry &g) { return g.visible.size() == 2; }));
    EXPECT_EQ(peer_.geometries.back().target, (wire::Rect{-10, 20, 640, 360}));
    EXPECT_EQ(peer_.geometries.back().display, 1u);
    EXPECT_EQ(peer_.geometries.back().placeholder, 0x123456u);

    auto hidden = [](const wire::Geometry &g) { return g.visible.empty(); };
    auto shown = [](const wire::Geometry &g) { return !g.visible.empty(); };
    struct {
        const char *what;
        spice_overlay_rect target;
        std::size_t count;
    } cases[] = {
        {"too many rectangles", target, 257},
        {"a target beyond what the wire carries", {40000, 0, 10, 10}, 2},
        {"an enormous target", {0, 0, UINT32_MAX, UINT32_MAX}, 2},
        {"an empty target", {0, 0, 0, 10}, 2},
    };
    visible.resize(257, {0, 0, 1, 1});
    for (const auto &c : cases) {
        spice_overlay_stream_set_region(stream.get(), 0, &c.target, visible.data(), c.count, -1);
        EXPECT_TRUE(last(hidden)) << c.what;
        spice_overlay_stream_set_region(stream.get(), 0, &target, visible.data(), 2, -1);
        EXPECT_TRUE(last(shown));
    }
    spice_overlay_rect far[] = {{INT32_MIN, INT32_MIN, UINT32_MAX, UINT32_MAX}, {INT32_MAX, 0, 5, 5}};
    spice_overlay_stream_set_region(stream.get(), 0, &target, far, 2, -1);
    EXPECT_TRUE(last([](const wire::Geometry &g) { return g.visible.size() == 1; })) << "cut to what the wire carries";
    spice_overlay_stream_set_region(stream.get(), 0, nullptr, nullptr, 0, -1);
    EXPECT_TRUE(last(hidden));
}

TEST_F(Library, pictures_shown_are_counted_across_conversations)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.send(wire::Feedback{peer_.opens[0].stream, 0, 10, 2, 0, 0});
    ASSERT_TRUE(peer_.run_until([&] { return told.presented() == 10 && told.late() == 2; }));
    peer_.begin();
    ASSERT_TRUE(peer_.run_until([&] { return peer_.opens.size() == 2; }));
    peer_.send(wire::Feedback{peer_.opens[1].stream, 0, 5, 1, 0, 0});
    ASSERT_TRUE(peer_.run_until([&] { return told.presented() == 15 && told.late() == 3; }));
}

// ---- not being redirected

TEST_F(Library, without_an_agent_the_player_is_told_and_nothing_fails)
{
    listener_.reset();
    unlink(path_.c_str());
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    ASSERT_TRUE(guest_);
    EXPECT_EQ(check(10'000), SPICE_OVERLAY_REASON_NO_AGENT);
    Told told;
    auto stream = open(told);
    ASSERT_TRUE(told.wait_state(SPICE_OVERLAY_REASON_NO_AGENT));
    for (int i = 0, refused = 0; i < 1000; i++)
        while (submit(stream, unit(i == 0), monotonic_now(), i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0) != 0) {
            ASSERT_LT(++refused, 10'000) << "nothing may pile up";
            usleep(1'000); // 128 at once are too many
        }
    spice_overlay_stream_flush(stream.get());
    EXPECT_EQ(told.states(), (std::vector{SPICE_OVERLAY_REASON_NO_AGENT})) << "told once";
}

TEST_F(Library, an_agent_that_comes_later_gets_the_group_of_pictures_so_far)
{
    listener_.reset();
    unlink(path_.c_str());
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    Told told;
    auto stream = open(told);
    ASSERT_TRUE(told.wait_state(SPICE_OVERLAY_REASON_NO_AGENT));
    std::int64_t now = monotonic_now();
    for (int i = 0; i < 40; i++)
        ASSERT_EQ(submit(stream, unit(i % 20 == 0), now + i * kMs, i % 20 == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    listener_ = listen_unix(path_);
    connect(relay_);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.units.size() == 20; }));
    EXPECT_TRUE(relay_.units[0].key());
    EXPECT_EQ(relay_.units[0].pts, now + 20 * kMs);
    EXPECT_EQ(told.need_keys(), 0);
}

TEST_F(Library, a_relay_says_what_becomes_of_a_stream)
{
    connect_relay();
    Told told;
    auto stream = open(told);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.opens.size() == 1; }));
    relay_.run_for(0.1);
    EXPECT_TRUE(told.states().empty()) << "accepted by a relay is not redirected";
    for (auto reason : {wire::Reason::kNoClient, wire::Reason::kNone, wire::Reason::kDecoderFailed, wire::Reason::kNone,
                        static_cast<wire::Reason>(99)}) { // the last one of a later version
        relay_.send(wire::StreamState{relay_.opens[0].stream, reason});
        ASSERT_TRUE(relay_.run_until([&] { return told.state() == static_cast<spice_overlay_reason>(reason); }));
    }
    EXPECT_EQ(told.states().size(), 5u);
    // Units go in any case: the relay keeps them.
    ASSERT_EQ(submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    EXPECT_TRUE(relay_.run_until([&] { return relay_.units.size() == 1; }));
}

TEST_F(Library, check_tells_what_agent_and_client_said)
{
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    ASSERT_TRUE(relay_.accept(listener_.get()));
    EXPECT_EQ(check(0), SPICE_OVERLAY_REASON_PENDING);
    EXPECT_EQ(meanwhile(relay_, [&] { return check(50); }), SPICE_OVERLAY_REASON_PENDING) << "no CLIENT_STATE yet";
    std::atomic<int> changes = 0;
    spice_overlay_guest_on_change(
        guest_.get(), [](void *count) { ++*static_cast<std::atomic<int> *>(count); }, &changes);

    relay_.send(wire::ClientState{wire::Reason::kNoClient, {}});
    EXPECT_EQ(meanwhile(relay_, [&] { return check(10'000); }), SPICE_OVERLAY_REASON_NO_CLIENT);
    ASSERT_TRUE(relay_.run_until([&] { return changes > 0; }));
    int before = changes;
    relay_.send(wire::ClientState{wire::Reason::kNone, hello(true).codecs});
    ASSERT_TRUE(relay_.run_until([&] { return changes > before; }));
    EXPECT_EQ(check(0), SPICE_OVERLAY_REASON_NONE);
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_HEVC), SPICE_OVERLAY_REASON_UNSUPPORTED_CODEC);
    EXPECT_EQ(check(0, static_cast<spice_overlay_codec>(99)), SPICE_OVERLAY_REASON_UNSUPPORTED_CODEC);
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_H264, 1080, 1920), SPICE_OVERLAY_REASON_NONE) << "turned";
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_H264, 3840, 2160), SPICE_OVERLAY_REASON_TOO_LARGE);
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_H264, 0, 0), SPICE_OVERLAY_REASON_NONE) << "unknown size";
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_VP9, 8192, 8192), SPICE_OVERLAY_REASON_TOO_LARGE) << "for the protocol";
    EXPECT_EQ(check(0, SPICE_OVERLAY_CODEC_VP9, 7680, 4320), SPICE_OVERLAY_REASON_NONE);
    spice_overlay_guest_on_change(guest_.get(), nullptr, nullptr);
    before = changes;
    relay_.hang_up();
    for (int i = 0; check(0) == SPICE_OVERLAY_REASON_NONE && i < 2000; i++)
        usleep(10'000);
    EXPECT_EQ(changes, before);
}

TEST_F(Library, check_tries_again_to_reach_an_agent)
{
    listener_.reset();
    unlink(path_.c_str());
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    ASSERT_EQ(check(10'000), SPICE_OVERLAY_REASON_NO_AGENT);
    listener_ = listen_unix(path_);
    usleep(60'000); // answers are fresh for 50 ms
    std::thread peer([&] {
        EXPECT_TRUE(peer_.accept(listener_.get()));
        EXPECT_TRUE(peer_.run_until([&] { return peer_.established > 0; }));
    });
    EXPECT_EQ(check(10'000), SPICE_OVERLAY_REASON_NONE) << "nothing else makes it try: there is no stream";
    peer.join();
}

TEST_F(Library, a_refusal_is_told_with_its_reason_and_the_next_agent_is_asked_again)
{
    peer_.refuses_with = wire::Reason::kUnsupportedProfile;
    connect(peer_);
    Told told;
    auto stream = open(told);
    ASSERT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_UNSUPPORTED_PROFILE; }));
    ASSERT_EQ(submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    peer_.refuses_with = wire::Reason::kNone;
    peer_.begin();
    ASSERT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    EXPECT_TRUE(peer_.run_until([&] { return peer_.units.size() == 1; })) << "the group of pictures";
}

TEST_F(Library, a_close_without_a_reason_is_not_taken_for_redirected)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.send(wire::StreamClose{peer_.opens[0].stream, wire::Reason::kNone});
    EXPECT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NO_RESOURCES; }));
}

// ---- the agent goes

TEST_F(Library, an_agent_that_comes_back_is_given_everything_anew)
{
    connect_relay();
    Told told;
    auto stream = open(told);
    spice_overlay_rect place = {5, 6, 640, 360};
    spice_overlay_stream_set_region(stream.get(), 0, &place, &place, 1, 0x102030);
    spice_overlay_stream_set_paused(stream.get(), 1);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.opens.size() == 1; }));
    relay_.send(wire::StreamState{relay_.opens[0].stream, wire::Reason::kNone});
    ASSERT_TRUE(relay_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    std::int64_t now = monotonic_now();
    for (int i = 0; i < 5; i++)
        ASSERT_EQ(submit(stream, unit(i == 0), now, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.units.size() == 5; }));
    spice_overlay_stream_flush(stream.get());
    for (int i = 0; i < 3; i++)
        ASSERT_EQ(submit(stream, unit(i == 0), now, i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0), 0);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.units.size() == 8; }));

    relay_.hang_up();
    ASSERT_TRUE(told.wait_state(SPICE_OVERLAY_REASON_NO_AGENT));
    ModelClient second(hello(true));
    connect(second);
    ASSERT_TRUE(second.run_until([&] { return second.units.size() == 3; }));
    ASSERT_EQ(second.opens.size(), 1u);
    EXPECT_EQ(second.geometries.back().target, (wire::Rect{5, 6, 640, 360}));
    EXPECT_EQ(second.states.back().mode, wire::PlayMode::kPaused);
    EXPECT_TRUE(second.units[0].key());
    EXPECT_EQ(told.state(), SPICE_OVERLAY_REASON_NO_AGENT) << "until it says otherwise";
    second.send(wire::StreamState{second.opens[0].stream, wire::Reason::kNone});
    EXPECT_TRUE(second.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    EXPECT_TRUE(second.errors.empty()) << second.errors[0];
}

TEST_F(Library, an_agent_that_hangs_is_given_up_and_holds_nobody)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false; // and reads nothing from here on
    std::int64_t begin = monotonic_now(), longest = 0;
    auto bytes = unit(false, true, 60'000);
    int refused = 0;
    while (told.state() == SPICE_OVERLAY_REASON_NONE && monotonic_now() - begin < 20'000 * kMs) {
        std::int64_t before = monotonic_now();
        if (submit(stream, bytes, before, SPICE_OVERLAY_UNIT_KEY) != 0) {
            EXPECT_EQ(errno, ENOBUFS);
            refused++;
        }
        spice_overlay_stream_set_paused(stream.get(), 0);
        spice_overlay_rect place = {static_cast<std::int32_t>(before % 100), 0, 640, 360};
        spice_overlay_stream_set_region(stream.get(), 0, &place, &place, 1, -1);
        longest = std::max(longest, monotonic_now() - before);
        usleep(5'000);
    }
    EXPECT_EQ(told.state(), SPICE_OVERLAY_REASON_NO_AGENT);
    EXPECT_LT(longest, 1'000 * kMs) << "nothing blocks; the limit is for a busy machine";
    // It wakes up again.
    peer_.gives_credit = true;
    ASSERT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    peer_.errors.clear(); // units that came without credit of the old conversation are none of its business
}

TEST_F(Library, an_agent_that_gives_no_credit_and_says_nothing_is_given_up)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false; // so that there is soon nothing that could be written
    std::int64_t begin = monotonic_now();
    for (int i = 0; told.state() == SPICE_OVERLAY_REASON_NONE && monotonic_now() - begin < 20'000 * kMs; i++) {
        submit(stream, unit(i == 0), monotonic_now(), i == 0 ? SPICE_OVERLAY_UNIT_KEY : 0);
        usleep(20'000);
    }
    EXPECT_EQ(told.state(), SPICE_OVERLAY_REASON_NO_AGENT);
}

TEST_F(Library, garbage_from_the_agent_begins_anew)
{
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    const std::uint8_t garbage[] = {1, 0, 0, 0, 7, 7, 7, 7};
    peer_.send_bytes(garbage);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.established == 2; }));
    EXPECT_TRUE(peer_.run_until([&] { return peer_.opens.size() == 2 && told.state() == SPICE_OVERLAY_REASON_NONE; }));
    auto states = told.states();
    EXPECT_EQ(states.size(), 3u);
    EXPECT_EQ(states[1], SPICE_OVERLAY_REASON_PROTOCOL_ERROR);
}

// ---- the caller's faults

TEST_F(Library, formats_that_the_protocol_does_not_carry_are_refused_with_a_reason)
{
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    std::vector<std::uint8_t> long_extradata(32769);
    struct {
        const char *text;
        void (*spoil)(spice_overlay_format &);
    } cases[] = {
        {"codec", [](auto &f) { f.codec = static_cast<spice_overlay_codec>(0); }},
        {"codec", [](auto &f) { std::memset(&f.codec, 0x11, sizeof f.codec); }},
        {"size is 0", [](auto &f) { f.width = 0; }},
        {"size is above", [](auto &f) { f.height = 8193; }},
        {"size is above", [](auto &f) { f.width = f.height = 8192; }},
        {"aspect", [](auto &f) { f.aspect_den = 0; }},
        {"rotation", [](auto &f) { f.rotation = 45; }},
        {"full_range", [](auto &f) { f.full_range = 2; }},
        {"frame rate", [](auto &f) { f.frame_rate_den = 0; }},
        {"extradata", [](auto &f) { f.extradata_size = 1; }},
        {"struct_size", [](auto &f) { f.struct_size = 3; }},
    };
    for (const auto &c : cases) {
        auto what = format();
        c.spoil(what);
        errno = 0;
        EXPECT_EQ(spice_overlay_stream_new(guest_.get(), &what, nullptr, nullptr), nullptr) << c.text;
        EXPECT_EQ(errno, EINVAL);
        EXPECT_NE(std::string(spice_overlay_guest_error()).find(c.text), std::string::npos)
            << spice_overlay_guest_error();
    }
    auto what = format();
    what.extradata = long_extradata.data();
    what.extradata_size = long_extradata.size();
    EXPECT_EQ(spice_overlay_stream_new(guest_.get(), &what, nullptr, nullptr), nullptr);
    EXPECT_EQ(spice_overlay_stream_new(guest_.get(), nullptr, nullptr, nullptr), nullptr);
    EXPECT_EQ(spice_overlay_stream_new(nullptr, &what, nullptr, nullptr), nullptr);
}

TEST_F(Library, a_caller_of_a_later_version_is_understood)
{
    connect(peer_);
    struct {
        spice_overlay_format format;
        std::uint64_t later = ~std::uint64_t{0};
    } what{format()};
    what.format.struct_size = sizeof what;
    StreamPtr stream(spice_overlay_stream_new(guest_.get(), &what.format, nullptr, nullptr));
    ASSERT_TRUE(stream);
    EXPECT_TRUE(peer_.run_until([&] { return peer_.opens.size() == 1; }));
}

TEST_F(Library, units_that_are_none_are_refused)
{
    guest_.reset(spice_overlay_guest_new(path_.c_str(), nullptr));
    Told told;
    auto stream = open(told);
    std::vector<std::uint8_t> huge((16u << 20) + 1);
    std::uint8_t byte = 0;
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), &byte, 0, 0, 0), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), huge.data(), huge.size(), 0, 0), -1);
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), nullptr, 1, 0, 0), -1);
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), &byte, 1, INT64_MAX, 0), -1);
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), &byte, 1, INT64_MIN, 0), -1);
    EXPECT_EQ(spice_overlay_stream_submit(nullptr, &byte, 1, 0, 0), -1);
    EXPECT_EQ(spice_overlay_stream_submit(stream.get(), huge.data(), huge.size() - 1, 0, 1), 0)
        << "the largest there may be";
}

TEST_F(Library, nothing_of_nothing_does_nothing)
{
    spice_overlay_guest_free(nullptr);
    spice_overlay_stream_free(nullptr, SPICE_OVERLAY_REASON_NONE);
    spice_overlay_stream_flush(nullptr);
    spice_overlay_stream_set_paused(nullptr, 1);
    spice_overlay_stream_set_rate(nullptr, 1);
    spice_overlay_stream_set_region(nullptr, 0, nullptr, nullptr, 0, 0);
    spice_overlay_guest_on_change(nullptr, nullptr, nullptr);
    EXPECT_EQ(spice_overlay_guest_check(nullptr, SPICE_OVERLAY_CODEC_H264, 1, 1, 0), SPICE_OVERLAY_REASON_NO_AGENT);
    EXPECT_EQ(spice_overlay_stream_follow_window(nullptr, nullptr, 1, 0, -1), -1);
    EXPECT_EQ(spice_overlay_stream_follow_colour(nullptr, nullptr, 0, 5), -1);
    for (int reason : {0, 1, 14, 15, 99, 0xffff, 0x10000, 0x10001, 0x7fffffff, -1})
        EXPECT_GT(std::string(spice_overlay_reason_text(static_cast<spice_overlay_reason>(reason))).size(), 5u)
            << reason;
}

TEST_F(Library, too_much_that_waits_is_refused_and_costs_no_more_than_a_key_unit)
{
    peer_.gives_credit = true;
    peer_.unit_window = 1;
    connect(peer_);
    Told told;
    auto stream = redirected(told);
    peer_.gives_credit = false;
    std::int64_t pts = monotonic_now() + 60'000 * kMs; // never late here
    int taken = 0;
    while (submit(stream, unit(taken == 0), pts + taken * kMs, taken == 0 ? SPICE_OVERLAY_UNIT_KEY : 0) == 0)
        ASSERT_LT(++taken, 1000);
    EXPECT_EQ(errno, ENOBUFS);
    EXPECT_GE(taken, 128);
    EXPECT_LE(taken, 140); // one has gone; some more at most while they were counted
    peer_.gives_credit = true;
    peer_.give_credit(peer_.opens[0].stream);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == static_cast<std::size_t>(taken); }));
    // One is missing now: what follows is of no use up to a key unit.
    ASSERT_EQ(submit(stream, unit(false), pts + 2'000 * kMs), 0);
    ASSERT_TRUE(peer_.run_until([&] { return told.need_keys() > 0; }));
    ASSERT_EQ(submit(stream, unit(true), pts + 3'000 * kMs, SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() == static_cast<std::size_t>(taken) + 1; }));
    EXPECT_EQ(peer_.units.back().flags, wire::kKey | wire::kDiscontinuity);
}

// ---- threads

TEST_F(Library, callbacks_may_call_everything_else)
{
    connect(peer_);
    Told told;
    StreamPtr stream, inner;
    Told told_inner;
    std::atomic<bool> ready = false, again = false;
    told.also = [&] {
        while (!ready)
            std::this_thread::yield();
        if (again.exchange(true))
            return;
        EXPECT_EQ(spice_overlay_stream_state(stream.get()), SPICE_OVERLAY_REASON_NONE);
        EXPECT_EQ(check(1'000'000), SPICE_OVERLAY_REASON_NONE);
        spice_overlay_rect place = {0, 0, 640, 360};
        spice_overlay_stream_set_region(stream.get(), 0, &place, &place, 1, -1);
        spice_overlay_stream_flush(stream.get());
        submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY);
        inner = open(told_inner);
    };
    stream = open(told);
    ready = true;
    ASSERT_TRUE(
        peer_.run_until([&] { return told_inner.state() == SPICE_OVERLAY_REASON_NONE && !peer_.units.empty(); }));
    inner.reset();
}

TEST_F(Library, no_callback_comes_after_free_and_free_waits_for_the_one_that_runs)
{
    connect(peer_);
    for (int i = 0; i < 20; i++) {
        auto told = std::make_unique<Told>();
        std::atomic<bool> entered = false, left = false;
        told->also = [&] {
            entered = true;
            usleep(20'000);
            left = true;
        };
        auto stream = open(*told);
        ASSERT_TRUE(peer_.run_until([&] { return entered.load(); }));
        stream.reset();
        EXPECT_TRUE(left.load());
        told.reset(); // a later callback would be seen by the sanitizers
    }
}

TEST_F(Library, many_threads_at_once_disturb_nothing)
{
    connect_relay();
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    std::vector<std::unique_ptr<Told>> told;
    for (int t = 0; t < 4; t++) {
        Told &mine = *told.emplace_back(std::make_unique<Told>());
        threads.emplace_back([&, t] {
            while (!stop) {
                auto stream = open(mine);
                for (int i = 0; i < 30 && !stop; i++) {
                    submit(stream, unit(i % 10 == 0, i % 2 == 0, 2000), monotonic_now(),
                           i % 10 == 0 ? SPICE_OVERLAY_UNIT_KEY : 0);
                    spice_overlay_rect place = {i, t, 640, 360};
                    spice_overlay_stream_set_region(stream.get(), 0, &place, &place, 1, i);
                    spice_overlay_stream_set_paused(stream.get(), i % 3 == 0);
                    spice_overlay_stream_set_rate(stream.get(), i);
                    if (i % 7 == 0)
                        spice_overlay_stream_flush(stream.get());
                    (void)spice_overlay_stream_state(stream.get());
                    (void)check(i % 2);
                    spice_overlay_guest_on_change(
                        guest_.get(), [](void *) {}, nullptr);
                    (void)spice_overlay_key_colour();
                }
                spice_overlay_stream_free(stream.release(), t % 2 ? SPICE_OVERLAY_REASON_END_OF_STREAM
                                                                  : SPICE_OVERLAY_REASON_CLOSED_BY_USER);
            }
        });
    }
    int restarts = 0;
    std::int64_t end = monotonic_now() + 2'000 * kMs;
    (void)relay_.run_until([&] {
        if (relay_.established > restarts && relay_.opens.size() % 20 == 19) {
            restarts = relay_.established;
            relay_.begin();
        }
        return monotonic_now() > end;
    });
    stop = true;
    std::atomic<bool> joined = false;
    std::thread joiner([&] {
        for (std::thread &thread : threads)
            thread.join();
        joined = true;
    });
    EXPECT_TRUE(relay_.run_until([&] { return joined.load(); }));
    joiner.join();
    EXPECT_GT(relay_.opens.size(), 4u);
}

TEST_F(Library, an_idle_connection_sleeps)
{
    connect_relay();
    Told told;
    auto stream = open(told);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.opens.size() == 1; }));
    relay_.send(wire::StreamState{relay_.opens[0].stream, wire::Reason::kNone});
    ASSERT_TRUE(relay_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
    ASSERT_EQ(submit(stream, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.units.size() == 1; }));
    relay_.run_for(0.3);
    long before = sleeps_of_thread("spice-overlay");
    ASSERT_GE(before, 0);
    relay_.run_for(1.5);
    EXPECT_EQ(sleeps_of_thread("spice-overlay"), before) << "it woke up for nothing";
}

TEST(KeyColour, colours_are_dark_and_apart)
{
    std::vector<std::int32_t> seen;
    auto part = [](std::int32_t colour, int shift) { return colour >> shift & 0xff; };
    for (int i = 0; i < 60; i++) {
        std::int32_t colour = spice_overlay_key_colour();
        ASSERT_GE(colour, 0);
        for (int shift : {0, 8, 16})
            EXPECT_LT(part(colour, shift), 80);
        for (std::int32_t other : seen) {
            int most = 0;
            for (int shift : {0, 8, 16})
                most = std::max(most, std::abs(part(colour, shift) - part(other, shift)));
            EXPECT_GT(most, 8) << "trackers allow 4 each";
        }
        seen.push_back(colour);
    }
}

} // namespace
