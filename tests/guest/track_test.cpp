// SPDX-License-Identifier: LGPL-2.1-or-later
// A track over a made-up source and a made-up clock, and the inspector over hostile bytes.
#include "guest/conversation/access_unit.h"
#include "guest/play/track.h"
#include "portclient/wire/deframer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

using namespace spice_overlay;
using namespace spice_overlay::guest;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kFrame = 40 * kMs;
constexpr std::int64_t kDelay = 2 * kFrame;      ///< between decoding and showing
constexpr std::int64_t kStart = 1'000'000 * kMs; ///< the clock at the beginning of each test

/// Pictures at 25 a second, a key unit every `group`, every second other one droppable. The first byte is the unit's
/// number.
class MadeUpSource : public UnitSource {
public:
    MadeUpSource(int count, int group, bool index) : count_(count), group_(group), index_(index)
    {
        description_.codec = wire::Codec::kH264;
        description_.coded_width = 320;
        description_.coded_height = 240;
    }
    const wire::StreamOpen &description() const override { return description_; }
    std::optional<Unit> next() override
    {
        if (at_ >= count_)
            return {};
        Unit unit;
        unit.data.assign(1000, static_cast<std::uint8_t>(at_));
        unit.pts = at_ * kFrame;
        unit.dts = unit.pts - kDelay;
        unit.duration = kFrame;
        unit.key = at_ % group_ == 0;
        unit.droppable = at_ % group_ % 2 == 1;
        at_++;
        return unit;
    }
    bool seek(std::int64_t position) override
    {
        seeks++;
        at_ = static_cast<int>(std::clamp<std::int64_t>(position / kFrame, 0, count_ - 1)) / group_ * group_;
        return true;
    }
    std::optional<std::int64_t> next_key_after(std::int64_t position) const override
    {
        std::int64_t key = (position / (group_ * kFrame) + 1) * group_ * kFrame;
        return index_ && key < count_ * kFrame ? std::optional(key - kDelay) : std::nullopt;
    }
    std::int64_t duration() const override { return count_ * kFrame; }
    std::string complaint() const override { return {}; }

    int seeks = 0;

private:
    wire::StreamOpen description_;
    int count_, group_;
    bool index_;
    int at_ = 0;
};

struct TrackTest : testing::Test {
    Outgoing outgoing;
    MadeUpSource *source = nullptr;
    std::unique_ptr<Track> track;
    std::int64_t now = kStart;

    struct Got {
        std::uint8_t number;
        std::uint16_t flags;
        std::int64_t pts;
        std::uint32_t stream, epoch;
        std::int64_t at;
    };
    std::vector<Got> units;
    std::vector<wire::Message> control;
    wire::UnitReference reference;
    std::uint32_t reference_stream = 0;

