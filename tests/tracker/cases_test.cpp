// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desk.h"
#include "x_server.h"

#include "portclient/base/clock.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <xcb/randr.h>
#include <xcb/shape.h>
#include <xcb/xcbext.h>

#include <sys/uio.h>
#include <unistd.h>

#include <functional>

namespace spice_overlay::guest {
namespace {

using namespace testing_tools;

constexpr std::uint32_t kVideo = 1;

/// A screen with a player's window, and in it the window that has the key colour.
class Stage : public testing::Test {
protected:
    void SetUp() override
    {
        if (!installed("Xvfb"))
            GTEST_SKIP() << "Xvfb is not installed";
        server_ = XServer::start();
        ASSERT_TRUE(server_);
        desk_ = std::make_unique<Desk>(server_->display());
        top_ = desk_->create({.x = 100, .y = 60, .width = 400, .height = 300, .colour = 0x202020});
        video_ = desk_->create({.parent = top_, .x = 40, .y = 30, .width = 320, .height = 240, .colour = kKey});
        desk_->sync();
    }

    void open() { follower_ = std::make_unique<Follower>(server_->display()); }
    void watch(const Target &target)
    {
        if (!follower_)
            open();
        auto status = follower_->tracker().watch(kVideo, target);
        ASSERT_TRUE(status.ok()) << status.error().message;
        follower_->settle();
    }
    [[nodiscard]] const Placement &now()
    {
        desk_->sync();
        follower_->settle();
        return (*follower_)[kVideo];
    }
    [[nodiscard]] bool composite()
    {
        manager_ = server_->run({"picom", "--backend", "xrender", "--no-use-damage", "--config", "/dev/null"});
        const std::int64_t deadline = monotonic_now() + 20'000'000'000;
        while (!desk_->has_owner("_NET_WM_CM_S0"))
            if (monotonic_now() > deadline)
                return false;
        return true;
    }
    [[nodiscard]] Target by_colour() const { return {.key_colour = kKey, .aspect_width = 4, .aspect_height = 3}; }

