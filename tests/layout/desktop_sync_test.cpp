// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/layout/damage.h"
#include "overlay/layout/desktop_sync.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <random>

using namespace spice_overlay;

namespace {

constexpr int kWidth = 160;
constexpr int kHeight = 120;
constexpr std::uint32_t kPlaceholder = 0x01fe77;
constexpr std::int64_t kMs = 1'000'000;

/// A guest's desktop by definition: who owns each pixel. Shares nothing with the region algebra.
class Guest {
public:
    GuestRect video{{20, 20, 84, 68}};
    GuestRect occluder{{200, 200, 220, 220}}; ///< off-screen: none

    [[nodiscard]] std::uint32_t pixel(int x, int y) const
    {
        auto in = [x, y](const GuestRect &r) { return x >= r.x1 && x < r.x2 && y >= r.y1 && y < r.y2; };
        if (in(occluder))
            return 0x406080;
        if (in(video))
            return kPlaceholder;
        if (in(video.grown(1)))
            return 0xffd700; // the window's border
        return 0x101010u + static_cast<std::uint32_t>(x * 7 + y * 13) % 97 * 0x010203;
    }

    [[nodiscard]] wire::Geometry geometry(std::uint32_t serial) const
    {
        wire::Geometry g;
        g.stream = 1;
        g.serial = serial;
        g.target = {video.x1, video.y1, std::uint32_t(video.width()), std::uint32_t(video.height())};
        g.placeholder = kPlaceholder;
        for (int y = std::max(video.y1, 0); y < std::min(video.y2, kHeight); ++y)
            for (int x = std::max(video.x1, 0); x < std::min(video.x2, kWidth);) {
                int end = x;
                while (end < std::min(video.x2, kWidth) && pixel(end, y) == kPlaceholder)
                    ++end;
                if (end > x)
                    g.visible.push_back({x, y, std::uint32_t(end - x), 1});
                x = end + 1;
            }
        return g;
    }
};

/// The viewer's side: SPICE's live picture, and what is on the screen.
class Bench {
public:
    Bench()
    {
        pixels_.resize(kWidth * kHeight);
        draw(Guest(), {{0, 0, kWidth, kHeight}});
        sync.set_live({pixels_.data(), kWidth, kWidth, kHeight});
        sync.geometry(1, VideoGeometry(Guest().geometry(1), bounds()), 0);
        sync.set_showing(1, true);
        (void)sync.advance(0);
    }

    static GuestRect bounds() { return {{0, 0, kWidth, kHeight}}; }

    void draw(const Guest &guest, const GuestRect &r)
    {
        for (int y = std::max(r.y1, 0); y < std::min(r.y2, kHeight); ++y)
            for (int x = std::max(r.x1, 0); x < std::min(r.x2, kWidth); ++x)
                pixels_[static_cast<std::size_t>(y) * kWidth + static_cast<std::size_t>(x)] = guest.pixel(x, y);
    }

    /// Pixels that a person would see wrong: a bare placeholder, or video where the shown desktop has none.
    [[nodiscard]] int wrong_pixels() const
    {
        std::vector<char> hole(kWidth * kHeight);
        for (const Box &b : sync.applied(1)->visible.boxes())
            for (int y = b.y1; y < b.y2; ++y)
                std::fill_n(hole.begin() + y * kWidth + b.x1, b.width(), 1);
        int wrong = 0;
        Picture shown = sync.released();
        for (int y = 0; y < kHeight; ++y)
            for (int x = 0; x < kWidth; ++x)
                wrong += (shown.row(y)[x] == kPlaceholder)
                         != (hole[static_cast<std::size_t>(y) * kWidth + static_cast<std::size_t>(x)] != 0);
        return wrong;
    }

    DesktopSync sync;

private:
    std::vector<std::uint32_t> pixels_;
};

struct Event {
    std::int64_t at;
    std::uint64_t order;
    std::function<void()> happen;
    bool operator<(const Event &o) const { return at != o.at ? at > o.at : order > o.order; }
};

} // namespace

struct Skew {
    const char *name;
    int from_ms; ///< geometry after damage; negative: before
    int to_ms;
};

class Skewed : public testing::TestWithParam<Skew> {};