    void make(int count, int group, bool loop = false, bool index = true)
    {
        auto made = std::make_unique<MadeUpSource>(count, group, index);
        source = made.get();
        track = std::make_unique<Track>("made-up", std::move(made), outgoing, loop);
    }
    void connect()
    {
        outgoing.established = true;
        track->connected();
    }
    void grant(std::uint64_t bytes = 1 << 30, std::uint32_t count = 1 << 30)
    {
        track->credit(wire::Credit{track->stream(), bytes, count}, now);
    }
    /// Takes everything that may be written now.
    void drain()
    {
        auto more = [&](std::vector<std::uint8_t> &out) { return track->next_message(out); };
        for (auto data = outgoing.outbox.front(more); !data.empty(); data = outgoing.outbox.front(more)) {
            wire::Message message;
            std::string why;
            ASSERT_TRUE(wire::decode(data, message, why)) << why;
            if (auto *unit = std::get_if<wire::AccessUnit>(&message)) {
                if (reference_stream != unit->stream)
                    reference = {};
                reference_stream = unit->stream;
                ASSERT_TRUE(!unit->follows || wire::resolve(*unit, reference));
                reference = {true, unit->serial, unit->epoch, unit->pts};
                units.push_back({unit->data[0], unit->flags, unit->pts, unit->stream, unit->epoch, now});
            } else {
                control.push_back(message);
            }
            outgoing.outbox.wrote(data.size());
        }
    }
    /// Lets time pass as the program's loop does.
    void run_until(std::int64_t end, int most_wakes = 100'000)
    {
        for (int wakes = 0;; wakes++) {
            ASSERT_LT(wakes, most_wakes) << "wakes up for nothing";
            track->tick(now);
            drain();
            track->settle(now);
            std::int64_t next = track->deadline(now);
            if (next < 0 || next >= end)
                break;
            now = next;
        }
        now = end;
    }
    template <typename M>
    std::vector<M> all() const
    {
        std::vector<M> found;
        for (const wire::Message &message : control)
            if (auto *m = std::get_if<M>(&message))
                found.push_back(*m);
        return found;
    }
};

TEST_F(TrackTest, clock_starts_with_the_first_credit)
{
    make(50, 25);
    track->open();
    connect();
    run_until(kStart + 5000 * kMs);
    EXPECT_TRUE(units.empty());
    grant();
    run_until(now + 1);
    ASSERT_EQ(units.size(), 1u);
    EXPECT_TRUE(units[0].flags & wire::kKey);
    EXPECT_EQ(units[0].at, kStart + 5000 * kMs);
    EXPECT_EQ(units[0].pts, units[0].at + kDelay);
}

TEST_F(TrackTest, units_go_in_pairs_at_their_decoding_time_and_the_stream_ends_with_the_last_picture)
{
    make(50, 25);
    track->open();
    connect();
    grant();
    run_until(kStart + 10'000 * kMs);
    ASSERT_EQ(units.size(), 50u);
    for (int i = 0; i < 50; i++) {
        auto u = units[static_cast<std::size_t>(i)];
        EXPECT_EQ(u.number, i);
        EXPECT_EQ(u.at, kStart + (i % 2 ? i : std::max(0, i - 1)) * kFrame) << i; // the first one catches up
        EXPECT_EQ(u.pts, kStart + i * kFrame + kDelay);
        EXPECT_FALSE(u.flags & wire::kDiscontinuity);
    }
    auto closes = all<wire::StreamClose>();
    ASSERT_EQ(closes.size(), 1u);
    EXPECT_EQ(closes[0].reason, wire::Reason::kEndOfStream);
    EXPECT_FALSE(track->wanted());
}

TEST_F(TrackTest, loops_without_a_gap_in_time)
{
    make(30, 10, true);
    track->open();
    connect();
    grant();
    run_until(kStart + 100 * kFrame);
    ASSERT_GE(units.size(), 100u);
    for (int i = 0; i < 100; i++) {
        auto u = units[static_cast<std::size_t>(i)];
        EXPECT_EQ(u.number, i % 30);
        EXPECT_EQ(u.pts, kStart + i * kFrame + kDelay) << i;
        EXPECT_EQ(bool(u.flags & wire::kDiscontinuity), i > 0 && i % 30 == 0) << i;
    }
}

TEST_F(TrackTest, a_paused_track_wants_no_wake_up_and_goes_on_where_it_was)
{
    make(100, 25);
    track->open();
    connect();
    grant();
    run_until(kStart + 20 * kFrame - kMs);
    std::size_t before = units.size();
    EXPECT_EQ(before, 21u) << "one went along with the one before";
    track->pause(now);
    drain();
    EXPECT_LT(track->deadline(now), 0);
    run_until(now + 60'000 * kMs);
    EXPECT_EQ(units.size(), before);
    std::int64_t resumed = now;
    track->resume(now);
    run_until(now + 2 * kFrame);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, before);
    EXPECT_EQ(units[before].at, resumed + kMs + kFrame);
    auto states = all<wire::PlayState>();
    ASSERT_EQ(states.size(), 2u);
    EXPECT_EQ(states[0].mode, wire::PlayMode::kPaused);
    EXPECT_EQ(states[1].mode, wire::PlayMode::kPlaying);
    EXPECT_EQ(states[1].epoch, 0u);
}

TEST_F(TrackTest, seeking_begins_an_epoch_and_bursts_from_the_key_unit_to_the_position)
{
    make(200, 50);
    track->open();
    connect();
    grant();
    run_until(kStart + 10 * kFrame);
    std::size_t before = units.size();
    track->seek(120 * kFrame, now);
    std::int64_t sought = now;
    run_until(now + 1);
    auto states = all<wire::PlayState>();
    ASSERT_EQ(states.size(), 1u);
    EXPECT_EQ(states[0].epoch, 1u);
    ASSERT_GT(units.size(), before + 1);
    EXPECT_EQ(units[before].number, 100);
    EXPECT_TRUE(units[before].flags & wire::kKey);
    EXPECT_TRUE(units[before].flags & wire::kDiscontinuity);
    bool shown_now = false;
    for (std::size_t i = before; i < units.size(); i++) {
        EXPECT_EQ(units[i].epoch, 1u);
        EXPECT_EQ(units[i].at, sought);
        shown_now |= units[i].number == 120 && units[i].pts == sought;
        EXPECT_FALSE(units[i].number < 120 && units[i].flags & wire::kDroppable) << "nobody would see it";
    }
    EXPECT_TRUE(shown_now);
}

TEST_F(TrackTest, seeking_while_paused_shows_the_picture_there)
{
    make(200, 50);
    track->open();
    connect();
    grant();
    run_until(kStart + 10 * kFrame);
    track->pause(now);
    run_until(now + 5000 * kMs);
    std::size_t before = units.size();
    track->seek(60 * kFrame, now);
    std::int64_t sought = now;
    run_until(now + 5000 * kMs);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, 50);
    EXPECT_EQ(units.back().number, 62) << "decoding order runs ahead by the delay";
    EXPECT_TRUE(std::ranges::any_of(units, [&](const Got &u) { return u.number == 60 && u.pts == sought; }));
    EXPECT_LT(track->deadline(now), 0);
    track->resume(now);
    run_until(now + kFrame + 1);
    EXPECT_EQ(units.back().number, 64) << "two go together";
}

TEST_F(TrackTest, a_client_that_wants_a_key_unit_in_a_pause_gets_all_up_to_the_picture)
{
    make(200, 50);
    track->open();
    connect();
    grant();
    run_until(kStart + 30 * kFrame);
    track->pause(now);
    run_until(now + 5000 * kMs);
    std::size_t before = units.size();
    track->need_key(now);
    run_until(now + 5000 * kMs, 100);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, 0);
    EXPECT_EQ(units.back().number, 30);
    EXPECT_LT(track->deadline(now), 0);
}

