// SPDX-License-Identifier: LGPL-2.1-or-later
#include "portclient/region/region.h"

#include <gtest/gtest.h>

#include <bitset>
#include <random>

using namespace spice_overlay;

namespace {

constexpr int kSide = 40;

/// The model: one bit a pixel, by the definition of each operation.
using Bitmap = std::bitset<kSide * kSide>;

void draw(Bitmap &bits, const GuestRect &r)
{
    for (int y = std::max(r.y1, 0); y < std::min(r.y2, kSide); ++y)
        for (int x = std::max(r.x1, 0); x < std::min(r.x2, kSide); ++x)
            bits.set(static_cast<std::size_t>(y * kSide + x));
}

Bitmap bitmap(const GuestRegion &region)
{
    Bitmap bits;
    for (const Box &b : region.boxes())
        draw(bits, {b});
    return bits;
}

testing::AssertionResult canonical(const GuestRegion &region)
{
    const auto &boxes = region.boxes();
    for (std::size_t i = 0; i < boxes.size(); ++i) {
        if (boxes[i].empty())
            return testing::AssertionFailure() << "box " << i << " is empty";
        if (i == 0)
            continue;
        const Box &p = boxes[i - 1];
        bool same_band = p.y1 == boxes[i].y1 && p.y2 == boxes[i].y2 && p.x2 < boxes[i].x1;
        if (!same_band && p.y2 > boxes[i].y1)
            return testing::AssertionFailure() << "box " << i << " is out of order or touches its neighbour";
    }
    return testing::AssertionSuccess();
}

class RandomRects {
public:
    explicit RandomRects(unsigned seed) : engine_(seed) {}
    int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(engine_); }
    GuestRect rect()
    {
        int x = below(kSide);
        int y = below(kSide);
        return {{x, y, x + below(kSide + 1 - x), y + below(kSide + 1 - y)}};
    }
    GuestRegion region(int rects, Bitmap &bits)
    {
        std::vector<GuestRect> list;
        for (int i = 0; i < rects; ++i) {
            list.push_back(rect());
            draw(bits, list.back());
        }
        return GuestRegion(std::span<const GuestRect>(list));
    }

private:
    std::mt19937 engine_;
};

} // namespace

TEST(Region, random_operations_agree_with_a_bitmap)
{
    RandomRects random(7);
    for (int round = 0; round < 10000; ++round) {
        Bitmap bits_a;
        Bitmap bits_b;
        GuestRegion a = random.region(random.below(8), bits_a);
        GuestRegion b = random.region(random.below(8), bits_b);
        struct {
            const char *name;
            GuestRegion result;
            Bitmap expected;
        } cases[] = {{"union", a | b, bits_a | bits_b},
                     {"intersect", a & b, bits_a & bits_b},
                     {"subtract", a - b, bits_a & ~bits_b},
                     {"difference", a.difference(b), bits_a ^ bits_b}};
        for (const auto &c : cases) {
            ASSERT_EQ(bitmap(c.result), c.expected) << c.name << " in round " << round;
            ASSERT_TRUE(canonical(c.result)) << c.name << " in round " << round;
            ASSERT_EQ(c.result.area(), static_cast<std::int64_t>(c.expected.count()));
        }
        int x = random.below(kSide);
        int y = random.below(kSide);
        ASSERT_EQ(a.contains(x, y), bits_a.test(static_cast<std::size_t>(y * kSide + x)));
    }
}

TEST(Region, equal_sets_are_equal_however_they_were_built)
{
    RandomRects random(11);
    for (int round = 0; round < 2000; ++round) {
        Bitmap bits;
        GuestRegion whole = random.region(6, bits);
        GuestRegion rebuilt;
        for (int y = kSide - 1; y >= 0; --y)
            for (int x = 0; x < kSide;) {
                int end = x;
                while (end < kSide && bits.test(static_cast<std::size_t>(y * kSide + end)))
                    ++end;
                if (end > x)
                    rebuilt |= GuestRect{{x, y, end, y + 1}};
                x = end + 1;
            }
        ASSERT_EQ(whole, rebuilt) << "round " << round;
    }
}

TEST(Region, an_empty_rectangle_makes_an_empty_region)
{
    EXPECT_TRUE(GuestRegion(GuestRect{{5, 5, 5, 9}}).empty());
    EXPECT_TRUE(GuestRegion(GuestRect{{5, 5, 3, 9}}).empty());
    EXPECT_TRUE((GuestRegion() | GuestRegion()).empty());
    EXPECT_EQ(GuestRegion().bounds(), GuestRect{});
}

TEST(Region, a_cut_and_its_piece_make_the_whole_again)
{
    GuestRegion whole = GuestRect{{0, 0, 10, 10}};
    GuestRegion piece = GuestRect{{3, 3, 6, 6}};
    GuestRegion rest = whole - piece;
    EXPECT_EQ(rest.boxes().size(), 4u);
    EXPECT_EQ((whole - piece) | piece, whole);
    EXPECT_TRUE(whole.is({{0, 0, 10, 10}}));
    EXPECT_FALSE((whole - piece).is({{0, 0, 10, 10}}));
}

/// `count` bars of one pixel, two apart, 1000 long.
std::vector<GuestRect> bars(int count, bool upright)
{
    std::vector<GuestRect> rects;
    for (int i = 0; i < count; ++i)
        rects.push_back(upright ? GuestRect::from_size(2 * i, 0, 1, 1000) : GuestRect::from_size(0, 2 * i, 1000, 1));
    return rects;
}

TEST(Region, that_takes_too_many_boxes_is_none)
{
    const std::vector<GuestRect> upright = bars(100, true);
    const std::vector<GuestRect> level = bars(100, false);
    std::vector<GuestRect> both = upright;
    both.insert(both.end(), level.begin(), level.end());
    const GuestRegion all(both);
    EXPECT_GT(all.boxes().size(), 10'000u);
    EXPECT_FALSE(GuestRegion::united(both, 10'000));
    EXPECT_EQ(GuestRegion::united(both, 20'000), all);
    EXPECT_EQ(GuestRegion::united(upright, 100), GuestRegion(upright));
    EXPECT_FALSE(GuestRegion::united(upright, 99));
    const GuestRegion a(upright);
    const GuestRegion b(level);
    EXPECT_FALSE(a.plus(b, 10'000));
    EXPECT_FALSE(a.minus(b, 9'999));
    EXPECT_EQ(a.plus(b, 20'000), a | b);
    EXPECT_EQ(a.minus(b, 20'000), a - b);
}