TEST_P(Skewed, moving_window_never_shows_its_placeholder_nor_video_out_of_place)
{
    std::mt19937 random(5);
    auto between = [&](int a, int b) { return std::uniform_int_distribution<int>(a, b)(random); };
    Bench bench;
    std::priority_queue<Event> events;
    std::uint64_t order = 0;
    std::int64_t now = 0;
    std::int64_t last_geometry = 0;
    std::int64_t last_damage = 0;
    auto at = [&](std::int64_t when, std::function<void()> what) { events.push({when, order++, std::move(what)}); };

    auto guest = std::make_shared<Guest>();
    constexpr int kSteps = 400;
    for (int step = 0; step < kSteps; ++step) {
        std::int64_t when = 100 * kMs + step * 33 * kMs;
        auto before = guest;
        guest = std::make_shared<Guest>(*before);
        switch (between(0, 4)) {
        case 0: { // dragged, also half off-screen
            int x = between(-40, kWidth - 20);
            int y = between(-30, kHeight - 20);
            guest->video = GuestRect::from_size(x, y, before->video.width(), before->video.height());
            break;
        }
        case 1: // a short way
            guest->video = {{before->video.x1 + between(-3, 3), before->video.y1 + between(-3, 3), 0, 0}};
            guest->video.x2 = guest->video.x1 + before->video.width();
            guest->video.y2 = guest->video.y1 + before->video.height();
            break;
        case 2:
            guest->video.x2 = guest->video.x1 + between(20, 90);
            guest->video.y2 = guest->video.y1 + between(20, 70);
            break;
        default:
            guest->occluder = GuestRect::from_size(between(-20, kWidth), between(-20, kHeight), between(5, 60), between(5, 60));
        }
        std::int64_t skew = between(GetParam().from_ms, GetParam().to_ms) * kMs;
        std::int64_t damage_at = std::max(when + std::max<std::int64_t>(-skew, 0), last_damage);
        std::int64_t geometry_at = std::max(when + std::max<std::int64_t>(skew, 0), last_geometry); // each channel keeps its order
        last_geometry = geometry_at;
        // The desktop changes in up to three pieces, one after the other.
        std::vector<GuestRect> pieces;
        for (const GuestRect &r : {before->video.grown(1), guest->video.grown(1), before->occluder, guest->occluder})
            if (!r.intersected(Bench::bounds()).empty())
                pieces.push_back(r);
        std::shuffle(pieces.begin(), pieces.end(), random);
        std::int64_t delay = 0;
        for (const GuestRect &piece : pieces) {
            at(damage_at + delay, [&bench, guest, piece] { bench.draw(*guest, piece); });
            delay += between(0, 20) * kMs / 4; // drawn first, told later
            at(damage_at + delay, [&bench, &now, piece] { bench.sync.damaged(piece, now); });
            delay += between(0, 1) * kMs / 2;
        }
        last_damage = damage_at + delay;
        at(geometry_at, [&bench, &now, guest, serial = std::uint32_t(step + 2)] {
            bench.sync.geometry(1, VideoGeometry(guest->geometry(serial), Bench::bounds()), now);
        });
    }

    int shots = 0;
    int wrong = 0;
    std::uint32_t last_serial = 0;
    int applied_late = 0;
    for (; !events.empty() || now % (16 * kMs) != 0; now += kMs / 4) {
        while (!events.empty() && events.top().at <= now) {
            events.top().happen();
            events.pop();
        }
        if (now % (16 * kMs) != 0)
            continue;
        (void)bench.sync.advance(now);
        ++shots;
        wrong += bench.wrong_pixels() != 0;
        last_serial = bench.sync.applied(1)->serial;
        applied_late = std::max(applied_late, static_cast<int>((now - 100 * kMs) / (33 * kMs)) + 2 -
                                                  static_cast<int>(last_serial));
    }
    (void)bench.sync.advance(now + DesktopSync::kPatience);
    EXPECT_GT(shots, 400);
    EXPECT_EQ(wrong, 0) << "of " << shots << " pictures";
    EXPECT_EQ(bench.sync.applied(1)->serial, std::uint32_t(kSteps + 1)) << "the last geometry was not applied";
    EXPECT_LE(applied_late, 5) << "the shown geometry fell behind: pairing waits longer than the skew";
}

INSTANTIATE_TEST_SUITE_P(DesktopSync, Skewed,
                         testing::Values(Skew{"together", 0, 0}, Skew{"early_50", -50, -50}, Skew{"early_25", -25, -25},
                                         Skew{"late_25", 25, 25}, Skew{"late_50", 50, 50}, Skew{"random", -50, 50}),
                         [](const auto &test) { return std::string(test.param.name); });