TEST_F(TrackTest, seeking_while_paused_waits_for_credit_without_waking_up)
{
    make(200, 50);
    track->open();
    connect();
    grant(1 << 30, 13);
    run_until(kStart + 10 * kFrame);
    track->pause(now);
    track->seek(60 * kFrame, now);
    run_until(now + 5000 * kMs, 10);
    EXPECT_EQ(units.size(), 13u);
    EXPECT_LT(track->deadline(now), 0);
    grant();
    run_until(now + 5000 * kMs, 100);
    EXPECT_EQ(units.back().number, 62);
}

TEST_F(TrackTest, a_position_beyond_the_end_is_taken_back_to_the_end)
{
    make(50, 10);
    track->open();
    connect();
    grant();
    run_until(kStart + kFrame);
    track->seek(INT64_MAX / 4, now);
    run_until(now + 1000 * kMs);
    EXPECT_GE(units.back().number, 48);
    EXPECT_FALSE(track->wanted());
}

TEST_F(TrackTest, need_key_bursts_from_the_key_unit_before_when_the_next_is_far)
{
    make(500, 250);
    track->open();
    connect();
    grant();
    run_until(kStart + 100 * kFrame);
    std::size_t before = units.size();
    track->need_key(now);
    run_until(now + 1);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, 0);
    EXPECT_TRUE(units[before].flags & wire::kDiscontinuity);
    EXPECT_EQ(units[before].pts, kStart + kDelay) << "the old time: the client drops what is late";
    EXPECT_EQ(units[before].epoch, 0u);
    EXPECT_EQ(units.back().number, 100);
}

