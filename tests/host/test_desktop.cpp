// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desktop.h"

#include <gtest/gtest.h>

#include <random>

using namespace spice_overlay::host;

// fontconfig keeps what it has read about fonts until the end.
extern "C" const char *__lsan_default_suppressions();
extern "C" const char *__lsan_default_suppressions()
{
    return "leak:libfontconfig";
}

namespace {

constexpr int kWidth = 320;
constexpr int kHeight = 200;

class RandomDesktop {
public:
    explicit RandomDesktop(unsigned seed) : random_(seed)
    {
        scene.width = kWidth;
        scene.height = kHeight;
        int count = pick(2, 9);
        for (int i = 0; i < count; ++i) {
            SceneWindow window;
            window.name = "w" + std::to_string(i);
            window.colour = static_cast<std::uint32_t>(pick(0, 0xFFFFFF));
            window.box = box();
            window.hidden = pick(0, 4) == 0;
            if (i < 2) {
                window.video = i + 1;
                window.placeholder = i == 0 ? 0x01FE77 : 0x77FE01;
            } else {
                window.shape.kind = static_cast<Shape::Kind>(pick(0, 4));
                window.shape.percent = pick(1, 99);
                for (int c = 0; c < 5; ++c)
                    window.shape.corners.emplace_back(pick(0, 1000), pick(0, 1000));
            }
            scene.windows.push_back(window);
        }
        for (std::size_t i = 0; i < scene.windows.size(); ++i)
            order.push_back(i);
        std::shuffle(order.begin(), order.end(), random_);
    }

    int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
    Rect box() { return {pick(-150, kWidth + 50), pick(-120, kHeight + 40), pick(1, 300), pick(1, 220)}; }

    void change(Desktop &desktop)
    {
        auto window = static_cast<std::size_t>(pick(0, static_cast<int>(scene.windows.size()) - 1));
        switch (pick(0, 6)) {
        case 0: desktop.raise(window); break;
        case 1: desktop.lower(window); break;
        case 2: desktop.show(window, pick(0, 2) > 0); break;
        case 3: desktop.minimise(window, pick(0, 3) == 0); break;
        case 4: desktop.redraw(window); break;
        case 5:
            if (scene.windows[window].video != 0)
                desktop.set_state(window, static_cast<VideoView::State>(pick(0, 2)));
            break;
        default: desktop.place(window, box());
        }
    }

