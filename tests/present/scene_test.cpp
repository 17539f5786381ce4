// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/present/wayland/scene.h"

#include "compositor.h"
#include "frames.h"
#include "stage.h"

#include <gtest/gtest.h>
#include <wayland-server-protocol.h>

namespace spice_overlay {
namespace {

using Kind = Surfaces::Kind;
using Pixel = std::array<std::uint32_t, 4>;
using Source = std::optional<std::array<double, 4>>;

class SceneTest : public Stage {};

TEST_F(SceneTest, space_that_the_desktop_leaves_over_is_one_black_pixel_below_it)
{
    begin();
    commit({10, 20, 650, 420}); // 40 lines over, above and below
    const auto &black = backdrop();
    EXPECT_EQ(black.now.kind, Kind::kPixel);
    EXPECT_EQ(black.now.rgba, (Pixel{0, 0, 0, UINT32_MAX}));
    EXPECT_EQ((Box{black.x, black.y, black.x + black.now.width, black.y + black.now.height}), (Box{10, 20, 650, 420}));
    EXPECT_EQ(black.now.opaque, (Box{0, 0, INT32_MAX, INT32_MAX}));
    EXPECT_FALSE(black.now.takes_input);
    EXPECT_EQ(parent().stack, (std::vector<Surfaces::Surface *>{&parent(), &backdrop(), &desktop()}));
}

TEST_F(SceneTest, backdrop_is_a_pixel_of_shared_memory_where_there_are_no_single_pixels)
{
    begin({"wp_single_pixel_buffer_manager_v1"});
    commit({0, 0, 640, 400});
    EXPECT_EQ(backdrop().now.kind, Kind::kShm);
    EXPECT_EQ(backdrop().now.width, 640);
}

TEST_F(SceneTest, backdrop_is_not_there_while_the_desktop_fills_its_space)
{
    begin();
    commit({0, 0, 640, 320});
    EXPECT_EQ(backdrop().now.kind, Kind::kNone);
    commit({0, 0, 640, 400});
    EXPECT_EQ(backdrop().now.kind, Kind::kPixel);
    const unsigned commits = backdrop().commits;
    commit({0, 0, 640, 400});
    EXPECT_EQ(backdrop().commits, commits) << "nothing has changed";
    commit({0, 0, 640, 320});
    EXPECT_EQ(backdrop().now.kind, Kind::kNone);
    commit({0, 0, 640, 400});
    scene->clear();
    compositor->exchange();
    EXPECT_EQ(backdrop().now.kind, Kind::kNone) << "there is no desktop any more";
}

TEST_F(SceneTest, backdrop_goes_below_the_window_with_the_desktop_and_comes_back_with_it)
{
    begin();
    scene->begin_layout(true);
    compositor->exchange();
    EXPECT_EQ(parent().stack, (std::vector<Surfaces::Surface *>{&backdrop(), &desktop(), &parent()}));
    scene->begin_layout(false);
    compositor->exchange();
    EXPECT_EQ(parent().stack, (std::vector<Surfaces::Surface *>{&parent(), &backdrop(), &desktop()}));
}

TEST_F(SceneTest, video_that_fills_the_display_is_alone_on_top_opaque_whole_and_named_a_video)
{
    begin();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const auto &film = video();
    EXPECT_EQ(desktop().stack.back(), &film);
    EXPECT_EQ((Box{film.x, film.y, film.x + film.now.width, film.y + film.now.height}), (Box{0, 0, 640, 320}));
    EXPECT_EQ(film.now.opaque, (Box{0, 0, INT32_MAX, INT32_MAX}));
    EXPECT_EQ(film.now.source, Source()) << "a crop keeps it off a plane";
    EXPECT_EQ(film.now.content_type, 2u); // video
}

TEST_F(SceneTest, picture_that_is_less_than_its_buffer_is_cut_out_and_whole_again_after_it)
{
    begin();
    show(make_frame(30));
    commit({0, 0, 640, 320}, whole_display());
    EXPECT_EQ(video().now.source, (Source({0, 0, 64, 30})));
    compositor->surfaces->draw();
    compositor->exchange();
    show(make_frame());
    compositor->exchange();
    EXPECT_EQ(video().now.source, Source());
}

TEST_F(SceneTest, frame_that_was_attached_again_is_kept_until_the_next_one_is_drawn_whatever_was_released)
{
    begin();
    show(make_frame());
    Plan plan = whole_display();
    commit({0, 0, 640, 320}, plan);
    compositor->surfaces->draw();
    compositor->exchange();
    plan.videos[0].rect = SurfaceRect::from_size(0, 0, 320, 160);
    commit({0, 0, 640, 320}, plan);
    wl_buffer_send_release(video().now.buffer); // after it was drawn the first time, say
    compositor->exchange();
    show(make_frame());
    compositor->exchange();
    EXPECT_EQ(released, 0u) << "the compositor may not have heard of the next one";
    compositor->surfaces->draw();
    compositor->exchange();
    EXPECT_EQ(released, 1u);
}

} // namespace
} // namespace spice_overlay
