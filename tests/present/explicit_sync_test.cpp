// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/present/wayland/explicit_sync.h"

#include "stage.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <wayland-server-protocol.h>

#include <map>
#include <set>

namespace spice_overlay {
namespace {

using Kind = Surfaces::Kind;
using Point = Surfaces::SyncPoint;

/// Timelines of no device: their points are reached when the test says so. Known by numbers, from 1, in the order they were made, which is
/// that in which the compositor gets them.
struct ModelDevice : TimelineDevice {
    struct Line {
        std::set<std::uint64_t> awaited;
        std::uint64_t at = 0;
        int eventfd = -1;
    };
    struct ModelTimeline : Timeline {
        ModelTimeline(ModelDevice &d, unsigned n) : device(d), number(n) {}
        [[nodiscard]] Result<UniqueFd> share() const override { return UniqueFd(::eventfd(0, EFD_CLOEXEC)); }
        [[nodiscard]] Status reach(std::uint64_t point) override
        {
            device.reach(number, point);
            return Success{};
        }
        [[nodiscard]] bool reached(std::uint64_t point) const override { return device.lines[number].at >= point; }
        [[nodiscard]] Status notify(std::uint64_t point, int fd) override
        {
            if (device.broken)
                return Error{"broken"};
            device.lines[number].eventfd = fd;
            device.lines[number].awaited.insert(point);
            return Success{};
        }
        ModelDevice &device;
        unsigned number;
    };

    [[nodiscard]] Result<std::unique_ptr<Timeline>> make() override
    {
        if (broken)
            return Error{"broken"};
        return std::unique_ptr<Timeline>(std::make_unique<ModelTimeline>(*this, ++made));
    }
    void reach(unsigned number, std::uint64_t point)
    {
        Line &line = lines[number];
        line.at = std::max(line.at, point);
        const auto reached = line.awaited.upper_bound(point);
        if (reached != line.awaited.begin())
            ::eventfd_write(line.eventfd, 1);
        line.awaited.erase(line.awaited.begin(), reached);
    }

    unsigned made = 0;
    bool broken = false;
    std::map<unsigned, Line> lines;
};

class ExplicitSyncTest : public Stage {
protected:
    void begin_with_device()
    {
        begin();
        ASSERT_TRUE(connection->explicit_sync());
        descriptor = connection->explicit_sync()->begin([this]() -> Result<std::unique_ptr<TimelineDevice>> {
            ++opened;
            if (!device_made)
                return Error{"no device"};
            device = device_made.get();
            return std::unique_ptr<TimelineDevice>(std::move(device_made));
        });
        ASSERT_GE(descriptor, 0);
    }
    ~ExplicitSyncTest() override
    {
        if (!compositor)
            return;
        for (const auto &surface : compositor->surfaces->list)
            EXPECT_EQ(surface->errors, std::vector<std::string>());
    }

    /// Commits it in place of what is shown.
    void present(const VideoFramePtr &frame)
    {
        show(frame);
        compositor->exchange();
        compositor->surfaces->draw();
        compositor->exchange();
    }
    /// The compositor's GPU has done.
    void reach(const Point &point)
    {
        device->reach(point.timeline, point.point);
        eventfd_t times = 0;
        pollfd readable{descriptor, POLLIN, 0};
        if (::poll(&readable, 1, 0) == 1)
            connection->explicit_sync()->dispatch();
        EXPECT_NE(::eventfd_read(descriptor, &times), 0) << "it would be called for ever";
    }
    void send_release(wl_resource *buffer)
    {
        wl_buffer_send_release(buffer);
        compositor->exchange();
    }

