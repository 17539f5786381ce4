// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_fixture.h"

#include <algorithm>

namespace spice_overlay::test {
namespace {

using wire::Reason;
using Events = std::vector<std::string>;

// ---- opening

TEST_F(SessionTest, refuses_streams_each_with_its_reason)
{
    struct Case {
        const char *name;
        std::function<void(wire::StreamOpen &)> change;
        Reason reason;
    };
    const Case cases[] = {
        {"no width", [](auto &o) { o.coded_width = 0; }, Reason::kBadParameters},
        {"no height", [](auto &o) { o.coded_height = 0; }, Reason::kBadParameters},
        {"no aspect", [](auto &o) { o.aspect_num = 0; }, Reason::kBadParameters},
        {"aspect over zero", [](auto &o) { o.aspect_den = 0; }, Reason::kBadParameters},
        {"frame rate over zero", [](auto &o) { o.frame_rate_den = 0; }, Reason::kBadParameters},
        {"rotation of 45 degrees", [](auto &o) { o.rotation = 45; }, Reason::kBadParameters},
        {"rotation of 360 degrees", [](auto &o) { o.rotation = 360; }, Reason::kBadParameters},
        {"range of 2", [](auto &o) { o.colour.full_range = 2; }, Reason::kBadParameters},
        {"codec that was not announced", [](auto &o) { o.codec = wire::Codec::kVp9; }, Reason::kUnsupportedCodec},
        {"codec of number 0", [](auto &o) { o.codec = wire::Codec{0}; }, Reason::kUnsupportedCodec},
        {"codec of number 999", [](auto &o) { o.codec = wire::Codec{999}; }, Reason::kUnsupportedCodec},
        {"profile too high", [](auto &o) { o.profile = 110; }, Reason::kUnsupportedProfile},
        {"level too high", [](auto &o) { o.level = 52; }, Reason::kUnsupportedProfile},
        {"wider than announced", [](auto &o) { o.coded_width = 4098; }, Reason::kTooLarge},
        {"higher than announced",
         [](auto &o) {
             o.coded_height = 2306;
             o.coded_width = 2306;
         },
         Reason::kTooLarge},
        {"side beyond the limit",
         [](auto &o) {
             o.codec = wire::Codec::kMjpeg;
             o.coded_width = 8194;
             o.coded_height = 16;
         },
         Reason::kTooLarge},
        {"area beyond the limit",
         [](auto &o) {
             o.codec = wire::Codec::kMjpeg;
             o.coded_width = 8192;
             o.coded_height = 4098;
         },
         Reason::kTooLarge},
        {"huge",
         [](auto &o) {
             o.codec = wire::Codec::kMjpeg;
             o.coded_width = o.coded_height = UINT32_MAX;
         },
         Reason::kTooLarge},
    };
    std::uint32_t id = 1;
    for (const Case &c : cases) {
        SCOPED_TRACE(c.name);
        wire::StreamOpen o = h264(id++);
        c.change(o);
        bench.from_guest(o);
        EXPECT_EQ(rejections(), std::vector{c.reason});
    }
    EXPECT_TRUE(bench.events.empty()) << "the listener must not see what was refused";
    EXPECT_TRUE(bench.messages.empty());
}

TEST_F(SessionTest, accepts_what_is_just_within_the_limits)
{
    wire::StreamOpen portrait = h264(1);
    portrait.coded_width = 2304;
    portrait.coded_height = 4096;
    wire::StreamOpen unknown_profile = h264(2);
    unknown_profile.profile = unknown_profile.level = -1;
    wire::StreamOpen largest = h264(3);
    largest.codec = wire::Codec::kMjpeg;
    largest.coded_width = 8192;
    largest.coded_height = 4096;
    for (const auto &o : {portrait, unknown_profile, largest})
        bench.from_guest(o);
    EXPECT_EQ(bench.sent<wire::StreamAccept>().size(), 3u);
}

TEST(SessionStart, codec_announced_twice_is_accepted_when_either_entry_fits)
{
    wire::Hello hello = client_hello();
    hello.codecs.insert(hello.codecs.begin(), {wire::Codec::kH264, wire::kCodecInHardware, 77, 31, 1280, 720});
    Bench bench(hello);
    bench.establish();
    bench.from_guest(h264(1));
    EXPECT_EQ(bench.sent<wire::StreamAccept>().size(), 1u);
}

TEST_F(SessionTest, identifier_is_never_used_again)
{
    open(5);
    bench.from_guest(h264(5));
    EXPECT_EQ(rejections(), std::vector{Reason::kBadParameters}) << "while it lives";
    bench.from_guest(wire::StreamClose{5, Reason::kEndOfStream});
    bench.from_guest(h264(5));
    EXPECT_EQ(rejections(), std::vector{Reason::kBadParameters}) << "after it was closed";
    bench.on_open = [](auto &) { return Reason::kNoResources; };
    bench.from_guest(h264(6));
    bench.on_open = nullptr;
    bench.from_guest(h264(6));
    EXPECT_EQ(rejections(), (std::vector{Reason::kNoResources, Reason::kBadParameters})) << "after it was refused";
    open(4);
    open(1000);
    bench.session.close_stream(4, Reason::kNone);
    bench.from_guest(h264(1000 - 256));
    EXPECT_EQ(rejections(), std::vector{Reason::kBadParameters}) << "too far below the largest";
    open(1000 - 255);
}

TEST_F(SessionTest, streams_beyond_the_announced_number_are_refused)
{
    for (std::uint32_t i = 1; i <= 3; ++i)
        open(i);
    bench.from_guest(h264(4));
    EXPECT_EQ(rejections(), std::vector{Reason::kTooManyStreams});
    bench.session.close_stream(2, Reason::kNone);
    open(5);
}

TEST_F(SessionTest, listener_refuses_with_its_own_reason)
{
    bench.on_open = [](auto &) { return Reason::kDecoderFailed; };
    bench.from_guest(h264(1));
    EXPECT_EQ(rejections(), std::vector{Reason::kDecoderFailed});
    bench.unit(1, 0);
    EXPECT_EQ(bench.take_events(), Events{"open 1: 1920x1080"});
    EXPECT_EQ(bench.session.counters().stale_units, 1u);
}

// ---- geometry

TEST_F(SessionTest, geometry_before_open_follows_open_at_once)
{
    bench.from_guest(geometry(1, 3));
    bench.from_guest(geometry(1, 7));
    bench.from_guest(geometry(1, 5));
    EXPECT_TRUE(bench.events.empty());
    open(1);
    EXPECT_EQ(bench.take_events(), (Events{"open 1: 1920x1080", "geometry 1: 7 with 1"}));
    bench.from_guest(geometry(1, 6));
    bench.from_guest(geometry(1, 7));
    EXPECT_TRUE(bench.events.empty()) << "older than what holds";
    bench.from_guest(geometry(1, 8));
    EXPECT_EQ(bench.take_events(), Events{"geometry 1: 8 with 1"});
}

TEST_F(SessionTest, geometry_of_a_stream_that_is_over_is_ignored)
{
    open(1);
    bench.from_guest(wire::StreamClose{1, Reason::kEndOfStream});
    bench.take_events();
    bench.from_guest(geometry(1, 1));
    EXPECT_TRUE(bench.events.empty());
}

TEST_F(SessionTest, close_before_open_forgets_the_geometry)
{
    bench.from_guest(geometry(1, 3));
    bench.from_guest(wire::StreamClose{1, Reason::kNone});
    open(1);
    EXPECT_EQ(bench.take_events(), Events{"open 1: 1920x1080"});
}

TEST_F(SessionTest, geometry_is_kept_for_sixteen_unopened_streams_and_no_more)
{
    for (std::uint32_t i = 1; i <= 17; ++i)
        bench.from_guest(geometry(i, 1));
    open(1);
    EXPECT_EQ(bench.take_events(), Events{"open 1: 1920x1080"}) << "the lowest identifier made room";
    open(17);
    EXPECT_EQ(bench.take_events(), (Events{"open 17: 1920x1080", "geometry 17: 1 with 1"}));
}

TEST_F(SessionTest, empty_target_shows_nothing)
{
    open(1);
    wire::Geometry g = geometry(1, 1);
    g.target.width = 0;
    bench.take_events();
    bench.from_guest(g);
    EXPECT_EQ(bench.take_events(), Events{"geometry 1: 1 with 0"});
}

TEST_F(SessionTest, crop_outside_the_picture_closes_the_stream_alone)
{
    open(1);
    open(2);
    bench.take_events();
    wire::Geometry g = geometry(1, 1);
    g.crop = {1919u << 16, 0, 1u << 16, 1080u << 16};
    bench.from_guest(g);
    EXPECT_EQ(bench.take_events(), Events{"geometry 1: 1 with 1"});
    g.serial = 2;
    g.crop.width += 1;
    bench.from_guest(g);
    EXPECT_EQ(bench.take_events(), Events{closed(1, Reason::kProtocolError)});
    bench.from_guest(geometry(2, 1));
    EXPECT_EQ(bench.take_events(), Events{"geometry 2: 1 with 1"});
}

// ---- access units

TEST_F(SessionTest, unit_in_chunks_arrives_whole_with_geometry_between)
{
    open(1);
    bench.take_events();
    Bytes data(100'000, 7), bytes;
    std::vector<std::size_t> ends;
    wire::encode_access_unit({.stream = 1, .flags = wire::kKey, .pts = 5, .data = data}, bytes, ends);
    std::size_t start = 0;
    for (std::size_t end : ends) {
        bench.session.feed(std::span(bytes).subspan(start, end - start), bench.now);
        bench.from_guest(geometry(1, static_cast<std::uint32_t>(end)));
        start = end;
    }
    auto events = bench.take_events();
    ASSERT_EQ(events.size(), ends.size() + 1);
    EXPECT_TRUE(events[events.size() - 2].starts_with("unit 1: 0 epoch 0 flags 1 pts 5 size 100000"))
        << events[events.size() - 2];
    EXPECT_EQ(bench.session.counters().bitstream_bytes, 100'000u);
    EXPECT_EQ(bench.session.counters().access_units, 1u);
}

TEST_F(SessionTest, violations_close_their_stream_and_no_other)
{
    const Bytes ten(10, 1), more(21, 1);
    auto part = [&](std::uint32_t serial, std::uint32_t epoch = 0) {
        return wire::AccessUnit{.stream = 1, .serial = serial, .epoch = epoch, .total_size = 30, .data = ten};
    };
    auto chunk = [&](std::uint32_t serial, std::uint32_t offset) {
        return wire::AccessUnitChunk{1, serial, offset, ten};
    };
    struct Case {
        const char *name;
        std::vector<wire::Message> messages;
    };
    wire::AccessUnit follows{.follows = true, .stream = 1, .pts = 5, .total_size = 10, .data = ten};
    wire::AccessUnit late{.stream = 1, .serial = 0, .pts = wire::kMaxTime, .total_size = 10, .data = ten};
    const Case cases[] = {
        {"first serial is not 0", {part(1)}},
        {"serial left out", {part(0), chunk(0, 10), chunk(0, 20), part(2)}},
        {"serial repeated", {part(0), chunk(0, 10), chunk(0, 20), part(0)}},
        {"short form without a unit before", {follows}},
        {"short form beyond the range of time", {late, follows}},
        {"chunk without its unit", {chunk(0, 10)}},
        {"chunk of another serial", {part(0), chunk(1, 10)}},
        {"chunk repeated", {part(0), chunk(0, 10), chunk(0, 10)}},
        {"chunk left out", {part(0), chunk(0, 20)}},
        {"chunk after the last", {part(0), chunk(0, 10), chunk(0, 20), chunk(0, 30)}},
        {"chunk beyond the whole size", {part(0), wire::AccessUnitChunk{1, 0, 10, more}}},
        {"unit within a unit", {part(0), part(1)}},
        {"epoch that was not announced", {part(0, 1)}},
        {"epoch smaller than before", {wire::PlayState{1, 2}, part(0, 2), wire::PlayState{1, 3}, part(1, 1)}},
    };
    for (const Case &c : cases) {
        SCOPED_TRACE(c.name);
        Bench fresh;
        fresh.establish();
        fresh.from_guest(h264(1));
        fresh.from_guest(h264(2));
        fresh.messages.clear();
        for (std::size_t i = 0; i < c.messages.size(); ++i) {
            EXPECT_TRUE(fresh.sent<wire::StreamClose>().empty()) << "before message " << i;
            fresh.from_guest(c.messages[i]);
        }
        EXPECT_EQ(fresh.sent<wire::StreamClose>(), (std::vector{wire::StreamClose{1, Reason::kProtocolError}}));
        EXPECT_EQ(fresh.events.back(), closed(1, Reason::kProtocolError));
        EXPECT_EQ(fresh.session.counters().protocol_errors, 1u);
        EXPECT_TRUE(fresh.session.established());
        fresh.unit(2, 0);
        EXPECT_TRUE(fresh.events.back().starts_with("unit 2: 0")) << fresh.events.back();
    }
}

TEST_F(SessionTest, what_arrives_for_a_stream_after_its_close_is_ignored_and_counted)
{
    open(1);
    bench.session.close_stream(1, Reason::kClosedByUser);
    EXPECT_EQ(bench.sent<wire::StreamClose>(), (std::vector{wire::StreamClose{1, Reason::kClosedByUser}}));
    bench.take_events();
    bench.messages.clear();
    bench.unit(1, 0, 100'000);
    bench.from_guest(wire::PlayState{1, 1});
    bench.from_guest(wire::StreamClose{1, Reason::kEndOfStream});
    bench.session.units_done(1, 3, bench.now);
    bench.session.need_key(1);
    EXPECT_TRUE(bench.events.empty()) << "the listener closed it itself";
    EXPECT_TRUE(bench.messages.empty());
    EXPECT_EQ(bench.session.counters().stale_units, 1u);
    EXPECT_EQ(bench.session.counters().protocol_errors, 0u);
}

TEST_F(SessionTest, unknown_reason_of_a_close_is_taken_as_none)
{
    open(1);
    bench.from_guest(wire::StreamClose{1, static_cast<Reason>(500)});
    EXPECT_EQ(bench.events.back(), closed(1, Reason::kNone));
}

TEST_F(SessionTest, units_in_parts_take_32_mib_together_and_no_more)
{
    const Bytes some(1000, 1);
    for (std::uint32_t id : {1u, 2u, 3u}) {
        open(id);
        bench.from_guest(wire::AccessUnit{.stream = id, .total_size = wire::kMaxAccessUnit, .data = some});
    }
    EXPECT_EQ(bench.events.back(), closed(3, Reason::kNoResources));
    bench.from_guest(wire::StreamClose{1, Reason::kNone});
    open(4);
    bench.from_guest(wire::AccessUnit{.stream = 4, .total_size = wire::kMaxAccessUnit, .data = some});
    bench.from_guest(wire::PlayState{2, 1}); // a flush gives the memory back too
    open(5);
    bench.from_guest(wire::AccessUnit{.stream = 5, .total_size = wire::kMaxAccessUnit, .data = some});
    EXPECT_EQ(bench.session.counters().protocol_errors, 1u);
}

TEST_F(SessionTest, stream_that_takes_most_ends_when_units_in_parts_take_too_much_together)
{
    const Bytes some(1000, 1);
    for (std::uint32_t id : {1u, 2u}) {
        open(id);
        bench.from_guest(wire::AccessUnit{.stream = id, .total_size = wire::kMaxAccessUnit, .data = some});
    }
    open(3);
    bench.take_events();
    bench.unit(3, 0, 200'000, wire::kKey);
    const auto events = bench.take_events();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0], closed(1, Reason::kNoResources));
    EXPECT_NE(events[1].find("unit 3: 0 "), std::string::npos) << events[1];

    // One after the other, in one read: what an ended stream had is there for the next at once.
    Bytes bytes;
    wire::encode(wire::AccessUnit{.stream = 3, .serial = 1, .total_size = 2u << 20, .data = some}, bytes);
    for (std::uint32_t id : {4u, 5u}) {
        wire::encode(h264(id), bytes);
        wire::encode(wire::AccessUnit{.stream = id, .total_size = wire::kMaxAccessUnit, .data = some}, bytes);
    }
    wire::encode(h264(6), bytes);
    wire::encode(wire::AccessUnit{.stream = 6, .total_size = 10u << 20, .data = some}, bytes);
    bench.session.feed(bytes, bench.now);
    for (std::uint32_t id : {4u, 5u})
        EXPECT_EQ(std::count(bench.events.begin(), bench.events.end(), closed(id, Reason::kNoResources)), 1) << id;
    EXPECT_EQ(bench.session.counters().protocol_errors, 3u) << "streams 2, 3 and 6 go on";
}

/// Sends a unit of 16 MiB in its messages, as the credit lets it; `credit`: bytes that the stream has.
void send_largest_unit(Bench &bench, std::uint32_t stream, std::uint64_t credit)
{
    Bytes data(wire::kMaxAccessUnit, 3), bytes;
    std::vector<std::size_t> ends;
    wire::encode_access_unit({.stream = stream, .flags = wire::kKey, .data = data}, bytes, ends);
    std::uint64_t sent = 0;
    std::size_t start = 0;
    for (std::size_t end : ends) {
        sent += end - start;
        ASSERT_LE(sent, credit + 32 * ends.size()) << "the guest would have to stop for good";
        bench.session.feed(std::span(bytes).subspan(start, end - start), bench.now);
        if (auto credits = bench.sent<wire::Credit>(); !credits.empty())
            credit = credits.back().bytes;
        start = end;
    }
}

TEST_F(SessionTest, largest_unit_passes_within_the_credit)
{
    open(1);
    send_largest_unit(bench, 1, bench.sent<wire::Credit>().back().bytes);
    EXPECT_NE(bench.events.back().find("size 16777216"), std::string::npos) << bench.events.back();
}

TEST_F(SessionTest, stream_that_falls_silent_keeps_no_more_than_a_mebibyte)
{
    for (std::uint32_t id : {1u, 2u, 3u}) {
        open(id);
        send_largest_unit(bench, id, bench.sent<wire::Credit>().back().bytes);
        EXPECT_NE(bench.events.back().find("size 16777216"), std::string::npos) << bench.events.back();
        EXPECT_LE(bench.session.assembly_memory(), id * InboundStream::kKept);
    }
    bench.unit(1, 1, 200'000);
    const std::size_t kept = bench.session.assembly_memory();
    EXPECT_GE(kept, 200'000u) << "what is kept serves the next unit";
}

// ---- epochs and keys

TEST_F(SessionTest, unit_of_an_old_epoch_is_dropped_but_its_credit_comes_back)
{
    open(1);
    bench.unit(1, 0);
    bench.from_guest(wire::PlayState{1, 1});
    bench.take_events();
    bench.sent<wire::Credit>();
    for (std::uint32_t i = 1; i < 16; ++i)
        bench.unit(1, i, 100, 0, 0);
    EXPECT_TRUE(bench.take_events().empty());
    EXPECT_EQ(bench.session.counters().stale_units, 15u);
    auto credits = bench.sent<wire::Credit>();
    ASSERT_FALSE(credits.empty());
    EXPECT_GE(credits.back().units, 16u + 8u);
    bench.unit(1, 16, 100, wire::kKey, 1);
    EXPECT_EQ(bench.take_events().size(), 1u);
}

TEST_F(SessionTest, flush_cuts_off_a_unit_that_is_not_complete)
{
    open(1);
    const Bytes ten(10, 1);
    bench.from_guest(wire::AccessUnit{.stream = 1, .total_size = 30, .data = ten});
    bench.from_guest(wire::AccessUnitChunk{1, 0, 10, ten});
    bench.from_guest(wire::PlayState{1, 1});
    bench.take_events();
    bench.unit(1, 1, 50, wire::kKey, 1);
    auto events = bench.take_events();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_TRUE(events[0].starts_with("unit 1: 1 epoch 1")) << events[0];
    EXPECT_EQ(bench.session.counters().protocol_errors, 0u);
}

TEST_F(SessionTest, unit_that_is_continued_after_the_flush_is_dropped)
{
    open(1);
    const Bytes ten(10, 1);
    bench.from_guest(wire::AccessUnit{.stream = 1, .total_size = 20, .data = ten});
    bench.from_guest(wire::PlayState{1, 1});
    bench.take_events();
    bench.from_guest(wire::AccessUnitChunk{1, 0, 10, ten});
    EXPECT_TRUE(bench.events.empty());
    EXPECT_EQ(bench.session.counters().stale_units, 1u);
    bench.unit(1, 1, 50, wire::kKey, 1);
    EXPECT_EQ(bench.take_events().size(), 1u);
}

TEST_F(SessionTest, smaller_epoch_is_ignored_and_the_same_one_changes_the_mode)
{
    open(1);
    bench.take_events();
    bench.from_guest(wire::PlayState{1, 4, wire::PlayMode::kPlaying});
    bench.from_guest(wire::PlayState{1, 4, wire::PlayMode::kPaused});
    bench.from_guest(wire::PlayState{1, 3, wire::PlayMode::kPlaying});
    EXPECT_EQ(bench.take_events(), (Events{"play state 1: epoch 4 playing", "play state 1: epoch 4 paused"}));
}

TEST_F(SessionTest, need_key_is_asked_once_and_drops_units_until_a_key_unit)
{
    open(1);
    bench.unit(1, 0, 100, wire::kKey);
    bench.session.need_key(1);
    bench.session.need_key(1);
    EXPECT_EQ(bench.sent<wire::NeedKey>().size(), 1u);
    bench.take_events();
    for (std::uint32_t i = 1; i <= 6; ++i)
        bench.unit(1, i, i == 3 ? 70'000 : 100);
    EXPECT_TRUE(bench.take_events().empty());
    EXPECT_EQ(bench.session.counters().units_before_key, 6u);
    EXPECT_GE(bench.sent<wire::Credit>().back().units, 12u) << "dropped units give their credit back by themselves";
    bench.unit(1, 7, 100, wire::kKey);
    bench.unit(1, 8);
    EXPECT_EQ(bench.take_events().size(), 2u);
    bench.session.need_key(1);
    EXPECT_EQ(bench.sent<wire::NeedKey>().size(), 1u);
}

TEST_F(SessionTest, need_key_lets_a_key_unit_under_way_arrive)
{
    for (bool key : {true, false}) {
        std::uint32_t id = key ? 1 : 2;
        open(id);
        bench.take_events();
        const Bytes ten(10, 1);
        bench.from_guest(wire::AccessUnit{
            .stream = id, .flags = static_cast<std::uint16_t>(key ? wire::kKey : 0), .total_size = 20, .data = ten});
        bench.session.need_key(id);
        bench.from_guest(wire::AccessUnitChunk{id, 0, 10, ten});
        EXPECT_EQ(bench.take_events().size(), key ? 1u : 0u);
    }
}

TEST_F(SessionTest, listener_may_close_the_stream_from_within_a_unit_in_parts)
{
    open(1);
    bench.on_unit = [&](const wire::AccessUnit &unit) {
        bench.session.need_key(1);
        bench.session.units_done(1, 1, bench.now);
        bench.session.close_stream(1, Reason::kDecoderFailed);
        EXPECT_EQ(unit.data[unit.data.size() - 1], 0) << "lent for the whole call";
    };
    bench.unit(1, 0, 100'000, wire::kKey);
    EXPECT_EQ(bench.sent<wire::StreamClose>().size(), 1u);
    bench.unit(1, 1);
    EXPECT_EQ(bench.session.counters().access_units, 1u);
}

} // namespace
} // namespace spice_overlay::test
