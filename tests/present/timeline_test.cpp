// SPDX-License-Identifier: LGPL-2.1-or-later
// Timelines of this machine's own drivers. A virtual machine's GPU has them: tests/vm/display_test.py runs this there.
#include "overlay/present/wayland/timeline.h"

#include <gtest/gtest.h>

#include <drm.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace spice_overlay {
namespace {

class Timelines : public ::testing::Test {
protected:
    void SetUp() override
    {
        std::error_code none;
        std::string why = "there is no render node";
        for (const auto &entry : std::filesystem::directory_iterator("/dev/dri", none)) {
            if (entry.path().filename().string().rfind("renderD", 0) != 0)
                continue;
            auto opened = open_timeline_device(entry.path());
            if (opened) {
                node_ = entry.path();
                device_ = std::move(*opened);
                auto made = device_->make();
                ASSERT_TRUE(made) << made.error().message;
                timeline_ = std::move(*made);
                return;
            }
            why = opened.error().message;
        }
        GTEST_SKIP() << why;
    }

    /// How often the eventfd was told since it was last asked, waiting so long for the first.
    std::uint64_t told(int wait_ms)
    {
        pollfd poll_fd = {eventfd_.get(), POLLIN, 0};
        std::uint64_t times = 0;
        if (::poll(&poll_fd, 1, wait_ms) == 1 && ::read(eventfd_.get(), &times, sizeof times) == sizeof times)
            return times;
        return 0;
    }

    std::string node_;
    std::unique_ptr<TimelineDevice> device_;
    std::unique_ptr<Timeline> timeline_;
    UniqueFd eventfd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

constexpr int kLong = 10'000; // ms
constexpr int kAWhile = 100;  // ms

TEST_F(Timelines, a_point_is_reached_with_those_before_it_and_none_after)
{
    EXPECT_FALSE(timeline_->reached(1));
    const Status reach = timeline_->reach(2);
    ASSERT_TRUE(reach) << reach.error().message;
    EXPECT_TRUE(timeline_->reached(1));
    EXPECT_TRUE(timeline_->reached(2));
    EXPECT_FALSE(timeline_->reached(3));
}

TEST_F(Timelines, an_eventfd_is_told_when_its_point_is_reached_and_not_before)
{
    const Status notify = timeline_->notify(2, eventfd_.get());
    ASSERT_TRUE(notify) << notify.error().message;
    EXPECT_EQ(told(0), 0u);
    ASSERT_TRUE(timeline_->reach(1));
    EXPECT_EQ(told(kAWhile), 0u);
    ASSERT_TRUE(timeline_->reach(2));
    EXPECT_EQ(told(kLong), 1u);
}

TEST_F(Timelines, an_eventfd_is_told_at_once_of_a_point_that_has_been_reached)
{
    ASSERT_TRUE(timeline_->reach(7));
    ASSERT_TRUE(timeline_->notify(7, eventfd_.get()));
    EXPECT_EQ(told(kLong), 1u);
}

TEST_F(Timelines, two_awaited_points_are_told_of_apart)
{
    ASSERT_TRUE(timeline_->notify(1, eventfd_.get()));
    ASSERT_TRUE(timeline_->notify(2, eventfd_.get()));
    ASSERT_TRUE(timeline_->reach(1));
    EXPECT_EQ(told(kLong), 1u);
    ASSERT_TRUE(timeline_->reach(2));
    EXPECT_EQ(told(kLong), 1u);
}

TEST_F(Timelines, another_process_reaches_points_of_one_that_is_shared)
{
    auto shared = timeline_->share();
    ASSERT_TRUE(shared) << shared.error().message;
    UniqueFd others(::open(node_.c_str(), O_RDWR | O_CLOEXEC)); // as a compositor has it
    ASSERT_TRUE(others.valid());
    drm_syncobj_handle taken = {};
    taken.fd = shared->get();
    ASSERT_EQ(::ioctl(others.get(), DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &taken), 0);

    ASSERT_TRUE(timeline_->notify(3, eventfd_.get()));
    std::uint64_t point = 3;
    drm_syncobj_timeline_array signal = {reinterpret_cast<std::uintptr_t>(&taken.handle),
                                         reinterpret_cast<std::uintptr_t>(&point), 1, 0};
    ASSERT_EQ(::ioctl(others.get(), DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &signal), 0);
    EXPECT_EQ(told(kLong), 1u);
    EXPECT_TRUE(timeline_->reached(3));
}

} // namespace
} // namespace spice_overlay