    std::unique_ptr<ModelDevice> device_made = std::make_unique<ModelDevice>();
    ModelDevice *device = nullptr;
    int descriptor = -1;
    unsigned opened = 0;
};

TEST_F(ExplicitSyncTest, frame_comes_back_when_its_point_is_reached_and_not_by_message)
{
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const Surfaces::State first = video().now;
    EXPECT_TRUE(video().explicit_sync);
    EXPECT_EQ(first.acquire, (Point{1, 1}));
    EXPECT_TRUE(device->lines[1].at >= 1) << "its memory is written already";
    EXPECT_EQ(first.release, (Point{2, 1}));
    compositor->surfaces->draw();
    compositor->exchange();

    present(make_frame());
    EXPECT_EQ(video().now.release, (Point{3, 1})) << "each buffer has a timeline of its own";
    send_release(first.buffer);
    EXPECT_EQ(released, 0u) << "its message is not defined any more";
    reach(first.release);
    EXPECT_EQ(released, 1u);
}

TEST_F(ExplicitSyncTest, points_are_reached_in_any_order)
{
    begin_with_device();
    std::vector<Point> points;
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    points.push_back(video().now.release);
    compositor->surfaces->draw();
    compositor->exchange();
    for (int i = 0; i < 3; ++i) {
        present(make_frame());
        points.push_back(video().now.release);
    }
    reach(points[2]);
    EXPECT_EQ(released, 1u);
    reach(points[0]);
    reach(points[1]);
    EXPECT_EQ(released, 3u);
}

TEST_F(ExplicitSyncTest, frame_that_was_committed_twice_comes_back_when_both_points_are_reached)
{
    begin_with_device();
    show(make_frame());
    Plan plan = whole_display();
    commit({0, 0, 640, 320}, plan);
    const Point first = video().now.release;
    plan.videos[0].rect = SurfaceRect::from_size(0, 0, 320, 160);
    commit({0, 0, 640, 320}, plan);
    const Point second = video().now.release;
    EXPECT_NE(first.timeline, second.timeline) << "to reach the second would be to reach the first";
    compositor->surfaces->draw();
    compositor->exchange();
    present(make_frame());
    reach(second);
    EXPECT_EQ(released, 0u);
    reach(first);
    EXPECT_EQ(released, 1u);
}

TEST_F(ExplicitSyncTest, timeline_is_used_again_with_the_next_point)
{
    begin_with_device();
    const VideoFramePtr one = make_frame();
    const VideoFramePtr other = make_frame();
    show(one);
    commit({0, 0, 640, 320}, whole_display());
    Point last = video().now.release;
    const Point first = last;
    compositor->surfaces->draw();
    compositor->exchange();
    for (int i = 0; i < 6; ++i) {
        const Point before = last;
        present(i % 2 == 0 ? other : one);
        last = video().now.release;
        reach(before);
    }
    EXPECT_EQ(last, (Point{first.timeline, first.point + 3}));
    EXPECT_EQ(compositor->surfaces->timelines, 3u);
}

TEST_F(ExplicitSyncTest, shared_memory_is_never_committed_while_the_surface_is_synchronised_explicitly)
{
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const Point first = video().now.release;
    compositor->surfaces->draw();
    compositor->exchange();
    present(make_frame(32, false));
    EXPECT_EQ(video().now.kind, Kind::kShm);
    EXPECT_FALSE(video().explicit_sync);
    const Surfaces::State shared = video().now;
    reach(first);
    EXPECT_EQ(released, 1u) << "points from before are kept";
    present(make_frame());
    EXPECT_TRUE(video().explicit_sync);
    send_release(shared.buffer);
    EXPECT_EQ(released, 2u);
}

TEST_F(ExplicitSyncTest, hidden_video_has_no_points)
{
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    commit({0, 0, 640, 320});
    EXPECT_EQ(video().now.kind, Kind::kNone);
    EXPECT_EQ(video().now.release, Point());
    commit({0, 0, 640, 320}, whole_display());
    EXPECT_NE(video().now.release, Point());
}

TEST_F(ExplicitSyncTest, without_a_device_everything_is_as_ever)
{
    device_made.reset();
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const Surfaces::State first = video().now;
    EXPECT_EQ(first.kind, Kind::kDmabuf);
    EXPECT_FALSE(video().explicit_sync);
    compositor->surfaces->draw();
    compositor->exchange();
    present(make_frame());
    send_release(first.buffer);
    EXPECT_EQ(released, 1u);
    EXPECT_EQ(opened, 1u) << "asked once";
    EXPECT_EQ(compositor->surfaces->timelines, 0u);
}

TEST_F(ExplicitSyncTest, device_that_fails_later_leaves_the_rest_to_messages)
{
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const Surfaces::State first = video().now;
    compositor->surfaces->draw();
    compositor->exchange();
    device->broken = true;
    present(make_frame());
    const Surfaces::State second = video().now;
    EXPECT_EQ(second.kind, Kind::kDmabuf);
    EXPECT_FALSE(video().explicit_sync);
    present(make_frame());
    send_release(second.buffer);
    EXPECT_EQ(released, 1u);
    reach(first.release);
    EXPECT_EQ(released, 2u);
}

TEST_F(ExplicitSyncTest, surface_that_goes_while_points_are_awaited_harms_nothing)
{
    begin_with_device();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    const Point first = video().now.release;
    scene.reset();
    compositor->exchange();
    EXPECT_EQ(released, 1u);
    reach(first);
    EXPECT_EQ(wl_display_get_error(compositor->display), 0);
}

TEST_F(ExplicitSyncTest, nothing_is_said_before_somebody_waits_for_points)
{
    begin();
    show(make_frame());
    commit({0, 0, 640, 320}, whole_display());
    EXPECT_EQ(video().now.kind, Kind::kDmabuf);
    EXPECT_FALSE(video().explicit_sync);
}

} // namespace
} // namespace spice_overlay
