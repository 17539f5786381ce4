// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/frame_pool.h"
#include "dmabuf/decoder/slot_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <limits>
#include <memory>
#include <vector>

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

TEST(PoolAndViewer, agree_on_memory_while_frames_of_two_sizes_are_on_show)
{
    FramePool pool;
    SlotTable viewer({kFourccXrgb8888}, Allocator::kNone, {}, {});
    const auto large = shm_layout(kFourccXrgb8888, 8192, 1024, 4 * 8192); // 32 MiB
    const auto small = shm_layout(kFourccXrgb8888, 2048, 512, 4 * 2048);  // 4 MiB
    const auto show = [&](const ImageLayout &layout) -> FramePool::Slot * {
        FramePool::Slot *slot = pool.acquire(layout);
        if (!slot)
            return nullptr;
        EXPECT_TRUE(pool.lend(*slot));
        pool.codec_done(*slot);
        if (auto told = pool.announce(*slot)) {
            ipc::Buffer message;
            message.slot = slot->index;
            message.fourcc = layout.fourcc;
            message.width = layout.width;
            message.height = layout.height;
            message.size = slot->memory.size();
            message.plane_count = 1;
            message.planes[0].stride = layout.planes[0].stride;
            std::vector<UniqueFd> fds;
            fds.push_back(std::move(told->memfd));
            const auto taken = viewer.buffer(message, std::move(fds));
            EXPECT_TRUE(taken) << taken.error().message;
        }
        ipc::Frame frame;
        frame.slot = slot->index;
        frame.crop = {0, 0, layout.width, layout.height};
        EXPECT_TRUE(viewer.frame(frame));
        return slot;
    };
    const auto give_back = [&](const FramePool::Slot &slot) {
        EXPECT_TRUE(viewer.release(slot.index));
        pool.viewer_done(std::uint64_t{1} << slot.index);
    };
    std::vector<FramePool::Slot *> shown;
    for (int i = 0; i < 10; ++i) {
        shown.push_back(show(*large));
        ASSERT_TRUE(shown.back());
    }
    // The stream becomes small, and the large ones come back one by one.
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(show(*small)) << "no room beside " << viewer.bytes() << " bytes";
        give_back(*shown[static_cast<std::size_t>(i)]);
    }
    for (int i = 0; i < 40; ++i)
        ASSERT_TRUE(show(*small)) << "no room beside " << viewer.bytes() << " bytes";
    EXPECT_LT(viewer.bytes(), 256u << 20);
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

// ---- surfaces, memory that a device decodes into

class SurfacePool : public Pool {
protected:
    /// An image in memory that stands for a device's.
    static Image surface(UniqueFd memory = make_sealed_memfd("test", whole_pages(4096)).value())
    {
        ImageDescription description{kFourccNv12, 32, 32, kModifierLinear, 2, {{{0, 0, 32}, {0, 1024, 32}}}};
        std::vector<UniqueFd> objects;
        objects.push_back(std::move(memory));
        return Image::make(description, std::move(objects), Image::Backing::kStandIn).value();
    }
    FramePool::Slot *lent(const FramePool::SurfaceKey &key)
    {
        FramePool::Slot *slot = pool.find_surface(key);
        if (!slot)
            slot = pool.bind_surface(key, surface());
        EXPECT_TRUE(slot);
        pool.lend_surface(*slot, held);
        return slot;
    }
    void give_back(const FramePool::Slot &slot) { pool.viewer_done(std::uint64_t{1} << slot.index); }

    std::shared_ptr<void> held = std::make_shared<int>(0);
};

TEST_F(SurfacePool, surface_is_held_back_from_its_device_exactly_as_long_as_the_viewer_has_it)
{
    FramePool::Slot *slot = lent({1, 7});
    EXPECT_EQ(held.use_count(), 2);
    give_back(*slot);
    EXPECT_EQ(held.use_count(), 1);
}

