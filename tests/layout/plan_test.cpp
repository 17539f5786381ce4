// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/layout/plan.h"

#include <gtest/gtest.h>

#include <random>

using namespace spice_overlay;

namespace {

VideoGeometry geometry(const GuestRect &target, const GuestRegion &visible)
{
    VideoGeometry g;
    g.target = target;
    g.visible = visible;
    return g;
}

Plan plan_one(const VideoGeometry &g, const Fit &fit)
{
    PlannedStream s{1, &g};
    return make_plan({&s, 1}, fit);
}

} // namespace

TEST(Fit, keeps_the_aspect_and_centres)
{
    struct {
        int guest_w, guest_h, w, h;
        Fit expected;
    } cases[] = {
        {1280, 800, 1280, 800, Fit()}, {1280, 800, 640, 800, Fit()}, {800, 600, 1920, 1080, Fit()}, {1, 1, 7, 5, Fit()}};
    cases[0].expected.width = 1280, cases[0].expected.height = 800;
    cases[1].expected.width = 640, cases[1].expected.height = 400, cases[1].expected.y = 200;
    cases[2].expected.width = 1440, cases[2].expected.height = 1080, cases[2].expected.x = 240;
    cases[3].expected.width = 5, cases[3].expected.height = 5, cases[3].expected.x = 1;
    for (auto &c : cases) {
        c.expected.guest_width = c.guest_w;
        c.expected.guest_height = c.guest_h;
        EXPECT_EQ(Fit(c.guest_w, c.guest_h, 0, 0, c.w, c.h), c.expected) << c.guest_w << "x" << c.guest_h << " in " << c.w;
    }
    EXPECT_TRUE(Fit(0, 0, 0, 0, 10, 10).empty());
}

TEST(Plan, an_uncovered_video_is_above_without_a_hole)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    GuestRect target{{10, 10, 50, 40}};
    Plan plan = plan_one(geometry(target, target), fit);
    ASSERT_EQ(plan.videos.size(), 1u);
    EXPECT_EQ(plan.videos[0].placement, Placement::kAbove);
    EXPECT_EQ(plan.videos[0].rect, (SurfaceRect{{10, 10, 50, 40}}));
    EXPECT_EQ(plan.videos[0].source, SourcePart());
    EXPECT_TRUE(plan.hole.empty());
}

TEST(Plan, a_covered_video_is_below_a_hole_of_exactly_its_visible_region)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    GuestRect target{{10, 10, 50, 40}};
    GuestRegion visible = GuestRegion(target) - GuestRegion(GuestRect{{20, 20, 30, 30}});
    Plan plan = plan_one(geometry(target, visible), fit);
    EXPECT_EQ(plan.videos[0].placement, Placement::kBelow);
    EXPECT_EQ(plan.hole, visible);
}

TEST(Plan, an_uncovered_video_is_above_a_scaled_display_only_where_no_pixels_are_mixed_at_its_edges)
{
    struct {
        int space;
        double output_scale;
        GuestRect target;
        Placement expected;
    } cases[] = {{100, 1, {{11, 10, 50, 40}}, Placement::kAbove}, // drawn as it is
                 {50, 1, {{10, 10, 50, 40}}, Placement::kAbove},  // two guest pixels to one, at even edges
                 {50, 1, {{11, 10, 50, 40}}, Placement::kBelow},
                 {50, 1, {{10, 10, 50, 41}}, Placement::kBelow},
                 {50, 2, {{10, 10, 50, 40}}, Placement::kAbove}, // one to one again, at whole logical pixels
                 {50, 2, {{11, 10, 50, 40}}, Placement::kBelow},
                 {20, 1, {{-7, 15, 50, 107}}, Placement::kAbove}, // cut by the display
                 {200, 1, {{10, 10, 50, 40}}, Placement::kBelow}, // enlarged: filtered
                 {100, 2, {{10, 10, 50, 40}}, Placement::kBelow}, // by the output
                 {100, 1.5, {{10, 10, 50, 40}}, Placement::kBelow},
                 {75, 1, {{20, 20, 60, 40}}, Placement::kBelow},
                 {75, 2, {{0, 0, 100, 100}}, Placement::kAbove}}; // as large as the display: no edge inside
    for (const auto &c : cases) {
        Fit fit(100, 100, 0, 0, c.space, c.space, c.output_scale);
        VideoPlan video = plan_one(geometry(c.target, c.target.intersected({{0, 0, 100, 100}})), fit).videos.at(0);
        EXPECT_EQ(video.placement, c.expected)
            << c.space << " times " << c.output_scale << ": " << c.target.x1 << ' ' << c.target.y2;
    }
}