TEST_F(TrackTest, need_key_waits_for_the_next_key_unit_when_that_is_near)
{
    make(500, 250);
    track->open();
    connect();
    grant();
    run_until(kStart + 245 * kFrame);
    std::size_t before = units.size();
    track->need_key(now);
    run_until(now + 20 * kFrame);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, 250);
    EXPECT_TRUE(units[before].flags & wire::kDiscontinuity);
}

TEST_F(TrackTest, a_client_asking_for_keys_without_end_cannot_make_it_seek_without_end)
{
    make(500, 250);
    track->open();
    connect();
    grant();
    run_until(kStart + 10 * kFrame);
    int before = source->seeks;
    for (int i = 0; i < 1000; i++) {
        track->need_key(now);
        run_until(now + kMs);
    }
    EXPECT_LE(source->seeks - before, 12);
}

TEST_F(TrackTest, a_new_conversation_gets_a_new_stream_at_the_present)
{
    make(500, 50);
    track->open();
    connect();
    grant();
    run_until(kStart + 60 * kFrame);
    EXPECT_EQ(track->stream(), 1u);
    outgoing.outbox.forget();
    outgoing.established = false;
    track->disconnected();
    EXPECT_EQ(track->stream(), 0u);
    run_until(kStart + 130 * kFrame);
    std::size_t before = units.size();
    connect();
    EXPECT_EQ(track->stream(), 2u);
    grant();
    run_until(now + 1);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].stream, 2u);
    EXPECT_EQ(units[before].number, 100);
    EXPECT_EQ(units.back().number, 130);
    EXPECT_EQ(units.back().pts, kStart + 130 * kFrame + kDelay) << "the clock has run on";
}

TEST_F(TrackTest, a_looping_track_rejoins_in_the_right_pass)
{
    make(100, 10, true);
    track->open();
    connect();
    grant();
    run_until(kStart + 5 * kFrame);
    track->disconnected();
    run_until(kStart + 1033 * kFrame);
    std::size_t before = units.size();
    connect();
    grant();
    run_until(now + 1);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units.back().number, 33);
    EXPECT_EQ(units.back().pts, kStart + 1033 * kFrame + kDelay);
}

TEST_F(TrackTest, ends_in_time_with_nobody_there)
{
    make(50, 10);
    track->open();
    connect();
    grant();
    run_until(kStart + 5 * kFrame);
    track->disconnected();
    run_until(kStart + 49 * kFrame);
    EXPECT_TRUE(track->wanted());
    run_until(kStart + 60 * kFrame);
    EXPECT_FALSE(track->wanted());
}

TEST_F(TrackTest, geometry_is_announced_whether_it_came_before_or_after_open)
{
    make(50, 10);
    wire::Geometry geometry;
    geometry.target = {1, 2, 3, 4};
    track->place(geometry);
    connect();
    drain();
    EXPECT_TRUE(control.empty());
    track->open();
    geometry.target = {5, 6, 7, 8};
    drain();
    track->place(geometry);
    drain();
    auto places = all<wire::Geometry>();
    ASSERT_EQ(places.size(), 2u);
    EXPECT_EQ(places[0].target.x, 1);
    EXPECT_EQ(places[1].target.x, 5);
    EXPECT_LT(places[0].serial, places[1].serial);
    EXPECT_EQ(places[0].stream, track->stream());
}

TEST_F(TrackTest, opened_again_after_a_close_it_begins_at_the_start_under_a_new_number)
{
    make(50, 10);
    track->open();
    connect();
    grant();
    run_until(kStart + 5 * kFrame);
    track->close(wire::Reason::kClosedByUser);
    drain();
    ASSERT_EQ(all<wire::StreamClose>().size(), 1u);
    EXPECT_LT(track->deadline(now), 0);
    track->open();
    EXPECT_EQ(track->stream(), 2u);
    std::size_t before = units.size();
    grant();
    run_until(now + 1);
    ASSERT_GT(units.size(), before);
    EXPECT_EQ(units[before].number, 0);
    EXPECT_EQ(units[before].pts, units[before].at + kDelay);
}

