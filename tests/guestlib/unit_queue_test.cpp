// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/common/unit_queue.h"

#include <gtest/gtest.h>

#include <string>

using namespace spice_overlay::guest;

namespace {

/// Units of `size` bytes, at pts 0, 10, 20 ...: 'k' a key unit, any other letter none.
UnitQueue queue_of(const std::string &letters, std::size_t size = 10)
{
    UnitQueue queue;
    for (std::size_t i = 0; i < letters.size(); i++) {
        Unit unit;
        unit.data.resize(size);
        unit.pts = static_cast<std::int64_t>(10 * i);
        unit.key = letters[i] == 'k';
        queue.push(std::move(unit));
    }
    return queue;
}

TEST(UnitQueue, goes_back_to_the_key_unit_of_the_picture_that_is_seen_now)
{
    struct {
        const char *letters;
        std::int64_t now;
        int begins; ///< number of the unit, -1 none
    } cases[] = {
        {"kuukuukuu", 45, 3},   {"kuukuukuu", 30, 3}, {"kuukuukuu", 29, 0},
        {"kuukuukuu", 1000, 6}, {"uukuu", 5, 2}, // later than now, but there is no other
        {"uuu", 5, -1},         {"", 5, -1},
    };
    for (const auto &c : cases) {
        UnitQueue queue = queue_of(c.letters);
        queue.advance_all();
        EXPECT_EQ(queue.rewind(c.now), c.begins >= 0) << c.letters << " at " << c.now;
        if (c.begins >= 0) {
            ASSERT_NE(queue.next(), nullptr);
            EXPECT_EQ(queue.next()->pts, 10 * c.begins) << c.letters << " at " << c.now;
        } else {
            EXPECT_EQ(queue.next(), nullptr) << c.letters;
        }
    }
}

TEST(UnitQueue, forgets_what_it_would_not_go_back_to_and_nothing_that_waits)
{
    UnitQueue queue = queue_of("kuukuuku");
    for (int i = 0; i < 5; i++)
        queue.advance();
    queue.trim(1000);
    EXPECT_EQ(queue.bytes_kept(), 20u) << "from the second key unit on";
    EXPECT_EQ(queue.units_waiting(), 3u);
    queue.advance_all();
    queue.trim(35);
    EXPECT_EQ(queue.bytes_kept(), 50u) << "the third is not seen yet";
    queue.trim(1000);
    EXPECT_EQ(queue.bytes_kept(), 20u);
    EXPECT_EQ(queue.bytes_waiting(), 0u);

    UnitQueue useless = queue_of("uuu");
    useless.advance_all();
    useless.trim(0);
    EXPECT_EQ(useless.bytes_kept(), 0u) << "nothing can begin with these";
}

TEST(UnitQueue, keeps_no_group_beyond_its_bounds)
{
    UnitQueue large = queue_of("kuuuuuuuuu", 1 << 20);
    large.advance_all();
    large.trim(0);
    EXPECT_EQ(large.bytes_kept(), 0u);
    EXPECT_FALSE(large.rewind(0));

    UnitQueue many = queue_of("k" + std::string(UnitQueue::kMostUnitsKept, 'u'));
    many.advance_all();
    many.trim(0);
    EXPECT_EQ(many.bytes_kept(), 0u);
}

TEST(UnitQueue, counts_what_waits)
{
    UnitQueue queue = queue_of("kuu");
    queue.advance();
    EXPECT_EQ(queue.bytes_waiting(), 20u);
    EXPECT_EQ(queue.bytes_of_next(1), 10u);
    EXPECT_EQ(queue.bytes_of_next(9), 20u);
    EXPECT_EQ(queue.earliest_pts(), 10);
    ASSERT_TRUE(queue.rewind(100));
    EXPECT_EQ(queue.bytes_waiting(), 30u);
    EXPECT_EQ(queue.bytes_kept(), 0u);
    queue.clear();
    EXPECT_EQ(queue.units_waiting(), 0u);
    EXPECT_EQ(queue.bytes_waiting(), 0u);
}

} // namespace