TEST(Plan, a_video_partly_off_the_display_is_above_with_the_rest_of_its_source)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    GuestRect target{{-20, 60, 60, 140}};
    GuestRect clip{{0, 60, 60, 100}};
    Plan plan = plan_one(geometry(target, clip), fit);
    EXPECT_EQ(plan.videos[0].placement, Placement::kAbove);
    EXPECT_EQ(plan.videos[0].rect, (SurfaceRect{{0, 60, 60, 100}}));
    EXPECT_DOUBLE_EQ(plan.videos[0].source.x, 0.25);
    EXPECT_DOUBLE_EQ(plan.videos[0].source.width, 0.75);
    EXPECT_DOUBLE_EQ(plan.videos[0].source.y, 0.0);
    EXPECT_DOUBLE_EQ(plan.videos[0].source.height, 0.5);
}

TEST(Plan, nothing_visible_is_hidden)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    Plan plan = plan_one(geometry({{10, 10, 50, 40}}, {}), fit);
    EXPECT_EQ(plan.videos[0].placement, Placement::kHidden);
    EXPECT_TRUE(plan.hole.empty());
}

TEST(Plan, of_two_overlapping_videos_the_one_seen_more_is_on_top_and_the_other_loses_its_hole_there)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    GuestRect low{{10, 10, 60, 60}};
    GuestRect high{{40, 40, 90, 90}};
    GuestRegion cover = GuestRect{{15, 15, 20, 20}} | GuestRegion(GuestRect{{80, 80, 85, 85}});
    VideoGeometry a = geometry(low, GuestRegion(low) - high - cover);
    VideoGeometry b = geometry(high, GuestRegion(high) - cover);
    for (bool swapped : {false, true}) {
        PlannedStream streams[] = {{1, &a}, {2, &b}};
        if (swapped)
            std::swap(streams[0], streams[1]);
        Plan plan = make_plan(streams, fit);
        ASSERT_EQ(plan.videos.size(), 2u);
        EXPECT_EQ(plan.videos[0].stream, 1u) << "lowest first";
        EXPECT_EQ(plan.videos[1].stream, 2u);
        EXPECT_EQ(plan.hole, a.visible | b.visible);
    }
}

TEST(Plan, a_video_stays_on_top_of_a_newer_one_with_another_between_them_that_lies_apart)
{
    Fit fit(100, 100, 0, 0, 100, 100);
    const GuestRect top{{0, 0, 40, 40}};
    const GuestRect apart{{60, 60, 90, 90}};
    const GuestRect under{{20, 0, 55, 40}};
    const GuestRect window{{0, 30, 100, 70}}; // covers a part of each
    const VideoGeometry geometries[] = {geometry(top, GuestRegion(top) - window), geometry(apart, GuestRegion(apart) - window),
                                        geometry(under, GuestRegion(under) - window - top)};
    const PlannedStream streams[] = {{1, &geometries[0]}, {2, &geometries[1]}, {3, &geometries[2]}};
    Plan plan = make_plan(streams, fit);
    ASSERT_EQ(plan.videos.size(), 3u);
    EXPECT_EQ(plan.videos.back().stream, 1u);
    GuestRegion all;
    for (const VideoGeometry &g : geometries)
        all |= g.visible;
    EXPECT_EQ(plan.hole, all);
}