TEST_F(TrackTest, a_slow_decoder_at_the_start_is_waited_for)
{
    make(500, 250);
    track->open();
    connect();
    grant(1 << 30, 8);
    run_until(kStart + 1500 * kMs);
    EXPECT_EQ(units.size(), 8u);
    grant();
    run_until(now + 1000 * kMs);
    EXPECT_FALSE(std::ranges::any_of(units, [](const Got &u) { return u.flags & wire::kDiscontinuity; }));
    EXPECT_GT(units.size(), 40u);
}

TEST_F(TrackTest, a_client_that_stalls_later_gets_the_next_key_unit)
{
    make(500, 50);
    track->open();
    connect();
    grant(1 << 30, 70);
    run_until(kStart + 90 * kFrame);
    EXPECT_EQ(units.size(), 70u);
    grant();
    run_until(kStart + 110 * kFrame);
    ASSERT_GT(units.size(), 70u);
    EXPECT_EQ(units[70].number, 100);
    EXPECT_TRUE(units[70].flags & wire::kDiscontinuity);
    EXPECT_EQ(units[70].at, kStart + 99 * kFrame) << "along with the one before";
    EXPECT_EQ(track->totals().sent.dropped, 30u);
}

TEST(Inspector, never_looks_outside_hostile_bytes)
{
    std::mt19937 random(3);
    for (int codec = 1; codec <= 7; codec++) {
        for (int i = 0; i < 5000; i++) {
            std::vector<std::uint8_t> bytes(random() % 40);
            for (std::uint8_t &byte : bytes)
                byte = static_cast<std::uint8_t>(random() % 4 ? random() % 3 : random());
            std::vector<std::uint8_t> exact(bytes); // no spare capacity: the address sanitizer sees the edge
            AccessUnitInspector inspector(static_cast<wire::Codec>(codec), exact);
            (void)inspector.droppable(exact);
            if (auto at = inspector.missing_parameter_sets(exact)) {
                EXPECT_LE(*at, exact.size());
            }
        }
    }
}

TEST(Inspector, h264_units_with_parameter_sets_or_reference_slices_stay)
{
    using Bytes = std::vector<std::uint8_t>;
    AccessUnitInspector inspector(wire::Codec::kH264, {});
    EXPECT_TRUE(inspector.droppable(Bytes{0, 0, 0, 1, 0x09, 0x30, 0, 0, 1, 0x01, 0x9a}));
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 0, 1, 0x41, 0x9a}));
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 1, 0x01, 0x9a, 0, 0, 1, 0x21, 0x9a})) << "one slice refers";
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 1, 0x68, 1, 0, 0, 1, 0x01, 0x9a}));
    EXPECT_FALSE(inspector.droppable(Bytes{}));
    EXPECT_EQ(inspector.missing_parameter_sets(Bytes{0, 0, 0, 1, 0x65, 1}), 0u);
    EXPECT_EQ(inspector.missing_parameter_sets(Bytes{0, 0, 1, 0x09, 0x10, 0, 0, 1, 0x65, 1}), 5u)
        << "behind the delimiter";
    EXPECT_FALSE(inspector.missing_parameter_sets(Bytes{0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 1}));
}

TEST(Inspector, hevc_units_of_a_lower_temporal_layer_stay)
{
    using Bytes = std::vector<std::uint8_t>;
    Bytes two_layers{0, 0, 1, 0x42, 0x01, 0x02}; // SPS, sps_max_sub_layers_minus1 = 1
    AccessUnitInspector inspector(wire::Codec::kHevc, two_layers);
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 1, 0x00, 0x01, 0x80})) << "TRAIL_N of layer 0";
    EXPECT_TRUE(inspector.droppable(Bytes{0, 0, 1, 0x00, 0x02, 0x80})) << "TRAIL_N of layer 1";
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 1, 0x02, 0x02, 0x80})) << "TRAIL_R";
    EXPECT_FALSE(inspector.droppable(Bytes{0, 0, 1, 0x26, 0x01, 0x80})) << "IDR";
}

} // namespace
