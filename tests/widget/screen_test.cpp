// SPDX-License-Identifier: LGPL-2.1-or-later
// When the screen brings what to the compositor: a model, which is asked for frames as a test wants.
#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"
#include "model_compositor.h"
#include "overlay/layout/damage.h"
#include "overlay/present/wayland/transport.h"
#include "overlay/widget/screen.h"
#include "virtual_clock.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <wayland-client.h>

#include <optional>
#include <vector>

namespace spice_overlay {
namespace {

constexpr std::int64_t kRefresh = 16 * kMs;

/// A guest's display of 64x48 pixels in a window of 128x128 logical ones, which it fills from side to side, and videos without decoders.
class ScreenTest : public testing::Test, protected VideoSurface::Listener {
protected:
    ScreenTest()
    {
        virtual_now = 1'000'000 * kMs;
        next_refresh_ = virtual_now + kRefresh;
        compositor.serve([this] {
            connection_ = std::move(WaylandConnection::connect(compositor.display, DmabufUse::kNever).value());
        });
        static_cast<void>(connection_->transport().offer());
        parent_ = wl_compositor_create_surface(connection_->compositor());
        compositor.on_commit = [this] {
            ++commits;
            const Box d = compositor.desktop();
            EXPECT_TRUE(d.x1 >= 0 && d.y1 >= 0 && d.x2 <= kWindow.x2 && d.y2 <= kWindow.y2)
                << "the desktop leaves its window";
        };
        attach();
        set_picture(64, 48);
        lay_out();
        run(3 * kRefresh);
    }
    ~ScreenTest() override
    {
        compositor.on_commit = nullptr;
        screen_.reset();
        wl_surface_destroy(parent_);
        compositor.exchange();
        connection_.reset();
        virtual_now = 0;
    }

    void attach()
    {
        EXPECT_TRUE(screen_->attach(*connection_, parent_, [this] { wake_ = virtual_now; }));
    }
    void detach() { screen_->detach(); }
    void set_picture(int width, int height)
    {
        pixels_.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 0x303030);
        screen_->set_picture({pixels_.data(), width, width, height}, virtual_now);
        wake_ = virtual_now;
    }
    void lose_picture()
    {
        screen_->set_picture({}, virtual_now);
        wake_ = virtual_now;
    }
    /// The window's next frame.
    void lay_out()
    {
        screen_->set_space(0, 0, kWindow.width(), kWindow.height(), 1);
        screen_->begin_layout();
        screen_->update(virtual_now, true);
        wl_surface_commit(parent_);
        screen_->end_layout();
        connection_->flush();
        wake_ = virtual_now;
    }
    void damage(const GuestRect &rect)
    {
        screen_->damaged(rect, virtual_now);
        wake_ = virtual_now;
    }
    static wire::Rect wire_rect(const GuestRect &r)
    {
        return {r.x1, r.y1, static_cast<std::uint32_t>(r.width()), static_cast<std::uint32_t>(r.height())};
    }
    void geometry(const GuestRect &target, bool visible = true)
    {
        geometry(target, visible ? std::vector<wire::Rect>{wire_rect(target)} : std::vector<wire::Rect>());
    }
    void geometry(const GuestRect &target, const std::vector<wire::Rect> &visible)
    {
        wire::Geometry g;
        g.stream = 1;
        g.serial = ++serial_;
        g.target = wire_rect(target);
        g.visible = visible;
        screen_->geometry(1, g, virtual_now);
        wake_ = virtual_now;
    }
    void begin_stream()
    {
        screen_->add_stream(1, 0, *this);
        wake_ = virtual_now;
    }
    void end_stream()
    {
        screen_->remove_stream(1);
        wake_ = virtual_now;
    }
    void show_frame(std::uint32_t epoch = 1)
    {
        FrameBuffer memory;
        memory.fourcc = kFourccXrgb8888;
        memory.width = memory.height = 16;
        memory.size = whole_pages(std::size_t{16} * 16 * 4);
        memory.planes[0] = {0, 64};
        memory.fd = std::move(make_sealed_memfd("frame", memory.size).value());
        const FrameTag tag{1, epoch, ++frames_};
        EXPECT_EQ(::pwrite(memory.fd.get(), &tag, sizeof tag, 0), static_cast<ssize_t>(sizeof tag));
        DecodedFrame decoded{};
        decoded.crop = {0, 0, 16, 16};
        screen_->show(
            1, std::make_shared<VideoFrame>(VideoBuffer::create(*connection_, std::move(memory), [](bool) {}).value(),
                                            decoded, [] {}));
        wake_ = virtual_now;
    }
    void new_epoch()
    {
        screen_->flush(1);
        wake_ = virtual_now;
    }

