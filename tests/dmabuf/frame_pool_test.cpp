// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/frame_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <limits>

namespace spice_overlay {
namespace {

class Pool : public testing::Test {
protected:
    Pool() { pool.make_dmabufs(Allocator::kStandIn, UniqueFd(), {kFourccYu12}); }

    /// A slot that has been through codec and viewer once.
    FramePool::Slot *used_once()
    {
        FramePool::Slot *slot = pool.acquire(layout);
        EXPECT_TRUE(slot && pool.lend(*slot) && pool.announce(*slot));
        pool.codec_done(*slot);
        pool.viewer_done(std::uint64_t{1} << slot->index);
        return slot;
    }

    /// What poll() says of it is that a device still reads.
    static UniqueFd unfinished()
    {
        UniqueFd fd(::eventfd(0, EFD_NONBLOCK));
        const std::uint64_t full = std::numeric_limits<std::uint64_t>::max() - 1;
        EXPECT_EQ(::write(fd.get(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
        return fd;
    }
    static void finish(const FramePool::Slot &slot)
    {
        std::uint64_t value = 0;
        EXPECT_EQ(::read(slot.dmabuf.get(), &value, sizeof value), static_cast<ssize_t>(sizeof value));
    }

    FramePool pool;
    const ImageLayout layout = *shm_layout(kFourccYu12, 64, 32, 512);
};

TEST_F(Pool, frame_that_a_device_still_reads_is_not_written)
{
    FramePool::Slot *slot = used_once();
    slot->dmabuf = unfinished();
    FramePool::Slot *other = pool.acquire(layout);
    ASSERT_TRUE(other);
    EXPECT_NE(other, slot) << "released by the compositor, but the device is not done";
    pool.codec_done(*other);
    finish(*slot);
    EXPECT_EQ(pool.acquire(layout), slot);
}

TEST_F(Pool, frame_that_a_device_still_reads_is_waited_for_when_there_is_no_other)
{
    FramePool::Slot *slot = used_once();
    slot->dmabuf = unfinished();
    for (std::size_t i = 1; i < ipc::kMaxDescriptors / 2; ++i) // each has a memfd and a dmabuf
        ASSERT_TRUE(pool.acquire(layout));
    EXPECT_EQ(pool.acquire(layout), slot) << "a device that hangs must not end the stream";
    EXPECT_EQ(pool.acquire(layout), nullptr);
}

TEST_F(Pool, viewer_is_told_of_memory_once_and_of_new_memory_again)
{
    FramePool::Slot *slot = pool.acquire(layout);
    auto told = pool.announce(*slot);
    ASSERT_TRUE(told);
    EXPECT_TRUE(told->memfd.valid());
    EXPECT_GE(told->dmabuf, 0);
    EXPECT_FALSE(pool.announce(*slot));
    pool.codec_done(*slot);
    const auto larger = shm_layout(kFourccYu12, 128, 64, 512);
    ASSERT_EQ(pool.acquire(*larger), slot) << "memory of a shape that is of no use any more is given up first";
    EXPECT_TRUE(pool.announce(*slot));
}

TEST_F(Pool, formats_that_nobody_wants_as_dmabufs_are_none)
{
    FramePool::Slot *slot = pool.acquire(*shm_layout(kFourccXrgb8888, 64, 32, 256));
    auto told = pool.announce(*slot);
    ASSERT_TRUE(told);
    EXPECT_TRUE(told->memfd.valid());
    EXPECT_EQ(told->dmabuf, -1);
}

TEST_F(Pool, allocator_that_fails_is_left_and_the_stream_goes_on)
{
    FramePool failing;
    failing.make_dmabufs(Allocator::kUdmabuf, UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)), {kFourccYu12});
    FramePool::Slot *slot = failing.acquire(layout);
    ASSERT_TRUE(slot);
    EXPECT_FALSE(slot->dmabuf.valid());
    EXPECT_TRUE(failing.announce(*slot)->memfd.valid());
}

} // namespace
} // namespace spice_overlay
