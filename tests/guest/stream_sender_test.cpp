// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/conversation/outbox.h"
#include "guest/conversation/stream_sender.h"
#include "portclient/wire/deframer.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <random>

using namespace spice_overlay;
using namespace spice_overlay::guest;

namespace {

constexpr std::int64_t kMs = 1'000'000;

enum class Kind { kI, kP, kB };

Unit unit(Kind kind, std::int64_t time, std::size_t size = 1000, std::uint8_t fill = 0)
{
    Unit u;
    u.data.assign(size, fill);
    u.pts = u.dts = time;
    u.key = kind == Kind::kI;
    u.droppable = kind == Kind::kB;
    return u;
}

/// Reads back what a sender gives, and holds it against the credit that it was given.
class Receiver {
public:
    explicit Receiver(StreamSender &sender) : sender_(sender) {}

    void grant(std::uint64_t bytes, std::uint32_t units)
    {
        bytes_granted_ = std::max(bytes_granted_, bytes);
        units_granted_ = std::max(units_granted_, units);
        sender_.grant(bytes, units);
    }

    struct Got {
        std::uint16_t flags;
        std::int64_t pts;
        std::uint32_t epoch;
        std::size_t size;
        std::uint8_t fill;
        bool key() const { return flags & wire::kKey; }
        bool gap() const { return flags & wire::kDiscontinuity; }
    };

    /// One message; false when the sender has none.
    bool take()
    {
        std::vector<std::uint8_t> bytes;
        if (!sender_.next_message(bytes))
            return false;
        EXPECT_LE(bytes.size(), wire::kMaxMessageSize);
        wire::Message message;
        std::string why;
        EXPECT_TRUE(wire::decode(bytes, message, why)) << why;
        if (auto *first = std::get_if<wire::AccessUnit>(&message)) {
            EXPECT_TRUE(complete() || partial_epoch_changed_) << "a unit begins before the last was whole";
            EXPECT_TRUE(!first->follows || reference_.valid);
            EXPECT_TRUE(!first->follows || wire::resolve(*first, reference_));
            if (!first->follows)
                reference_ = {true, first->serial, first->epoch, first->pts};
            EXPECT_EQ(first->serial, units_);
            units_++;
            total_ = first->total_size;
            have_ = first->data.size();
            bytes_ += first->data.size();
            partial_epoch_changed_ = false;
            got.push_back({first->flags, first->pts, first->epoch, total_, first->data[0]});
        } else if (auto *chunk = std::get_if<wire::AccessUnitChunk>(&message)) {
            EXPECT_EQ(chunk->serial + 1, units_);
            EXPECT_EQ(chunk->offset, have_);
            have_ += chunk->data.size();
            bytes_ += chunk->data.size();
        } else {
            ADD_FAILURE() << "not an access unit";
        }
        EXPECT_LE(bytes_, bytes_granted_);
        EXPECT_LE(units_, units_granted_);
        EXPECT_LE(have_, total_);
        return true;
    }
    void take_all()
    {
        while (take()) {
        }
    }
    bool complete() const { return have_ == total_; }
    void expect_flush() { partial_epoch_changed_ = true; }
    std::uint64_t bytes() const { return bytes_; }
    std::uint32_t units() const { return units_; }