    /// The main loop, for so long: the compositor draws at each refresh.
    void run(std::int64_t duration)
    {
        const std::int64_t end = virtual_now + duration;
        for (;;) {
            compositor.exchange();
            for (int turns_now = 0; wake_ >= 0 && wake_ <= virtual_now; ++turns) {
                if (++turns_now > 4)
                    FAIL() << "the main loop does not come to rest";
                screen_->update(virtual_now);
                wake_ = screen_->deadline();
                compositor.exchange();
            }
            virtual_now = wake_ >= 0 ? std::min(wake_, next_refresh_) : next_refresh_;
            if (virtual_now > end)
                break;
            if (virtual_now == next_refresh_) {
                compositor.refresh();
                next_refresh_ += kRefresh;
            }
        }
        virtual_now = end;
    }
    [[nodiscard]] bool is_shown() const { return !compositor.shown().empty(); }

    unsigned turns = 0;   ///< updates
    unsigned commits = 0; ///< that the compositor has applied
    ModelCompositor compositor;
    static constexpr SurfaceRect kWindow{{0, 0, 128, 128}};
    static constexpr GuestRect kAll{{0, 0, 64, 48}};
    static constexpr GuestRect kPart{{8, 8, 24, 20}};

    [[nodiscard]] Screen &screen() { return *screen_; }

private:
    void frame_committed(const VideoFrame &, std::int64_t) override {}
    void frame_shown(const VideoFrame &) override {}
    void frame_presented(const VideoFrame &, const VideoSurface::Presentation &) override {}
    void frame_replaced(const VideoFrame &, bool) override {}