TEST_F(SurfacePool, surface_that_a_device_still_reads_is_held_back_beyond_its_release)
{
    FramePool::Slot *slot = pool.bind_surface({1, 7}, surface());
    const Image &image = *slot->surface;
    const UniqueFd full = unfinished();
    ASSERT_GE(::dup3(full.get(), image.objects()[0].get(), O_CLOEXEC), 0);
    pool.lend_surface(*slot, held);
    give_back(*slot);
    EXPECT_EQ(held.use_count(), 2);
    std::uint64_t value = 0;
    ASSERT_EQ(::read(full.get(), &value, sizeof value), static_cast<ssize_t>(sizeof value));
    pool.viewer_done(0);
    EXPECT_EQ(held.use_count(), 1);
}

TEST_F(SurfacePool, surface_keeps_its_slot_and_is_told_of_once)
{
    FramePool::Slot *slot = lent({1, 7});
    EXPECT_TRUE(pool.announce(*slot));
    give_back(*slot);
    EXPECT_EQ(lent({1, 7}), slot);
    EXPECT_FALSE(pool.announce(*slot));
    EXPECT_NE(lent({1, 8}), slot);
}

TEST_F(SurfacePool, surface_shown_twice_has_a_slot_for_each_time)
{
    FramePool::Slot *first = lent({1, 7});
    FramePool::Slot *second = lent({1, 7});
    EXPECT_NE(first, second);
    give_back(*first);
    EXPECT_EQ(held.use_count(), 2) << "the second is still on show";
}

TEST_F(SurfacePool, surfaces_of_an_older_generation_are_let_go_but_for_those_on_show)
{
    FramePool::Slot *shown = lent({1, 7});
    FramePool::Slot *unused = lent({1, 8});
    give_back(*unused);
    FramePool::Slot *fresh = lent({2, 7});
    EXPECT_NE(fresh, shown);
    EXPECT_TRUE(shown->surface);
    EXPECT_FALSE(pool.find_surface({1, 8}));
}

TEST_F(SurfacePool, viewer_has_enough_with_three_and_while_units_wait_when_the_device_has_no_more)
{
    constexpr std::size_t kMany = FramePool::kUnitsWaiting + 1;
    for (std::uint64_t i = 1; i <= FramePool::kSurfacesHeld; ++i) {
        EXPECT_EQ(pool.viewer_has_enough(), i > FramePool::kBeyondCodec) << i;
        EXPECT_FALSE(pool.viewer_has_enough(kMany)) << i;
        static_cast<void>(lent({1, i}));
    }
    EXPECT_TRUE(pool.viewer_has_enough(kMany));
}

TEST_F(SurfacePool, slot_of_a_surface_serves_for_memory_afterwards)
{
    std::vector<FramePool::Slot *> all;
    for (std::uint64_t i = 0; i < ipc::kMaxDescriptors - 1; ++i)
        all.push_back(lent({1, i}));
    EXPECT_FALSE(pool.acquire(layout)) << "it takes two descriptors";
    give_back(*all[5]);
    FramePool::Slot *memory = pool.acquire(layout);
    ASSERT_EQ(memory, all[5]);
    EXPECT_FALSE(memory->surface);
    EXPECT_TRUE(pool.lend(*memory) && pool.announce(*memory)) << "its memory is new to the viewer";
}

TEST_F(SurfacePool, software_has_room_beside_all_surfaces_of_a_device_that_has_failed)
{
    constexpr std::size_t kSurface = 12u << 20; // of 4K
    for (std::uint64_t i = 0; i < 30; ++i) {
        FramePool::Slot *slot = pool.bind_surface({1, i}, surface(make_sealed_memfd("test", kSurface).value()));
        ASSERT_TRUE(slot);
        pool.lend_surface(*slot, held);
        EXPECT_TRUE(pool.announce(*slot));
        give_back(*slot);
    }
    const auto frame = shm_layout(kFourccXrgb8888, 2048, 1024, 4 * 2048); // 8 MiB
    unsigned frames = 0;
    while (pool.acquire(*frame))
        ++frames;
    EXPECT_EQ(frames, 31u) << "as many as there are in 256 MiB";
}

} // namespace
} // namespace spice_overlay