    Scene scene;
    std::vector<std::size_t> order;

private:
    std::mt19937 random_;
};

std::vector<char> bitmap(const std::vector<Rect> &rects)
{
    std::vector<char> bits(kWidth * kHeight, 0);
    for (const Rect &rect : rects)
        for (int y = rect.y; y < rect.bottom(); ++y)
            for (int x = rect.x; x < rect.right(); ++x)
                ++bits[static_cast<std::size_t>(y * kWidth + x)];
    return bits;
}

TEST(VisibleRegion, equals_asking_every_window_about_every_pixel)
{
    for (unsigned seed = 0; seed < 300; ++seed) {
        SCOPED_TRACE(seed);
        RandomDesktop model(seed);
        std::vector<std::vector<Runs>> rows;
        std::vector<Occluder> occluders;
        for (std::size_t i : model.order)
            rows.push_back(rows_of(model.scene.windows[i].shape, model.scene.windows[i].box.w,
                                   model.scene.windows[i].box.h));
        for (std::size_t i = 0; i < rows.size(); ++i)
            occluders.push_back({model.scene.windows[model.order[i]].box, &rows[i]});
        auto self = static_cast<std::size_t>(model.pick(0, static_cast<int>(rows.size()) - 1));
        Rect area = model.pick(0, 1) ? occluders[self].box : model.box();
        VisibleRegion region = visible_region(area, {0, 0, kWidth, kHeight}, occluders, self, 100000);
        ASSERT_TRUE(region.exact);
        std::vector<char> bits = bitmap(region.rects);
        for (int y = 0; y < kHeight; ++y)
            for (int x = 0; x < kWidth; ++x) {
                std::size_t owner = rows.size();
                for (std::size_t i = 0; i < rows.size(); ++i) {
                    const SceneWindow &window = model.scene.windows[model.order[i]];
                    if (window.shape.contains(x - window.box.x, y - window.box.y, window.box.w, window.box.h))
                        owner = i;
                }
                bool inside = x >= area.x && x < area.right() && y >= area.y && y < area.bottom();
                ASSERT_EQ(bits[static_cast<std::size_t>(y * kWidth + x)], inside && owner == self) << x << "," << y;
            }
    }
}

TEST(VisibleRegion, with_too_many_rectangles_stays_inside_the_true_one)
{
    for (unsigned seed = 0; seed < 100; ++seed) {
        SCOPED_TRACE(seed);
        RandomDesktop model(seed);
        std::vector<std::vector<Runs>> rows;
        std::vector<Occluder> occluders;
        for (const SceneWindow &window : model.scene.windows)
            rows.push_back(rows_of(window.shape, window.box.w, window.box.h));
        for (std::size_t i = 0; i < rows.size(); ++i)
            occluders.push_back({model.scene.windows[i].box, &rows[i]});
        Rect display{0, 0, kWidth, kHeight};
        auto exact = bitmap(visible_region(occluders[0].box, display, occluders, 0, 100000).rects);
        for (std::size_t most : {1u, 2u, 7u, 20u}) {
            VisibleRegion rounded = visible_region(occluders[0].box, display, occluders, 0, most);
            EXPECT_LE(rounded.rects.size(), most);
            auto bits = bitmap(rounded.rects);
            for (std::size_t i = 0; i < bits.size(); ++i)
                ASSERT_LE(bits[i], exact[i]);
            EXPECT_TRUE(!rounded.exact || bits == exact);
        }
    }
}

TEST(Desktop, shows_the_placeholder_exactly_where_it_says_a_video_is_visible)
{
    for (unsigned seed = 0; seed < 60; ++seed) {
        SCOPED_TRACE(seed);
        RandomDesktop model(seed);
        Desktop desktop(model.scene);
        for (int round = 0; round < 12; ++round) {
            for (int i = model.pick(0, 4); i >= 0; --i)
                model.change(desktop);
            desktop.paint();
            for (const VideoView &view : desktop.videos()) {
                auto bits = bitmap(view.visible);
                for (std::size_t i = 0; i < bits.size(); ++i)
                    ASSERT_EQ(bits[i], desktop.pixels()[i] == view.placeholder)
                        << view.index << " at " << i % kWidth << "," << i / kWidth;
            }
        }
    }
}

TEST(Desktop, damage_covers_every_pixel_that_changes)
{
    for (unsigned seed = 0; seed < 60; ++seed) {
        SCOPED_TRACE(seed);
        RandomDesktop model(seed);
        Desktop desktop(model.scene);
        Pixels client; // what somebody sees who copies damage only
        for (int round = 0; round < 12; ++round) {
            for (int i = model.pick(0, 4); i >= 0; --i)
                model.change(desktop);
            client.resize(desktop.pixels().size());
            std::vector<Rect> areas = desktop.paint();
            auto bits = bitmap(areas);
            for (std::size_t i = 0; i < bits.size(); ++i) {
                ASSERT_LE(bits[i], 1) << "damage overlaps itself";
                if (bits[i])
                    client[i] = desktop.pixels()[i];
            }
            ASSERT_EQ(client, desktop.pixels()) << "a change without damage";
            Pixels before = desktop.pixels();
            desktop.damage_all();
            desktop.paint();
            ASSERT_EQ(before, desktop.pixels()) << "painting a part gives another picture than painting all";
        }
    }
}

TEST(Desktop, damages_nothing_when_nothing_changes)
{
    RandomDesktop model(3);
    Desktop desktop(model.scene);
    EXPECT_TRUE(desktop.damaged());
    desktop.paint();
    EXPECT_FALSE(desktop.damaged());
    desktop.place(0, desktop.box(0));
    EXPECT_FALSE(desktop.damaged());
    EXPECT_TRUE(desktop.paint().empty());
}

TEST(Painter, keeps_reserved_colours_out_of_every_picture)
{
    for (std::uint32_t colour : {0x01FE77u, 0xE8E6E1u, 0x2F3E55u, 0xF4F4F0u}) {
        SceneWindow window;
        window.name = "w";
        window.colour = colour;
        Pixels wallpaper = paint_wallpaper(400, 300, 1, {colour});
        Pixels picture = paint_window(window, 400, 300, {colour});
        EXPECT_EQ(std::count(wallpaper.begin(), wallpaper.end(), colour), 0);
        EXPECT_EQ(std::count(picture.begin(), picture.end(), colour), 0);
    }
}

TEST(Painter, leaves_no_flat_area_in_the_wallpaper)
{
    Pixels pixels = paint_wallpaper(640, 400, 5, {});
    int equal = 0;
    for (std::size_t i = 1; i < pixels.size(); ++i)
        equal += pixels[i] == pixels[i - 1];
    EXPECT_LT(equal, 640 * 400 / 100);
}

} // namespace