TEST(DesktopSync, damage_waits_no_longer_than_its_patience_for_a_geometry_that_never_comes)
{
    Bench bench;
    Guest moved;
    moved.video = GuestRect::from_size(60, 40, 64, 48);
    bench.draw(moved, Bench::bounds());
    bench.sync.damaged(Bench::bounds(), 0);
    EXPECT_TRUE(bench.sync.advance(0).damage.empty());
    EXPECT_EQ(bench.sync.deadline(), DesktopSync::kPatience);
    EXPECT_FALSE(bench.sync.advance(DesktopSync::kPatience).damage.empty());

    // From now on nothing waits, until the stream has been seen paired again.
    bench.draw(moved, {{0, 0, 10, 10}});
    bench.sync.damaged({{0, 0, 10, 10}}, DesktopSync::kPatience);
    EXPECT_EQ(bench.sync.advance(DesktopSync::kPatience).damage, GuestRegion(GuestRect{{0, 0, 10, 10}}));
}

TEST(DesktopSync, a_video_that_the_desktop_shows_elsewhere_is_not_shown_until_its_geometry_comes)
{
    struct Way {
        const char *name;
        GuestRect video;
        GuestRect occluder;
        bool astray;
    };
    const GuestRect off = Guest().occluder;
    const Way ways[] = {
        {"moved", GuestRect::from_size(60, 40, 64, 48), off, true},
        {"moved a pixel sideways", GuestRect::from_size(21, 20, 64, 48), off, true},
        {"larger", GuestRect::from_size(20, 20, 80, 60), off, true},
        {"smaller", GuestRect::from_size(20, 20, 50, 40), off, true},
        {"hidden", Guest().video, Guest().video.grown(5), true},
        {"crossed inside", Guest().video, {{30, 30, 50, 50}}, false},
        {"crossed at a corner", Guest().video, {{10, 10, 50, 50}}, false},
    };
    for (const Way &way : ways) {
        SCOPED_TRACE(way.name);
        Bench bench;
        Guest changed;
        changed.video = way.video;
        changed.occluder = way.occluder;
        bench.draw(changed, Bench::bounds());
        bench.sync.damaged(Bench::bounds(), 0);
        (void)bench.sync.advance(0);
        EXPECT_NE(bench.sync.applied(1), nullptr) << "while the damage is kept back";
        EXPECT_EQ(bench.sync.advance(DesktopSync::kPatience).geometry, way.astray);
        EXPECT_EQ(bench.sync.applied(1) == nullptr, way.astray);

        const std::int64_t late = DesktopSync::kPatience + 400 * kMs;
        bench.sync.geometry(1, VideoGeometry(changed.geometry(2), Bench::bounds()), late);
        EXPECT_TRUE(bench.sync.advance(late).geometry);
        ASSERT_NE(bench.sync.applied(1), nullptr);
        EXPECT_EQ(bench.sync.applied(1)->serial, 2u);
        EXPECT_EQ(bench.wrong_pixels(), 0);
    }
}

TEST(DesktopSync, a_video_is_shown_again_when_the_desktop_never_agrees_with_its_geometry)
{
    Bench bench;
    Guest moved;
    moved.video = GuestRect::from_size(60, 40, 64, 48);
    bench.draw(moved, Bench::bounds());
    bench.sync.damaged(Bench::bounds(), 0);
    (void)bench.sync.advance(DesktopSync::kPatience);
    EXPECT_EQ(bench.sync.applied(1), nullptr);
    Guest told;
    told.video = GuestRect::from_size(62, 40, 64, 48);
    const std::int64_t then = 600 * kMs;
    bench.sync.geometry(1, VideoGeometry(told.geometry(2), Bench::bounds()), then);
    EXPECT_FALSE(bench.sync.advance(then).geometry);
    EXPECT_EQ(bench.sync.deadline(), then + DesktopSync::kSettle);
    EXPECT_FALSE(bench.sync.advance(then + DesktopSync::kSettle - 1).geometry);
    EXPECT_TRUE(bench.sync.advance(then + DesktopSync::kSettle).geometry);
    ASSERT_NE(bench.sync.applied(1), nullptr);
    EXPECT_EQ(bench.sync.applied(1)->serial, 2u);
}