    std::vector<Got> got;

private:
    StreamSender &sender_;
    std::uint64_t bytes_granted_ = 0, bytes_ = 0;
    std::uint32_t units_granted_ = 0, units_ = 0;
    std::size_t total_ = 0, have_ = 0;
    bool partial_epoch_changed_ = false;
    wire::UnitReference reference_;
};

struct StreamSenderTest : testing::Test {
    StreamSender sender{7};
    Receiver receiver{sender};
    void push(Unit u)
    {
        std::int64_t time = u.dts;
        sender.push(std::move(u), time, time);
    }
};

TEST_F(StreamSenderTest, sends_nothing_before_the_first_credit)
{
    push(unit(Kind::kI, 0));
    receiver.take_all();
    EXPECT_TRUE(receiver.got.empty());
    EXPECT_FALSE(sender.granted());
}

TEST_F(StreamSenderTest, begins_with_a_key_unit)
{
    receiver.grant(1 << 20, 10);
    push(unit(Kind::kP, 0));
    push(unit(Kind::kB, 1));
    push(unit(Kind::kI, 2));
    receiver.take_all();
    ASSERT_EQ(receiver.got.size(), 1u);
    EXPECT_TRUE(receiver.got[0].key());
    EXPECT_EQ(sender.counters().dropped, 2u);
}

TEST_F(StreamSenderTest, never_begins_more_units_than_granted)
{
    receiver.grant(1 << 20, 2);
    for (int i = 0; i < 5; i++)
        push(unit(i ? Kind::kP : Kind::kI, i));
    receiver.take_all();
    EXPECT_EQ(receiver.units(), 2u);
    receiver.grant(1 << 20, 3);
    receiver.take_all();
    EXPECT_EQ(receiver.units(), 3u);
}

TEST_F(StreamSenderTest, a_smaller_credit_than_before_takes_nothing_back)
{
    receiver.grant(5000, 5);
    sender.grant(1, 1);
    for (int i = 0; i < 4; i++)
        push(unit(i ? Kind::kP : Kind::kI, i));
    receiver.take_all();
    EXPECT_EQ(receiver.units(), 4u);
}

TEST_F(StreamSenderTest, a_unit_larger_than_the_credit_goes_in_parts_as_credit_comes)
{
    std::size_t size = 1'000'000;
    push(unit(Kind::kI, 0, size));
    std::uint64_t granted = 0;
    for (int round = 0; round < 100 && (round == 0 || !receiver.complete() || receiver.units() == 0); round++) {
        receiver.grant(granted += 40'000, 8);
        receiver.take_all();
    }
    EXPECT_TRUE(receiver.complete());
    EXPECT_EQ(receiver.bytes(), size);
    EXPECT_EQ(receiver.units(), 1u);
}

TEST_F(StreamSenderTest, droppable_units_go_first_when_credit_is_short)
{
    receiver.grant(1 << 20, 1);
    push(unit(Kind::kI, 0));
    receiver.take_all();
    push(unit(Kind::kP, 40 * kMs));
    push(unit(Kind::kB, 80 * kMs));
    push(unit(Kind::kB, 120 * kMs));
    push(unit(Kind::kP, 160 * kMs));
    receiver.take_all();
    sender.settle(160 * kMs);
    EXPECT_EQ(sender.counters().dropped, 2u);
    receiver.grant(1 << 20, 10);
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 3u);
    EXPECT_EQ(receiver.got[1].pts, 40 * kMs);
    EXPECT_EQ(receiver.got[2].pts, 160 * kMs);
    EXPECT_FALSE(receiver.got[2].gap()) << "nothing that matters was left out";
}

TEST_F(StreamSenderTest, after_its_patience_everything_goes_up_to_the_next_key_unit)
{
    receiver.grant(1 << 20, 1);
    push(unit(Kind::kI, 0));
    receiver.take_all();
    for (int i = 1; i < 10; i++)
        push(unit(Kind::kP, i * 40 * kMs));
    EXPECT_EQ(sender.deadline(), 40 * kMs + StreamSender::kPatience);
    sender.settle(sender.deadline() - 1);
    EXPECT_EQ(sender.counters().dropped, 0u);
    sender.settle(sender.deadline());
    EXPECT_EQ(sender.counters().dropped, 9u);
    EXPECT_LT(sender.deadline(), 0);
    receiver.grant(1 << 20, 10);
    push(unit(Kind::kP, 400 * kMs));
    push(unit(Kind::kI, 440 * kMs));
    push(unit(Kind::kP, 480 * kMs));
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 3u);
    EXPECT_TRUE(receiver.got[1].key());
    EXPECT_TRUE(receiver.got[1].gap());
    EXPECT_FALSE(receiver.got[2].gap());
    EXPECT_EQ(sender.counters().dropped, 10u);
}

TEST_F(StreamSenderTest, pictures_shown_before_a_resumed_key_unit_are_left_out)
{
    receiver.grant(1 << 20, 10);
    push(unit(Kind::kI, 0));
    receiver.take_all();
    sender.restart_at_key();
    sender.push(unit(Kind::kI, 0), 200 * kMs, 0);
    sender.push(unit(Kind::kP, 0), 120 * kMs, 0); // leading: refers to the group of pictures before
    sender.push(unit(Kind::kB, 0), 160 * kMs, 0);
    sender.push(unit(Kind::kP, 0), 240 * kMs, 0);
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 3u);
    EXPECT_EQ(receiver.got[1].pts, 200 * kMs);
    EXPECT_EQ(receiver.got[2].pts, 240 * kMs);
    EXPECT_FALSE(receiver.got[2].gap());
}