TEST(Plan, random_geometries_draw_no_pixel_outside_the_display_and_the_visible_regions)
{
    std::mt19937 random(3);
    auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    for (int round = 0; round < 20000; ++round) {
        int guest_w = 1 + below(60);
        int guest_h = 1 + below(60);
        Fit fit(guest_w, guest_h, below(5), below(5), 1 + below(120), 1 + below(120));
        GuestRect display{{0, 0, guest_w, guest_h}};
        std::vector<VideoGeometry> geometries;
        for (int n = 1 + below(3); n > 0; --n) {
            GuestRect target = GuestRect::from_size(below(120) - 60, below(120) - 60, 1 + below(90), 1 + below(90));
            GuestRegion visible = target.intersected(display);
            for (const VideoGeometry &other : geometries)
                visible -= other.visible;
            for (int cuts = below(3); cuts > 0; --cuts)
                visible -= GuestRect::from_size(below(60), below(60), 1 + below(20), 1 + below(20));
            geometries.push_back(geometry(target, visible));
        }
        std::vector<PlannedStream> streams;
        for (std::uint32_t i = 0; i < geometries.size(); ++i)
            streams.push_back({i, &geometries[i]});
        Plan plan = make_plan(streams, fit);
        ASSERT_EQ(plan.videos.size(), streams.size());
        GuestRegion allowed;
        for (const VideoPlan &v : plan.videos) {
            const VideoGeometry &g = geometries[v.stream];
            allowed |= g.visible;
            if (v.placement == Placement::kHidden)
                continue;
            ASSERT_FALSE(v.rect.empty());
            ASSERT_EQ(v.rect.intersected({{0, 0, fit.width, fit.height}}), v.rect) << "outside the desktop surface";
            ASSERT_GT(v.source.width, 0);
            ASSERT_GT(v.source.height, 0);
            ASSERT_LE(v.source.x + v.source.width, 1 + 1e-9);
            ASSERT_LE(v.source.y + v.source.height, 1 + 1e-9);
            if (v.placement == Placement::kAbove) {
                // Nothing but the video's own visible part, exactly.
                GuestRect b = g.visible.bounds();
                ASSERT_TRUE(g.visible.is(b));
                ASSERT_NEAR(v.rect.x1, b.x1 * fit.scale_x(), 1e-9);
                ASSERT_NEAR(v.rect.x2, b.x2 * fit.scale_x(), 1e-9);
                ASSERT_NEAR(v.rect.y1, b.y1 * fit.scale_y(), 1e-9);
                ASSERT_NEAR(v.rect.y2, b.y2 * fit.scale_y(), 1e-9);
            }
        }
        ASSERT_TRUE((plan.hole - allowed).empty()) << "a hole outside the visible regions in round " << round;
        ASSERT_TRUE((plan.hole - display).empty());
    }
}

TEST(Plan, a_visible_region_of_thousands_of_boxes_is_taken_for_none)
{
    wire::Geometry wire{.stream = 1,
                        .serial = 1,
                        .display = 0,
                        .target = {0, 0, 600, 600},
                        .crop = {},
                        .placeholder = {},
                        .visible = {}};
    for (int i = 0; i < 128; ++i) {
        wire.visible.push_back({2 * i, 0, 1, 600});
        EXPECT_FALSE(VideoGeometry(wire, {{0, 0, 800, 600}}).visible.empty());
    }
    for (int i = 0; i < 128; ++i)
        wire.visible.push_back({0, 2 * i, 600, 1});
    EXPECT_TRUE(VideoGeometry(wire, {{0, 0, 800, 600}}).visible.empty());
}

/// Each within its limit, and together with a million boxes: columns of one beside rows of the other, again and again.
TEST(Plan, holes_that_multiply_hide_what_goes_too_far)
{
    std::vector<VideoGeometry> geometries;
    for (int i = 0; i < 16; ++i) {
        const GuestRect target = GuestRect::from_size(60 * i, 0, 60, 900);
        std::vector<GuestRect> rects;
        for (int row = 0; row < 120; ++row)
            for (int column = 0; column < 4; ++column)
                rects.push_back(GuestRect::from_size(target.x1 + 15 * column, 7 * row + i % 7, 14, 1));
        geometries.push_back(geometry(target, GuestRegion(std::span<const GuestRect>(rects))));
        ASSERT_LE(geometries.back().visible.boxes().size(), VideoGeometry::kMostBoxes);
    }
    std::vector<PlannedStream> streams;
    for (const VideoGeometry &g : geometries)
        streams.push_back({static_cast<std::uint32_t>(streams.size() + 1), &g});
    const Fit fit(1000, 900, 0, 0, 1000, 900);
    const Plan plan = make_plan(streams, fit);
    EXPECT_LE(plan.hole.boxes().size(), 8192u);
    ASSERT_EQ(plan.videos.size(), 16u);
    for (const VideoPlan &video : plan.videos) { // what is shown has its whole hole, what is hidden has none of it
        const VideoGeometry &g = geometries[video.stream - 1];
        const GuestRegion there = plan.hole & g.visible;
        EXPECT_EQ(there, video.placement == Placement::kBelow ? g.visible : GuestRegion()) << video.stream;
    }
}
