// SPDX-License-Identifier: LGPL-2.1-or-later
#include "player.h"
#include "scene.h"

#include <gtest/gtest.h>

#include <filesystem>

using namespace spice_overlay::host;

namespace {

struct BadScene {
    const char *name;
    const char *text;
    const char *message; ///< starts the message, after the file's name
};

class SceneParser : public testing::TestWithParam<BadScene> {};

TEST_P(SceneParser, says_where_a_scene_is_wrong_and_what_is_expected)
{
    auto scene = parse_scene(GetParam().text, "a.scene");
    ASSERT_FALSE(scene.ok()) << "accepted";
    EXPECT_EQ(scene.error().message.rfind(std::string("a.scene:") + GetParam().message, 0), 0u)
        << scene.error().message;
}

constexpr BadScene kBadScenes[] = {
    {"unknown_statement", "\n\nwindwo a 0 0 10 10\n", "3: unknown statement 'windwo'"},
    {"desktop_without_size", "desktop", "1: expected a size such as 1280x800 (64 to 8192 each), the line ends"},
    {"desktop_too_large", "desktop 1280x99999", "1: expected a size"},
    {"desktop_after_windows", "window a 0 0 9 9\ndesktop 640x480", "2: 'desktop' comes before"},
    {"desktop_with_trailing_word", "desktop 640x480 please", "1: expected the end of the line, not 'please'"},
    {"wallpaper_without_number", "wallpaper blue", "1: expected the seed of the wallpaper (0 to 1000000), not 'blue'"},
    {"window_without_name", "window", "1: expected a name"},
    {"window_with_bad_name", "window a/b 0 0 9 9", "1: expected a name"},
    {"window_name_taken", "window a 0 0 9 9\nwindow a 0 0 9 9", "2: the name 'a' is taken"},
    {"window_without_height", "window a 0 0 9", "1: expected a height (1 to 8192), the line ends"},
    {"window_of_no_width", "window a 0 0 0 9", "1: expected a width (1 to 8192), not '0'"},
    {"number_too_large", "window a 99999999999999999999 0 9 9", "1: expected x (-16384 to 16384)"},
    {"window_with_unknown_option", "window a 0 0 9 9 round", "1: expected 'text', 'shape'"},
    {"text_not_closed", "window a 0 0 9 9 text \"oh", "1: text without its closing \""},
    {"unknown_shape", "window a 0 0 9 9 shape square", "1: expected 'rect', 'ellipse'"},
    {"ring_without_thickness", "window a 0 0 9 9 shape ring", "1: expected a thickness in percent (1 to 99)"},
    {"polygon_with_two_corners", "window a 0 0 9 9 shape polygon 0,0 9,9", "1: a polygon has 3 to 64 corners"},
    {"polygon_corner_outside", "window a 0 0 9 9 shape polygon 0,0 1001,0 5,5", "1: expected a corner X,Y"},
    {"bad_colour", "window a 0 0 9 9 colour red", "1: expected a colour as RRGGBB"},
    {"video_index_zero", "video 0 v 0 0 9 9", "1: expected the index of the video (1 to 16)"},
    {"video_index_taken", "video 1 v 0 0 9 9\nvideo 1 w 0 0 9 9", "2: video 1 already plays in 'v'"},
    {"video_with_shape", "video 1 v 0 0 9 9 shape ring 9", "1: expected 'text', 'frame', 'placeholder' or 'hidden'"},
    {"action_on_unknown_window", "raise a", "1: expected the name of a window declared above, not 'a'"},
    {"window_after_action", "wait 1s\nwindow a 0 0 9 9", "2: windows are declared before the first action"},
    {"open_of_a_window", "window a 0 0 9 9\nopen a", "2: 'a' is not a video window"},
    {"seek_without_position", "video 1 v 0 0 9 9\nseek v", "2: expected a position such as 500ms or 1.5s"},
    {"time_without_unit", "wait 5", "1: expected a time such as 500ms or 1.5s, not '5'"},
    {"negative_time", "wait -5s", "1: expected a time"},
    {"endless_time", "wait infs", "1: expected a time"},
    {"move_without_over", "window a 0 0 9 9\nmove a 1 1 in 5s", "2: expected 'over' and a time"},
    {"resize_to_nothing", "window a 0 0 9 9\nresize a 0 1", "2: expected a width"},
    {"step_without_name", "step", "1: expected the name of the step"},
    {"step_with_path_in_name", "step ../x", "1: expected the name of the step"},
    {"something_after_loop", "wait 1s\nloop\nwait 1s", "3: nothing may follow 'loop'"},
    {"loop_that_takes_no_time", "window a 0 0 9 9\nraise a\nloop", "3: 'loop' needs at least one action that takes"},
};

INSTANTIATE_TEST_SUITE_P(BadScenes, SceneParser, testing::ValuesIn(kBadScenes),
                         [](const auto &one) { return std::string(one.param.name); });

TEST(SceneFile, that_does_not_exist_is_named_in_the_error)
{
    auto scene = load_scene("/nonexistent/x.scene");
    ASSERT_FALSE(scene.ok());
    EXPECT_NE(scene.error().message.find("/nonexistent/x.scene"), std::string::npos);
}

TEST(SceneFile, every_shipped_scene_parses_and_comes_to_its_end)
{
    int count = 0;
    for (const auto &entry : std::filesystem::directory_iterator(SCENES)) {
        SCOPED_TRACE(entry.path());
        auto scene = load_scene(entry.path());
        ASSERT_TRUE(scene.ok()) << scene.error().message;
        ++count;
        Desktop desktop(*scene);
        int steps = 0;
        int expected = 0;
        for (const SceneAction &action : scene->actions)
            expected += action.kind == SceneAction::Kind::kStep;
        bool ended = false;
        Player player(*scene, desktop, {.video = [](const auto &) {}, .step = [&](const auto &) { ++steps; },
                                        .end = [&] { ended = true; }});
        for (int i = 0; i < 6000 && !ended && !scene->loop; ++i) {
            player.advance(0.02);
            player.resume();
        }
        EXPECT_TRUE(ended || scene->loop);
        EXPECT_EQ(steps, expected);
    }
    EXPECT_GE(count, 8);
}

TEST(Player, is_where_the_scene_says_at_a_step_whatever_the_tick_rate)
{
    auto scene = parse_scene("window a 10 20 50 60\nmove a 110 220 over 1s\nresize a 150 160 over 500ms\nwait 300ms\n"
                             "move a 500 20 over 100ms\nstep one\nmove a 0 0\nstep two\n", "x");
    ASSERT_TRUE(scene.ok()) << scene.error().message;
    for (double tick : {0.001, 0.016, 0.7, 30.0}) {
        Desktop desktop(*scene);
        std::vector<std::string> steps;
        Player player(*scene, desktop, {.video = [](const auto &) {},
                                        .step = [&](const auto &name) { steps.push_back(name); },
                                        .end = [] {}});
        for (double time = 0; time < 2 && steps.empty(); time += tick)
            player.advance(tick);
        EXPECT_EQ(steps, std::vector<std::string>{"one"});
        EXPECT_EQ(desktop.box(0), (Rect{500, 20, 150, 160})) << tick;
        player.advance(5);
        EXPECT_EQ(desktop.box(0), (Rect{500, 20, 150, 160})) << "moved while it stood at a step";
        EXPECT_FALSE(player.busy());
        player.resume();
        player.advance(tick);
        EXPECT_EQ(desktop.box(0), (Rect{0, 0, 150, 160}));
    }
}

TEST(Player, tells_of_a_stream_only_what_changes)
{
    auto scene = parse_scene("video 1 v 0 0 90 90\npause v\nseek v 1s\nclose v\nopen v\nopen v\npause v\nresume v\n"
                             "seek v 2500ms\nclose v\nclose v\n", "x");
    ASSERT_TRUE(scene.ok()) << scene.error().message;
    Desktop desktop(*scene);
    std::string told;
    auto tell = [&](const Player::VideoCommand &command) {
        told += command.verb + std::to_string(static_cast<int>(command.seconds)) + " ";
    };
    Player player(*scene, desktop, {.video = tell,
                                    .step = [](const auto &) {}, .end = [&] { told += "end"; }});
    player.advance(0.01);
    EXPECT_EQ(told, "open0 pause0 resume0 seek2 close0 end");
}

} // namespace