TEST_F(StreamSenderTest, pictures_shown_before_a_key_unit_stay_when_nothing_was_left_out)
{
    receiver.grant(1 << 20, 10);
    push(unit(Kind::kI, 0));
    receiver.take_all();
    sender.push(unit(Kind::kI, 0), 200 * kMs, 0);
    sender.push(unit(Kind::kB, 0), 160 * kMs, 0);
    receiver.take_all();
    EXPECT_EQ(receiver.units(), 3u);
}

TEST_F(StreamSenderTest, a_unit_under_way_is_finished_before_a_restart)
{
    receiver.grant(50'000, 10);
    push(unit(Kind::kI, 0, 100'000, 1));
    receiver.take_all();
    EXPECT_FALSE(receiver.complete());
    sender.restart_at_key();
    push(unit(Kind::kI, 1, 100, 2));
    receiver.grant(1 << 20, 10);
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 2u);
    EXPECT_TRUE(receiver.complete());
}

TEST_F(StreamSenderTest, a_flush_cuts_off_the_unit_under_way_and_begins_an_epoch)
{
    receiver.grant(50'000, 10);
    push(unit(Kind::kI, 0, 100'000, 1));
    receiver.take_all();
    sender.flush(1);
    receiver.expect_flush();
    push(unit(Kind::kP, 1, 100, 2));
    push(unit(Kind::kI, 2, 100, 3));
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 2u);
    EXPECT_EQ(receiver.got[1].epoch, 1u);
    EXPECT_EQ(receiver.got[1].fill, 3);
    EXPECT_TRUE(receiver.got[1].gap());
}

TEST_F(StreamSenderTest, empty_and_huge_units_are_left_out)
{
    receiver.grant(1 << 30, 10);
    push(unit(Kind::kI, 0));
    push(unit(Kind::kP, 1, 0));
    push(unit(Kind::kI, 2, wire::kMaxAccessUnit + 1));
    push(unit(Kind::kI, 3));
    receiver.take_all();
    ASSERT_EQ(receiver.units(), 2u);
    EXPECT_TRUE(receiver.got[1].gap());
}

TEST_F(StreamSenderTest, has_no_room_for_more_than_a_few_mib_and_holds_nothing_of_what_it_has_sent)
{
    receiver.grant(4 * wire::kChunkPayload, 1);
    push(unit(Kind::kI, 0, wire::kMaxAccessUnit));
    receiver.take_all();
    EXPECT_EQ(sender.bytes_held(), wire::kMaxAccessUnit) << "a unit under way is held whole";
    EXPECT_TRUE(sender.has_room()) << "for one unit of any size";
    int pushed = 1;
    for (; sender.has_room(); pushed++)
        push(unit(Kind::kP, pushed, 1u << 20));
    EXPECT_LE(sender.bytes_held(), wire::kMaxAccessUnit + (1u << 20)) << "the one under way is counted";
    receiver.grant(1u << 30, 1000);
    receiver.take_all();
    EXPECT_EQ(receiver.units(), static_cast<unsigned>(pushed));
    EXPECT_EQ(sender.bytes_held(), 0u);
    for (; sender.has_room(); pushed++)
        push(unit(Kind::kP, pushed, 1u << 20));
    EXPECT_LE(sender.bytes_held(), StreamSender::kMostBytes);
}

TEST_F(StreamSenderTest, keeps_no_memory_of_a_large_unit_that_it_has_sent)
{
    const auto in_use = [] {
        const auto heap = ::mallinfo2(); // a sanitizer's tells nothing
        return heap.uordblks + heap.hblkhd;
    };
    std::vector<std::uint8_t> out;
    out.reserve(64 << 10);
    const std::size_t before = in_use();
    sender.grant(1u << 30, 10);
    push(unit(Kind::kI, 0, wire::kMaxAccessUnit));
    while (sender.next_message(out)) {
    }
    EXPECT_EQ(sender.bytes_held(), 0u);
    EXPECT_LT(in_use(), before + (1u << 20));
}

/// Random units, credit and time against what must always hold.
TEST(StreamSenderModel, any_sequence_decodes_and_keeps_to_the_credit)
{
    for (unsigned seed = 0; seed < 300; seed++) {
        std::mt19937 random(seed);
        StreamSender sender(1);
        Receiver receiver(sender);
        std::vector<Unit> made; // unit i is shown at time i
        std::uint64_t bytes = 0;
        std::uint32_t units = 0;
        std::int64_t now = 0;
        for (int step = 0; step < 400; step++) {
            now += static_cast<std::int64_t>(random() % 30) * kMs;
            unsigned action = random() % 10;
            if (action < 5 && sender.has_room()) {
                Kind kind = random() % 12 == 0 ? Kind::kI : random() % 3 ? Kind::kB : Kind::kP;
                std::size_t size = 1 + random() % (kind == Kind::kI ? 120'000 : 20'000);
                made.push_back(unit(kind, static_cast<std::int64_t>(made.size()), size));
                sender.push(made.back(), made.back().pts, now);
            } else if (action < 8) {
                receiver.grant(bytes += random() % (seed % 3 ? 60'000 : 10'000), units += random() % 3);
            } else if (action == 8 && random() % 20 == 0) {
                sender.restart_at_key();
            }
            for (unsigned n = random() % 6; n > 0 && receiver.take(); n--) {
            }
            if (random() % 2) {
                receiver.take_all();
                sender.settle(now);
                EXPECT_TRUE(sender.deadline() < 0 || sender.deadline() > now) << "would wake up for nothing";
            }
        }
        // Every unit sent has all that it refers to: the P and I units since the last key unit, without a gap.
        std::int64_t last_reference = -1;
        for (const Receiver::Got &got : receiver.got) {
            const Unit &sent = made[static_cast<std::size_t>(got.pts)];
            EXPECT_EQ(got.key(), sent.key);
            EXPECT_EQ(got.size, sent.data.size());
            bool hole = last_reference < 0;
            for (std::int64_t i = last_reference + 1; i < got.pts; i++)
                hole |= !made[static_cast<std::size_t>(i)].droppable;
            if (hole) {
                EXPECT_TRUE(got.key()) << "seed " << seed << ": unit " << got.pts << " refers to what was not sent";
                EXPECT_TRUE(got.gap() || last_reference < 0) << "seed " << seed;
            }
            if (!sent.droppable)
                last_reference = got.pts;
        }
        if (seed % 3) {
            EXPECT_GT(receiver.got.size(), 5u) << "seed " << seed;
        }
    }
}

TEST(Outbox, control_messages_overtake_data_but_never_split_a_message)
{
    Outbox outbox;
    int data_messages = 0;
    auto more = [&](std::vector<std::uint8_t> &out) {
        out.assign(100, static_cast<std::uint8_t>(++data_messages));
        return true;
    };
    ASSERT_EQ(outbox.front(more).size(), 100u);
    outbox.wrote(30);
    outbox.control(wire::Ping{1, 2});
    auto rest = outbox.front(more);
    ASSERT_EQ(rest.size(), 70u) << "the message that has begun is finished";
    EXPECT_EQ(rest[0], 1);
    outbox.wrote(70);
    EXPECT_EQ(outbox.front(more)[2], static_cast<std::uint8_t>(wire::Type::kPing));
    outbox.wrote(outbox.front(more).size());
    EXPECT_EQ(outbox.front(more)[0], 2);
}

TEST(Outbox, a_newer_geometry_takes_the_older_ones_place)
{
    Outbox outbox;
    wire::Geometry geometry;
    geometry.stream = 1;
    for (std::uint32_t serial = 1; serial <= 50; serial++) {
        geometry.serial = serial;
        outbox.control(geometry);
    }
    geometry.stream = 2;
    outbox.control(geometry);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
    auto none = [](std::vector<std::uint8_t> &) { return false; };
    for (auto data = outbox.front(none); !data.empty(); data = outbox.front(none)) {
        wire::Message message;
        std::string why;
        ASSERT_TRUE(wire::decode(data, message, why)) << why;
        auto &got = std::get<wire::Geometry>(message);
        seen.emplace_back(got.stream, got.serial);
        outbox.wrote(data.size());
    }
    EXPECT_EQ(seen, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{1, 50}, {2, 50}}));
}

} // namespace