TEST(DesktopSync, a_video_is_shown_again_when_the_desktop_goes_on_for_long_to_disagree)
{
    Bench bench;
    Guest moved;
    std::int64_t now = 0;
    std::int64_t hidden = 0;
    for (; now < DesktopSync::kMostAstray + 1'000 * kMs; now += 100 * kMs) {
        moved.video = GuestRect::from_size(60 + static_cast<int>(now / kMs / 100 % 7), 40, 64, 48);
        bench.draw(moved, Bench::bounds());
        bench.sync.damaged(Bench::bounds(), now);
        (void)bench.sync.advance(now);
        hidden += bench.sync.applied(1) == nullptr;
    }
    EXPECT_NE(bench.sync.applied(1), nullptr);
    EXPECT_EQ(hidden, DesktopSync::kMostAstray / (100 * kMs));
}

TEST(DesktopSync, damage_waits_longer_where_geometries_are_seen_to_be_late_and_again_less_where_not)
{
    Bench bench;
    Guest guest;
    std::uint32_t serial = 1;
    std::int64_t now = 0;
    /// The window moves; its geometry comes `late` after the desktop. Whether it was waited for.
    auto move = [&](std::int64_t late) {
        guest.video = GuestRect::from_size(20 + static_cast<int>(serial % 5) * 9, 20, 64, 48);
        bench.draw(guest, Bench::bounds());
        bench.sync.damaged(Bench::bounds(), now);
        const std::int64_t end = now + late;
        bool waited = true;
        for (; now < end; now += 10 * kMs) {
            (void)bench.sync.advance(now);
            waited &= bench.sync.applied(1) != nullptr;
        }
        bench.sync.geometry(1, VideoGeometry(guest.geometry(++serial), Bench::bounds()), now);
        (void)bench.sync.advance(now);
        EXPECT_EQ(bench.sync.applied(1)->serial, serial);
        EXPECT_EQ(bench.wrong_pixels(), 0);
        now += 10 * kMs;
        return waited;
    };
    EXPECT_TRUE(move(400 * kMs));
    EXPECT_FALSE(move(800 * kMs));
    EXPECT_TRUE(move(800 * kMs));
    EXPECT_TRUE(move(800 * kMs));
    EXPECT_FALSE(move(1'200 * kMs)) << "but a desktop that stands still is no better";
    for (int n = 0; n < 300; ++n)
        EXPECT_TRUE(move(0));
    EXPECT_FALSE(move(800 * kMs));
}

TEST(DesktopSync, damage_waits_less_where_that_was_in_vain)
{
    Bench bench;
    Guest guest;
    guest.occluder = {{30, 30, 40, 40}}; // what the guest draws into its placeholder, of which nothing is ever told
    std::int64_t now = 0;
    for (std::int64_t patience : {DesktopSync::kPatience, DesktopSync::kPatience, DesktopSync::kLeastPatience}) {
        bench.draw(guest, guest.occluder);
        bench.sync.damaged(guest.occluder, now);
        EXPECT_TRUE(bench.sync.advance(now).damage.empty());
        EXPECT_EQ(bench.sync.deadline(), now + patience);
        now += patience;
        EXPECT_FALSE(bench.sync.advance(now).damage.empty());
        EXPECT_NE(bench.sync.applied(1), nullptr);
    }
}

TEST(DesktopSync, damage_of_which_patience_is_taken_while_it_waits_is_released_when_it_is_due)
{
    Bench bench;
    Guest guest;
    guest.occluder = {{30, 30, 40, 40}};
    auto draw = [&](std::int64_t at) {
        bench.draw(guest, guest.occluder);
        bench.sync.damaged(guest.occluder, at);
    };
    draw(0);
    std::int64_t now = DesktopSync::kPatience;
    EXPECT_FALSE(bench.sync.advance(now).damage.empty());
    draw(now);
    draw(now + DesktopSync::kPatience - DesktopSync::kLeastPatience);
    now += DesktopSync::kPatience; // in vain: the second is due by that
    EXPECT_FALSE(bench.sync.advance(now).damage.empty());
    EXPECT_LT(bench.sync.deadline(), 0);
}

TEST(DesktopSync, geometry_waits_for_as_long_as_the_desktop_shows_the_one_before)
{
    Bench bench;
    Guest moved;
    moved.video = GuestRect::from_size(60, 40, 64, 48);
    bench.sync.geometry(1, VideoGeometry(moved.geometry(2), Bench::bounds()), 0);
    for (std::int64_t now : {1 * kMs, DesktopSync::kPatience, 60'000 * kMs}) {
        EXPECT_FALSE(bench.sync.advance(now).geometry) << now;
        EXPECT_LT(bench.sync.deadline(), 0);
        EXPECT_EQ(bench.wrong_pixels(), 0);
    }
    bench.draw(moved, Bench::bounds());
    bench.sync.damaged(Bench::bounds(), 60'001 * kMs);
    EXPECT_TRUE(bench.sync.advance(60'001 * kMs).geometry);
    EXPECT_EQ(bench.sync.applied(1)->serial, 2u);
    EXPECT_EQ(bench.wrong_pixels(), 0);
}

TEST(DesktopSync, geometry_waits_no_longer_than_its_patience_once_the_desktop_no_longer_shows_the_one_before)
{
    Bench bench;
    Guest covered; // by something that throws a shadow: what is left of the placeholder has other edges than was told
    covered.occluder = {{40, 30, 60, 50}};
    const GuestRect around = covered.occluder.grown(3);
    bench.sync.geometry(1, VideoGeometry(covered.geometry(2), Bench::bounds()), 0);
    Guest shadow = covered;
    shadow.occluder = around;
    bench.draw(shadow, around);
    bench.sync.damaged(around, 1);
    EXPECT_FALSE(bench.sync.advance(1).geometry);
    EXPECT_TRUE(bench.sync.advance(1 + DesktopSync::kPatience).geometry); // the damage's
    EXPECT_EQ(bench.sync.applied(1)->serial, 2u);
}

TEST(DesktopSync, geometry_that_hides_the_video_waits_no_longer_than_its_patience)
{
    Bench bench;
    Guest hidden;
    hidden.occluder = Bench::bounds();
    bench.sync.geometry(1, VideoGeometry(hidden.geometry(2), Bench::bounds()), 0);
    EXPECT_FALSE(bench.sync.advance(1).geometry);
    EXPECT_EQ(bench.sync.deadline(), DesktopSync::kLeastPatience);
    EXPECT_TRUE(bench.sync.advance(DesktopSync::kLeastPatience).geometry);
    EXPECT_TRUE(bench.sync.applied(1)->visible.empty());
}

TEST(DesktopSync, a_display_that_shrinks_under_a_video_is_not_read_outside)
{
    Bench bench;
    Guest moved;
    moved.video = GuestRect::from_size(60, 40, 64, 48);
    bench.sync.geometry(1, VideoGeometry(moved.geometry(2), Bench::bounds()), 0);
    const std::vector<std::uint32_t> small(30 * 25, 0x102030);
    bench.sync.set_live({small.data(), 30, 30, 25});
    EXPECT_TRUE((bench.sync.applied(1)->visible - GuestRegion(GuestRect{{0, 0, 30, 25}})).empty());
    bench.sync.damaged({{0, 0, 30, 25}}, 1);
    (void)bench.sync.advance(1);
    (void)bench.sync.advance(DesktopSync::kPatience + 1);
    EXPECT_TRUE((bench.sync.applied(1)->visible - GuestRegion(GuestRect{{0, 0, 30, 25}})).empty());
}

TEST(DesktopSync, desktop_damage_elsewhere_is_released_at_once)
{
    Bench bench;
    GuestRect elsewhere{{100, 80, 120, 100}};
    bench.draw(Guest(), elsewhere);
    bench.sync.damaged(elsewhere, 5);
    EXPECT_EQ(bench.sync.advance(5).damage, GuestRegion(elsewhere));
    EXPECT_LT(bench.sync.deadline(), 0);
}

TEST(DesktopSync, damage_of_a_display_that_nobody_looks_at_does_not_grow_without_end)
{
    for (const bool kept_back : {false, true}) {
        Bench bench;
        if (!kept_back)
            bench.sync.remove(1);
        GuestRegion all;
        for (int y = 0; y < kHeight; y += 2)
            for (int x = y % 4; x < kWidth; x += 4) {
                const GuestRect speckle = GuestRect::from_size(x, y, 1, 1);
                bench.sync.damaged(speckle, 5);
                all |= speckle;
            }
        const GuestRegion damage = bench.sync.advance(5 + DesktopSync::kMostPatience).damage;
        EXPECT_LE(damage.boxes().size(), kMostDamage);
        EXPECT_TRUE((all - damage).empty());
        EXPECT_TRUE((damage - GuestRegion(Bench::bounds())).empty());
    }
}

TEST(DesktopSync, without_placeholder_a_region_shrinks_with_the_damage_that_covers_it)
{
    Bench bench;
    Guest guest;
    auto keyless = [&guest](std::uint32_t serial) {
        wire::Geometry g = guest.geometry(serial);
        g.placeholder.reset();
        return VideoGeometry(g, Bench::bounds());
    };
    bench.sync.remove(1);
    bench.sync.geometry(1, keyless(1), 0);
    bench.sync.set_showing(1, true);
    (void)bench.sync.advance(0);
    guest.occluder = {{30, 30, 50, 50}};
    bench.sync.geometry(1, keyless(2), 10);
    EXPECT_FALSE(bench.sync.advance(10).geometry);
    EXPECT_EQ(bench.sync.deadline(), 10 + DesktopSync::kShrinkPatience);
    bench.sync.damaged(guest.occluder, 20);
    EXPECT_TRUE(bench.sync.advance(20).geometry);

    guest.occluder = {{200, 200, 210, 210}}; // grows again: at once
    bench.sync.geometry(1, keyless(3), 30);
    EXPECT_TRUE(bench.sync.advance(30).geometry);
}

/// A video without a placeholder, shown whole, whose region then shrinks.
class Shrinking : public testing::Test {
protected:
    Shrinking()
    {
        bench.sync.remove(1);
        bench.sync.geometry(1, geometry(1, {}), 0);
        bench.sync.set_showing(1, true);
        (void)bench.sync.advance(0);
    }
    static VideoGeometry geometry(std::uint32_t serial, const GuestRegion &without)
    {
        VideoGeometry g;
        g.serial = serial;
        g.target = kVideo;
        g.visible = GuestRegion(kVideo) - without;
        return g;
    }
    static constexpr GuestRect kVideo{{0, 0, 80, 60}};
    Bench bench;
};

TEST_F(Shrinking, of_many_geometries_the_newest_sixteen_wait_for_damage_and_no_others)
{
    for (int i = 2; i <= 40; ++i)
        bench.sync.geometry(1, geometry(static_cast<std::uint32_t>(i), GuestRect{{0, 0, i, 1}}), 10);
    EXPECT_TRUE(bench.sync.advance(10).geometry);
    EXPECT_EQ(bench.sync.applied(1)->serial, 24u);
    bench.sync.damaged({{0, 0, 30, 1}}, 10);
    EXPECT_TRUE(bench.sync.advance(10).geometry);
    EXPECT_EQ(bench.sync.applied(1)->serial, 30u);
    EXPECT_TRUE(bench.sync.advance(10 + DesktopSync::kShrinkPatience).geometry);
    EXPECT_EQ(bench.sync.applied(1)->serial, 40u);
}

TEST_F(Shrinking, what_is_lost_in_many_pieces_is_awaited_as_the_box_around_them)
{
    GuestRegion speckles;
    for (int i = 0; i < 80; i += 2)
        speckles |= GuestRect::from_size(i, i / 2, 1, 1);
    for (const bool from_the_start : {true, false}) { // or by the damage
        bench.sync.geometry(1, geometry(2, {}), 20);
        (void)bench.sync.advance(20);
        bench.sync.geometry(1, geometry(3, from_the_start ? speckles : GuestRegion(kVideo)), 20);
        for (std::size_t i = 0; i < speckles.boxes().size(); ++i)
            bench.sync.damaged(speckles.rect(i), 20);
        EXPECT_FALSE(bench.sync.advance(20).geometry);
        bench.sync.damaged(kVideo, 20);
        EXPECT_TRUE(bench.sync.advance(20).geometry);
    }
}

TEST(DesktopSync, a_removed_stream_lets_go_of_everything_kept_back)
{
    Bench bench;
    Guest moved;
    moved.video = GuestRect::from_size(60, 40, 64, 48);
    bench.draw(moved, Bench::bounds());
    bench.sync.damaged(Bench::bounds(), 0);
    EXPECT_TRUE(bench.sync.advance(0).damage.empty());
    bench.sync.remove(1);
    EXPECT_EQ(bench.sync.advance(1).damage, GuestRegion(Bench::bounds()));
    EXPECT_EQ(bench.sync.applied(1), nullptr);
}