    std::unique_ptr<WaylandConnection> connection_;
    Statistics statistics_;
    std::optional<Screen> screen_{statistics_};
    wl_surface *parent_ = nullptr;
    std::vector<std::uint32_t> pixels_;
    std::uint32_t serial_ = 0;
    std::uint32_t frames_ = 0;
    std::int64_t wake_ = -1; ///< when the update timer is set to
    std::int64_t next_refresh_ = 0;
};

class FullScreen : public ScreenTest {
protected:
    FullScreen()
    {
        begin_stream();
        geometry(kPart);
        show_frame();
        run(3 * kRefresh);
        damage(kAll); // the guest's window becomes as large as its display
        geometry(kAll);
        run(3 * kRefresh);
        EXPECT_EQ(screen().placement(1), Placement::kAbove);
        EXPECT_EQ(compositor.shown().at(0).width, 128);
    }
};

TEST_F(FullScreen, video_that_covers_the_desktop_leaves_full_screen_and_ends_with_the_next_refresh)
{
    damage(kPart);
    run(0);
    damage(kAll);
    geometry(kPart);
    run(2 * kRefresh);
    EXPECT_EQ(compositor.shown().at(0).width, 32);
    damage(kAll);
    geometry(kAll);
    run(2 * kRefresh);
    EXPECT_EQ(compositor.shown().at(0).width, 128);
    damage(kPart);
    run(0);
    end_stream();
    run(2 * kRefresh);
    EXPECT_FALSE(is_shown());
}

TEST_F(FullScreen, damage_below_a_video_that_covers_the_desktop_is_committed_no_faster_than_it_could_be_seen)
{
    commits = 0;
    for (int i = 0; i < 1000; ++i) {
        damage({{i % 64, 0, i % 64 + 1, 1}});
        run(kMs);
    }
    EXPECT_GT(commits, 30u);
    EXPECT_LT(commits, 65u);
}

TEST_F(ScreenTest, desktop_of_which_nothing_is_seen_is_brought_up_to_date_within_100_ms_and_rests_then)
{
    begin_stream();
    geometry(kPart);
    show_frame();
    run(3 * kRefresh);
    compositor.covered = true;
    damage(kAll);
    run(kRefresh);
    end_stream();
    run(100 * kMs);
    EXPECT_FALSE(is_shown());
    turns = 0;
    run(10'000 * kMs);
    EXPECT_LT(turns, 3u);
}

TEST_F(ScreenTest, rests_while_the_guest_has_no_picture_whatever_its_geometries_wait_for)
{
    begin_stream();
    geometry(kPart);
    show_frame();
    run(3 * kRefresh);
    lose_picture();
    turns = 0;
    run(10'000 * kMs);
    EXPECT_LT(turns, 3u);
    set_picture(64, 48);
    run(3 * kRefresh);
    EXPECT_TRUE(is_shown());
}

TEST_F(ScreenTest, desktop_of_another_size_waits_for_the_layout_that_puts_it_in_its_place)
{
    EXPECT_EQ(compositor.desktop(), (Box{0, 16, 128, 112}));
    set_picture(48, 64);
    run(3 * kRefresh);
    EXPECT_EQ(compositor.desktop(), (Box{0, 16, 128, 112})) << "it does not wait";
    lay_out();
    run(3 * kRefresh);
    EXPECT_EQ(compositor.desktop(), (Box{16, 0, 112, 128}));
}

TEST_F(ScreenTest, layout_is_needed_again_when_no_buffer_was_free_for_it)
{
    for (int i = 0; i < 3; ++i) { // until the compositor draws, it reads them all
        damage(kAll);
        lay_out();
    }
    set_picture(48, 64);
    lay_out();
    EXPECT_TRUE(screen().awaits_layout());
    run(3 * kRefresh);
    EXPECT_EQ(compositor.desktop(), (Box{0, 16, 128, 112}));
    lay_out();
    EXPECT_FALSE(screen().awaits_layout());
    run(3 * kRefresh);
    EXPECT_EQ(compositor.desktop(), (Box{16, 0, 112, 128}));
}

TEST_F(FullScreen, of_geometries_with_damage_between_them_sixteen_count_until_the_next_commit)
{
    for (int i = 1; i <= 40; ++i) {
        geometry(kAll, {{0, 0, 64, static_cast<std::uint32_t>(48 - i)}});
        damage({{0, 0, 1, 1}});
    }
    run(0);
    EXPECT_EQ(screen().placement(1), Placement::kAbove) << "more than sixteen, of which the oldest do not wait";
    run(3 * kRefresh);
    EXPECT_EQ(screen().placement(1), Placement::kBelow);
}

class OldEpoch : public ScreenTest {
protected:
    OldEpoch()
    {
        begin_stream();
        geometry(kPart);
        show_frame(1);
        run(3 * kRefresh);
        new_epoch();
        run(3 * kRefresh);
        EXPECT_TRUE(is_shown()) << "until the next frame";
    }
    void expect_new_frame_alone()
    {
        run(5 * kRefresh);
        EXPECT_FALSE(is_shown()) << "a frame of the old epoch is back";
        EXPECT_FALSE(screen().has_frame(1));
        show_frame(2);
        run(3 * kRefresh);
        EXPECT_EQ(compositor.shown().at(0).tag.epoch, 2u);
    }
};

TEST_F(OldEpoch, frame_that_was_hidden_does_not_come_back)
{
    geometry(kPart, false);
    run(5 * kRefresh);
    EXPECT_FALSE(is_shown());
    geometry(kPart);
    expect_new_frame_alone();
}

TEST_F(OldEpoch, frame_does_not_come_back_with_the_picture)
{
    lose_picture();
    run(kRefresh);
    EXPECT_FALSE(is_shown());
    set_picture(64, 48);
    expect_new_frame_alone();
}

TEST_F(OldEpoch, frame_does_not_come_back_with_the_window)
{
    detach();
    attach();
    lay_out();
    expect_new_frame_alone();
}

TEST_F(OldEpoch, frame_of_the_new_one_that_comes_while_nothing_is_visible_is_shown)
{
    show_frame(2);
    geometry(kPart, false);
    run(5 * kRefresh);
    geometry(kPart);
    run(5 * kRefresh);
    EXPECT_EQ(compositor.shown().at(0).tag.epoch, 2u);
}

TEST_F(ScreenTest, speckles_take_no_more_requests_than_a_compositor_that_stands_still_can_keep)
{
    begin_stream();
    geometry(kAll);
    show_frame();
    run(3 * kRefresh);
    std::vector<wire::Rect> bars; // across each other: 440 boxes of them
    for (int i = 0; i < 20; ++i) {
        bars.push_back({2 * i, 0, 1, 48});
        bars.push_back({0, 2 * i, 64, 1});
    }
    compositor.boxes = 0;
    geometry(kAll, bars);
    for (int y = 0; y < 48; y += 2)
        for (int x = 0; x < 64; x += 2)
            damage(GuestRect::from_size(x, y, 1, 1));
    commits = 0;
    run(3 * kRefresh);
    EXPECT_EQ(screen().placement(1), Placement::kBelow);
    EXPECT_GT(commits, 0u);
    EXPECT_LT(compositor.boxes, 2 * kMostDamage + 8);
}

} // namespace
} // namespace spice_overlay