    std::unique_ptr<XServer> server_;
    std::unique_ptr<Process> manager_;
    std::unique_ptr<Desk> desk_;
    std::unique_ptr<Follower> follower_;
    xcb_window_t top_ = 0;
    xcb_window_t video_ = 0;
};

// ---- the window tree: what each kind of change leaves visible, of 320x240, and that the pixels agree

struct TreeCase {
    const char *name;
    std::function<void(Desk &, xcb_window_t top, xcb_window_t video)> change;
    std::int64_t visible; ///< pixels
};

void PrintTo(const TreeCase &c, std::ostream *out)
{
    *out << c.name;
}

constexpr std::int64_t kAll = 320 * 240;
// Of the screen, the picture is at 140,90.
constexpr WindowPlan kCover{.x = 150, .y = 100, .width = 50, .height = 40};

WindowPlan cover(std::function<void(WindowPlan &)> change = [](WindowPlan &) {})
{
    WindowPlan plan = kCover;
    change(plan);
    return plan;
}

const TreeCase kTreeCases[] = {
    {"nothing_covers", [](Desk &, auto, auto) {}, kAll},
    {"a_window_above_covers", [](Desk &d, auto, auto) { d.create(cover()); }, kAll - 2000},
    {"a_window_below_does_not", [](Desk &d, auto, auto) { d.restack(d.create(cover()), XCB_STACK_MODE_BELOW); }, kAll},
    {"a_menu_covers", [](Desk &d, auto, auto) { d.create(cover([](auto &p) { p.override_redirect = true; })); },
     kAll - 2000},
    {"all_of_a_border_covers", [](Desk &d, auto, auto) { d.create(cover([](auto &p) { p.border = 5; })); },
     kAll - 3000},
    {"a_window_for_input_does_not_cover",
     [](Desk &d, auto, auto) { d.create(cover([](auto &p) { p.input_only = true; })); }, kAll},
    {"an_unmapped_window_does_not_cover", [](Desk &d, auto, auto) { d.unmap(d.create(cover())); }, kAll},
    {"a_window_that_went_does_not_cover", [](Desk &d, auto, auto) { d.destroy(d.create(cover())); }, kAll},
    {"a_sibling_covers",
     [](Desk &d, auto top, auto) { d.create({.parent = top, .x = 50, .y = 40, .width = 50, .height = 40}); },
     kAll - 2000},
    {"a_child_covers",
     [](Desk &d, auto, auto video) { d.create({.parent = video, .x = 300, .y = 220, .width = 50, .height = 40}); },
     kAll - 400},
    {"a_hole_in_a_shaped_window_shows",
     [](Desk &d, auto, auto) {
         d.shape(d.create(cover()), XCB_SHAPE_SK_BOUNDING, {{0, 0, 50, 10}, {0, 30, 50, 10}});
     },
     kAll - 1000},
    {"its_own_shape_cuts",
     [](Desk &d, auto, auto video) {
         d.shape(video, XCB_SHAPE_SK_BOUNDING, {{10, 10, 100, 50}});
     },
     5000},
    {"its_own_clip_cuts",
     [](Desk &d, auto, auto video) {
         d.shape(video, XCB_SHAPE_SK_CLIP, {{10, 10, 100, 50}});
     },
     5000},
    {"the_shape_of_its_parent_cuts",
     [](Desk &d, auto top, auto) {
         d.shape(top, XCB_SHAPE_SK_BOUNDING, {{50, 40, 100, 50}});
     },
     5000},
    {"the_edge_of_its_parent_cuts", [](Desk &d, auto top, auto) { d.resize(top, 200, 300); }, 160 * 240},
    {"the_edge_of_the_screen_cuts", [](Desk &d, auto top, auto) { d.move(top, -140, 60); }, 220 * 240},
    {"nothing_of_an_unmapped_window_is_seen", [](Desk &d, auto, auto video) { d.unmap(video); }, 0},
    {"nothing_in_an_unmapped_parent_is_seen", [](Desk &d, auto top, auto) { d.unmap(top); }, 0},
    {"borders_of_its_own_are_not_the_picture", [](Desk &d, auto, auto video) { d.set_border(video, 4); }, kAll},
    {"it_is_followed_to_another_parent",
     [](Desk &d, auto, auto video) {
         d.reparent(video, d.root(), 400, 300);
         d.restack(video, XCB_STACK_MODE_ABOVE);
     },
     240 * 180},
    {"it_changes_size", [](Desk &d, auto, auto video) { d.resize(video, 100, 100); }, 10000},
};

class Tree : public Stage, public testing::WithParamInterface<TreeCase> {};

TEST_P(Tree, change_is_followed)
{
    watch({.window = video_});
    ASSERT_EQ(now().visible.area(), kAll);
    GetParam().change(*desk_, top_, video_);
    EXPECT_EQ(now().visible.area(), GetParam().visible);
    EXPECT_TRUE(now().found);
    EXPECT_EQ(now().target, desk_->place_of(video_));
    EXPECT_EQ(desk_->mismatches(now()), 0);
    EXPECT_FALSE(now().placeholder);
}

TEST_P(Tree, state_is_found)
{
    GetParam().change(*desk_, top_, video_);
    desk_->sync();
    watch({.window = video_});
    EXPECT_EQ(now().visible.area(), GetParam().visible);
}

INSTANTIATE_TEST_SUITE_P(Tree, Tree, testing::ValuesIn(kTreeCases),
                         [](const auto &test) { return std::string(test.param.name); });

// ---- the window itself

TEST_F(Stage, a_window_that_is_destroyed_is_told_as_not_found)
{
    watch({.window = video_});
    desk_->destroy(top_);
    EXPECT_FALSE(now().found);
}

TEST_F(Stage, a_window_may_be_created_after_it_is_watched)
{
    const xcb_window_t later = xcb_generate_id(desk_->xcb()) + 1; // the number that create() takes next
    watch({.window = later});
    EXPECT_FALSE(now().found);
    ASSERT_EQ(desk_->create({.width = 30, .height = 20, .colour = kKey}), later);
    EXPECT_TRUE(now().found);
    EXPECT_EQ(now().target, desk_->place_of(later));
    EXPECT_EQ(now().visible.area(), 600);
}

TEST_F(Stage, the_picture_keeps_its_shape_within_the_area)
{
    watch({.window = video_, .aspect_width = 16, .aspect_height = 9});
    EXPECT_EQ(now().target, GuestRect::from_size(140, 120, 320, 180));
    watch({.window = video_, .aspect_width = 1, .aspect_height = 1, .area = WindowRect::from_size(10, 20, 100, 50)});
    EXPECT_EQ(now().target, GuestRect::from_size(175, 110, 50, 50));
    EXPECT_EQ(now().visible.area(), 2500);
}

TEST_F(Stage, what_is_unwatched_is_not_told_of)
{
    watch({.window = video_});
    follower_->tracker().unwatch(kVideo);
    const long told = follower_->times_told();
    desk_->move(top_, 0, 0);
    (void)now();
    EXPECT_EQ(follower_->times_told(), told);
    EXPECT_LT(follower_->tracker().deadline(), 0);
}

TEST_F(Stage, a_region_of_too_many_pieces_is_told_smaller_and_never_larger)
{
    std::vector<xcb_rectangle_t> dots;
    for (std::int16_t y = 0; y < 240; y += 8)
        for (std::int16_t x = 0; x < 320; x += 8)
            dots.push_back({x, y, 5, 5});
    desk_->shape(desk_->create({.x = 140, .y = 90, .width = 320, .height = 120}), XCB_SHAPE_SK_BOUNDING, dots);
    watch({.window = video_});
    const Placement p = now();
    EXPECT_LE(p.visible.boxes().size(), WindowTracker::kMostRects);
    EXPECT_GE(p.visible.area(), 320 * 120); // the uncovered half
    const auto pixels = desk_->pixels(p.target);
    long wrong = 0;
    for (int y = 0; y < 240; ++y)
        for (int x = 0; x < 320; ++x)
            wrong += p.visible.contains(140 + x, 90 + y) && pixels[static_cast<std::size_t>(y * 320 + x)] != kKey;
    EXPECT_EQ(wrong, 0);
}

TEST_F(Stage, nothing_runs_while_nothing_changes)
{
    watch({.window = video_, .key_colour = kKey});
    (void)now();
    const auto before = follower_->tracker().counters();
    EXPECT_LT(follower_->tracker().deadline(), 0);
    pollfd p{follower_->tracker().fd(), POLLIN, 0};
    EXPECT_EQ(poll(&p, 1, 300), 0) << "woken without a change";
    EXPECT_EQ(follower_->tracker().counters().scans, before.scans);
    EXPECT_EQ(follower_->tracker().counters().walks, before.walks);
}

TEST_F(Stage, the_monitor_that_shows_most_is_told_with_its_own_pixels)
{
    auto set = [&](const char *name, int x, bool output) {
        auto *resources = xcb_randr_get_screen_resources_current_reply(
            desk_->xcb(), xcb_randr_get_screen_resources_current(desk_->xcb(), desk_->root()), nullptr);
        struct {
            xcb_randr_monitor_info_t info;
            xcb_randr_output_t output;
        } monitor{};
        monitor.info = {desk_->atom(name),
                        0,
                        0,
                        static_cast<std::uint16_t>(output),
                        static_cast<std::int16_t>(x),
                        0,
                        320,
                        480,
                        100,
                        100};
        monitor.output = *xcb_randr_get_screen_resources_current_outputs(resources);
        std::free(resources);
        // Not by xcb_randr_set_monitor(), which counts the bytes wrong in version 1.15.
        xcb_randr_set_monitor_request_t request{};
        request.window = desk_->root();
        iovec parts[4] = {{}, {}, {&request, sizeof request}, {&monitor, 24 + 4 * std::size_t{output}}};
        const xcb_protocol_request_t protocol{2, &xcb_randr_id, XCB_RANDR_SET_MONITOR, 1};
        xcb_send_request(desk_->xcb(), 0, parts + 2, &protocol);
        desk_->sync();
    };
    set("left", 0, true);
    set("right", 320, false);
    desk_->move(top_, 200, 60);
    desk_->sync();
    watch({.window = video_}); // at 240..560
    EXPECT_EQ(now().display, 1u);
    EXPECT_EQ(now().target, GuestRect::from_size(-80, 90, 320, 240));
    EXPECT_EQ(now().visible.area(), 240 * 240);
    desk_->move(top_, 20, 60);
    EXPECT_EQ(now().display, 0u);
    EXPECT_EQ(now().target, GuestRect::from_size(60, 90, 320, 240));
    EXPECT_EQ(now().visible.area(), 260 * 240);
}

// ---- the key colour

TEST_F(Stage, controls_painted_over_the_picture_stay_in_front)
{
    watch({.window = video_, .key_colour = kKey});
    EXPECT_EQ(now().visible.area(), kAll);
    desk_->paint(video_, 0xffffff, WindowRect::from_size(20, 200, 280, 30));
    EXPECT_EQ(now().visible.area(), kAll - 280 * 30);
    EXPECT_EQ(desk_->mismatches(now()), 0);
    desk_->paint(video_, kKey, WindowRect::from_size(20, 200, 280, 30));
    EXPECT_EQ(now().visible.area(), kAll);
}

TEST_F(Stage, the_colour_really_shown_is_told)
{
    watch({.window = video_, .key_colour = kKey});
    EXPECT_EQ(now().placeholder, kKey);
    desk_->paint(video_, kKey + 0x030003, WindowRect::from_size(0, 0, 320, 240));
    EXPECT_EQ(now().visible.area(), kAll);
    EXPECT_EQ(now().placeholder, kKey + 0x030003);
    desk_->paint(video_, kKey + 0x000500, WindowRect::from_size(0, 0, 320, 240));
    EXPECT_TRUE(now().visible.empty()) << "5 is beyond the tolerance";
}

TEST_F(Stage, painting_the_same_again_is_not_told)
{
    watch({.window = video_, .key_colour = kKey});
    (void)now();
    const long told = follower_->times_told();
    const auto scans = follower_->tracker().counters().scans;
    desk_->paint(video_, kKey, WindowRect::from_size(0, 0, 320, 240));
    (void)now();
    EXPECT_EQ(follower_->times_told(), told);
    EXPECT_GT(follower_->tracker().counters().scans, scans) << "it was looked at";
}

TEST_F(Stage, the_framebuffer_is_read_at_most_thirty_times_a_second)
{
    watch({.window = video_, .key_colour = kKey});
    (void)now();
    const auto scans = follower_->tracker().counters().scans;
    const std::int64_t base = follower_->now();
    for (int ms = 0; ms < 1000; ms += 5) { // a video that paints without end
        desk_->paint(video_, kKey, WindowRect::from_size(0, 0, 320, 240));
        desk_->sync();
        ASSERT_TRUE(follower_->tracker().dispatch(base + ms * std::int64_t{1'000'000}).ok());
    }
    EXPECT_LE(follower_->tracker().counters().scans - scans, 31u);
    EXPECT_GE(follower_->tracker().counters().scans - scans, 15u);
}

TEST_F(Stage, a_window_is_found_by_its_colour_with_the_picture_in_it)
{
    desk_->paint(top_, kKey, WindowRect::from_size(0, 280, 5, 5)); // a speck elsewhere
    desk_->resize(video_, 320, 200);                               // its parent is found: the picture is painted there
    desk_->unmap(video_);
    desk_->paint(top_, kKey, WindowRect::from_size(40, 20, 320, 240));
    desk_->sync();
    watch(by_colour());
    EXPECT_EQ(now().target, GuestRect::from_size(140, 80, 320, 240));
    EXPECT_EQ(now().visible.area(), kAll);
    EXPECT_EQ(now().placeholder, kKey);
}

TEST_F(Stage, a_picture_once_seen_whole_keeps_its_place_when_covered)
{
    watch(by_colour());
    ASSERT_EQ(now().target, GuestRect::from_size(140, 90, 320, 240));
    desk_->create({.x = 100, .y = 0, .width = 200, .height = 400, .override_redirect = true});
    desk_->move(top_, 110, 70);
    EXPECT_EQ(now().target, GuestRect::from_size(150, 100, 320, 240));
    EXPECT_EQ(now().visible.area(), 170 * 240);
}

TEST_F(Stage, a_picture_that_changes_size_while_covered_is_fitted_until_seen_whole)
{
    watch(by_colour());
    const xcb_window_t above =
        desk_->create({.x = 100, .y = 0, .width = 200, .height = 400, .override_redirect = true});
    (void)now();
    desk_->resize(video_, 340, 240); // with bars at the sides
    for (int x : {0, 330})
        desk_->create({.parent = video_, .x = x, .width = 10, .height = 240, .colour = 0});
    EXPECT_EQ(now().target, GuestRect::from_size(150, 90, 320, 240)) << "fitted, as far as can be known";
    desk_->unmap(above);
    EXPECT_EQ(now().target, GuestRect::from_size(150, 90, 320, 240));
}

TEST_F(Stage, controls_over_an_edge_do_not_shrink_the_picture)
{
    desk_->paint(video_, 0xffffff, WindowRect::from_size(0, 200, 320, 40));
    desk_->sync();
    watch(by_colour());
    EXPECT_EQ(now().target, GuestRect::from_size(140, 90, 320, 240));
    EXPECT_EQ(now().visible.area(), 320 * 200);
}

TEST_F(Stage, windows_of_the_named_process_come_first)
{
    // Another client of this process, by the server's word; the colour is larger elsewhere.
    const xcb_window_t other = desk_->create({.x = 480, .y = 380, .width = 100, .height = 80, .colour = kKey});
    desk_->set_property(other, "_NET_WM_PID", {4242});
    desk_->sync();
    Target target = by_colour();
    target.processes = {4242};
    watch(target);
    EXPECT_EQ(now().target.x1, 480);
    target.processes = {static_cast<std::uint32_t>(getpid())};
    watch(target);
    EXPECT_EQ(now().target.x1, 140);
    target.processes = {4243};
    watch(target);
    EXPECT_EQ(now().target.x1, 140) << "none of theirs has it: any";
}

TEST_F(Stage, a_player_that_goes_to_another_window_is_found_again)
{
    watch(by_colour());
    ASSERT_EQ(now().target.x1, 140);
    desk_->unmap(top_);
    desk_->create({.width = 640, .height = 480, .colour = kKey, .override_redirect = true});
    EXPECT_EQ(now().target, GuestRect::from_size(0, 0, 640, 480));
    EXPECT_EQ(now().visible.area(), 640 * 480);
    desk_->destroy(top_);
    EXPECT_EQ(now().visible.area(), 640 * 480);
}

TEST_F(Stage, what_has_no_window_yet_is_found_when_it_comes)
{
    desk_->unmap(top_);
    desk_->sync();
    watch(by_colour());
    EXPECT_FALSE(now().found);
    desk_->map(top_);
    EXPECT_EQ(now().visible.area(), kAll);
}

// ---- compositing managers

TEST_F(Stage, what_a_compositing_manager_blends_covers)
{
    if (!installed("picom"))
        GTEST_SKIP() << "picom is not installed";
    ASSERT_TRUE(composite());
    watch({.window = video_});
    const xcb_window_t glass = desk_->create(cover([](auto &p) {
        p.argb = true;
        p.colour = 0x80402010;
    }));
    EXPECT_EQ(now().visible.area(), kAll - 2000);
    desk_->set_property(glass, "_GTK_FRAME_EXTENTS", {10, 10, 5, 5});
    EXPECT_EQ(now().visible.area(), kAll - 900) << "its shadow does not";
    desk_->destroy(glass);
    const xcb_window_t pale = desk_->create(cover());
    desk_->set_property(pale, "_NET_WM_WINDOW_OPACITY", {0x80000000});
    EXPECT_EQ(now().visible.area(), kAll - 2000);
    desk_->destroy(pale);
    desk_->set_property(top_, "_NET_WM_WINDOW_OPACITY", {0x80000000});
    EXPECT_EQ(now().visible.area(), 0) << "a video that is translucent itself cannot be shown";
}

TEST_F(Stage, what_is_minimised_or_elsewhere_but_still_mapped_is_not_seen)
{
    if (!installed("picom"))
        GTEST_SKIP() << "picom is not installed";
    ASSERT_TRUE(composite());
    watch({.window = video_});
    desk_->set_property(top_, "WM_STATE", {3, 0});
    EXPECT_EQ(now().visible.area(), 0);
    desk_->set_property(top_, "WM_STATE", {1, 0});
    EXPECT_EQ(now().visible.area(), kAll);
    desk_->set_property(desk_->root(), "_NET_CURRENT_DESKTOP", {0});
    desk_->set_property(top_, "_NET_WM_DESKTOP", {1});
    EXPECT_EQ(now().visible.area(), 0);
    desk_->set_property(desk_->root(), "_NET_CURRENT_DESKTOP", {1});
    EXPECT_EQ(now().visible.area(), kAll);
}

TEST_F(Stage, what_a_compositing_manager_draws_is_seen_by_the_colour)
{
    if (!installed("picom"))
        GTEST_SKIP() << "picom is not installed";
    ASSERT_TRUE(composite());
    watch({.window = video_, .key_colour = kKey});
    auto sees = [&](std::int64_t area) {
        return follower_->until([&] { return (*follower_)[kVideo].visible.area() == area; });
    };
    EXPECT_TRUE(sees(kAll));
    const xcb_window_t clear = desk_->create(cover([](auto &p) {
        p.argb = true;
        p.colour = 0;
    }));
    desk_->sync();
    follower_->settle(100);
    EXPECT_TRUE(sees(kAll)) << "a window that nobody sees does not cover";
    desk_->paint(clear, 0xff00ff00, WindowRect::from_size(0, 0, 10, 10));
    desk_->sync();
    EXPECT_TRUE(sees(kAll - 100));
}

// ---- faults

TEST_F(Stage, a_server_that_goes_is_an_error_and_nothing_is_found)
{
    watch({.window = video_});
    server_->stop();
    Status status = Success{};
    EXPECT_FALSE(follower_->until(
        [&] { return !(status = follower_->dispatch()).ok() && !(*follower_)[kVideo].found && false; }));
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find("lost"), std::string::npos) << status.error().message;
    EXPECT_FALSE((*follower_)[kVideo].found);
    EXPECT_LT(follower_->tracker().deadline(), 0);
}

TEST_F(Stage, a_target_without_window_and_colour_is_refused)
{
    open();
    EXPECT_FALSE(follower_->tracker().watch(kVideo, {}).ok());
}

TEST(NoDisplay, is_said_with_what_to_do)
{
    auto none = WindowTracker::open(":59999", [](auto, const auto &) {});
    ASSERT_FALSE(none.ok());
    EXPECT_NE(none.error().message.find(":59999"), std::string::npos);
    EXPECT_NE(none.error().message.find("check DISPLAY"), std::string::npos);
    unsetenv("DISPLAY");
    auto unset = WindowTracker::open("", [](auto, const auto &) {});
    ASSERT_FALSE(unset.ok());
    EXPECT_NE(unset.error().message.find("DISPLAY is not set"), std::string::npos);
}

} // namespace
} // namespace spice_overlay::guest
