// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/slices.h"
#include "dmabuf/decoder/unit_places.h"
#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"

#include <gtest/gtest.h>

#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <random>

namespace spice_overlay {
namespace {

TEST(ShmLayout, chroma_follows_luma_with_half_its_stride)
{
    const auto yu12 = shm_layout(kFourccYu12, 642, 358, 1024);
    ASSERT_TRUE(yu12);
    EXPECT_EQ(yu12->plane_count, 3u);
    EXPECT_EQ(yu12->planes[1], (ImageLayout::Plane{1024 * 358, 512}));
    EXPECT_EQ(yu12->planes[2], (ImageLayout::Plane{1024 * 358 + 512 * 179, 512}));
    EXPECT_EQ(yu12->bytes, 1024u * 358 + 2 * 512 * 179);

    const auto nv12 = shm_layout(kFourccNv12, 642, 358, 1024);
    ASSERT_TRUE(nv12);
    EXPECT_EQ(nv12->plane_count, 2u);
    EXPECT_EQ(nv12->planes[1], (ImageLayout::Plane{1024 * 358, 1024}));
    EXPECT_EQ(nv12->bytes, yu12->bytes);

    const auto xrgb = shm_layout(kFourccXrgb8888, 101, 77, 448);
    ASSERT_TRUE(xrgb);
    EXPECT_EQ(xrgb->plane_count, 1u);
    EXPECT_EQ(xrgb->bytes, 448u * 77);
}

TEST(ShmLayout, impossible_pictures_have_none)
{
    struct {
        std::uint32_t fourcc, width, height, stride;
    } const cases[] = {
        {kFourccYu12, 0, 2, 64},
        {kFourccYu12, 2, 0, 64},
        {kFourccYu12, 63, 2, 64},
        {kFourccYu12, 64, 3, 64},
        {kFourccYu12, 64, 2, 62},
        {kFourccYu12, 64, 2, 65},
        {kFourccNv12, 64, 2, 0},
        {kFourccXrgb8888, 64, 1, 255},
        {kFourccXrgb8888, 64, 1, 258},
        {kFourccXrgb8888, 64, 1, 252},
        {kFourccYu12, kMaxBufferSide + 2, 2, kMaxBufferSide + 2},
        {kFourccYu12, 2, kMaxBufferSide + 2, 2},
        {kFourccYu12, 64, 64, 0xfffffffe},
        {kFourccXrgb8888, 8192, 8192, 4 * 8192},
        {kFourccYu12, 8192, 8192, 4 * 8192},
        {0, 64, 64, 64},
        {fourcc_code('A', 'R', '2', '4'), 64, 64, 256},
    };
    for (const auto &c : cases)
        EXPECT_FALSE(shm_layout(c.fourcc, c.width, c.height, c.stride))
            << c.fourcc << ' ' << c.width << 'x' << c.height << ' ' << c.stride;
}

std::vector<std::uint8_t> repeated(std::vector<std::uint8_t> bytes, std::size_t times)
{
    std::vector<std::uint8_t> out;
    for (std::size_t i = 0; i < times; ++i)
        out.insert(out.end(), bytes.begin(), bytes.end());
    return out;
}

TEST(Slices, are_counted_in_each_codec_and_nothing_else_is)
{
    const struct {
        wire::Codec codec;
        std::vector<std::uint8_t> unit;
        std::size_t slices;
    } cases[] = {
        {wire::Codec::kH264, repeated({0, 0, 0, 1, 0x65, 9}, 7), 7},
        {wire::Codec::kH264, repeated({0, 0, 1, 0x41}, 7), 7},
        {wire::Codec::kH264, repeated({0, 0, 1, 0x67, 0, 0, 1, 0x06, 0, 3, 1, 0x65}, 7), 0},
        {wire::Codec::kH264, {0, 1, 0x65, 0, 0, 1}, 0},
        {wire::Codec::kH264, {1, 0x65}, 0},
        {wire::Codec::kHevc, repeated({0, 0, 1, 0x26, 1, 0, 0, 1, 0x40, 1}, 5), 5},
        {wire::Codec::kMpeg2, repeated({0, 0, 1, 0x00, 0, 0, 1, 0x01, 0, 0, 1, 0xaf, 0, 0, 1, 0xb3}, 3), 6},
        {wire::Codec::kMjpeg, repeated({0xff, 0xda, 0xff, 0x00, 0xff, 0xff, 0xda}, 3), 6},
        {wire::Codec::kVp9, repeated({0, 0, 1, 0x65}, 9), 0},
        {wire::Codec::kH264, {}, 0},
        {wire::Codec::kH264, repeated({0, 0, 1, 0x65}, kMaxSlices), kMaxSlices},
        {wire::Codec::kH264, repeated({0, 0, 1, 0x65}, 50 * kMaxSlices), kMaxSlices + 1},
    };
    for (const auto &c : cases)
        EXPECT_EQ(count_slices(c.codec, c.unit), c.slices)
            << wire::name(c.codec) << " of " << c.unit.size() << " bytes";
}

TEST(KeyUnits, that_begin_anew_end_what_is_before_them_and_drop_none_of_it)
{
    using Bytes = std::vector<std::uint8_t>;
    const struct {
        wire::Codec codec;
        Bytes unit;
        Bytes anew;
    } cases[] = {
        {wire::Codec::kH264, {0, 0, 1, 0x65, 9}, {0, 0, 0, 1, 10, 0, 0, 1, 0x65, 9}},
        {wire::Codec::
             kHevc, // a parameter set, two slices of a CRA picture (the second of another layer), and one of an IDR picture
         {0, 0, 1, 0x40, 1, 0, 0, 0, 1, 0x2a, 1, 0x2a, 0, 0, 1, 0x2b, 1, 0, 0, 1, 0x26, 1},
         {0, 0, 1, 0x40, 1, 0, 0, 0, 1, 0x20, 1, 0x2a, 0, 0, 1, 0x21, 1, 0, 0, 1, 0x26, 1}},
        {wire::Codec::kHevc, {0, 0, 1}, {0, 0, 1}},
        {wire::Codec::kHevc, {}, {}},
        {wire::Codec::kVp9, {0, 0, 1, 0x2a}, {0, 0, 1, 0x2a}},
    };
    for (const auto &c : cases)
        EXPECT_EQ(beginning_anew(c.codec, c.unit), c.anew)
            << wire::name(c.codec) << " of " << c.unit.size() << " bytes";
}

TEST(SealedMemfd, can_neither_shrink_nor_grow_nor_take_another_seal)
{
    auto fd = make_sealed_memfd("test", 8192);
    ASSERT_TRUE(fd) << fd.error().message;
    EXPECT_TRUE(check_sealed_memfd(fd->get(), 8192));
    EXPECT_EQ(::ftruncate(fd->get(), 4096), -1);
    EXPECT_EQ(::ftruncate(fd->get(), 16384), -1);
    EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
    EXPECT_FALSE(check_sealed_memfd(fd->get(), 4096));
    EXPECT_FALSE(check_sealed_memfd(-1, 8192));
    EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(UnitPlaces, keep_to_the_start_while_units_are_small)
{
    UnitPlaces places(48000, 100);
    for (int i = 0; i < 10000; ++i) {
        const auto offset = places.put(100 + static_cast<std::size_t>(i) % 300);
        ASSERT_TRUE(offset);
        if (places.units() == 8) {
            ASSERT_TRUE(places.take(1));
        }
    }
    EXPECT_LE(places.high_water(), 8u * 400 * 2);
}

TEST(UnitPlaces, largest_unit_fits_beside_another_wherever_that_is)
{
    for (std::size_t place = 0; place <= 16000; place += 100) {
        UnitPlaces places(48000, 100);
        if (place > 0) {
            ASSERT_TRUE(places.put(place));
        }
        ASSERT_TRUE(places.put(16000));
        if (place > 0) {
            ASSERT_TRUE(places.take(1));
        }
        EXPECT_TRUE(places.put(16000)) << place;
    }
}

TEST(UnitPlaces, refuse_what_they_cannot_hold)
{
    UnitPlaces places(1000, 3);
    EXPECT_FALSE(places.put(0));
    EXPECT_FALSE(places.put(1001));
    EXPECT_FALSE(places.take(1));
    EXPECT_TRUE(places.put(400));
    EXPECT_FALSE(places.put(601));
    EXPECT_TRUE(places.put(600));
    EXPECT_FALSE(places.put(1)) << "full";
    EXPECT_TRUE(places.take(1));
    EXPECT_TRUE(places.put(400));
    EXPECT_FALSE(places.put(1)) << "full, wrapped";
    EXPECT_FALSE(places.take(3));
    EXPECT_TRUE(places.take(2));
    EXPECT_TRUE(places.put(1));
    EXPECT_TRUE(places.put(1));
    EXPECT_TRUE(places.put(1));
    EXPECT_FALSE(places.put(1)) << "as many units as it may have";
    places.undo_put();
    EXPECT_TRUE(places.put(1));
}

TEST(UnitPlaces, small_units_find_room_beside_an_oversized_one)
{
    // A large unit that came in behind small ones leaves little room before it and much behind.
    UnitPlaces places(48000, 100);
    ASSERT_TRUE(places.put(700));
    ASSERT_TRUE(places.put(700));
    ASSERT_TRUE(places.put(16000));
    ASSERT_TRUE(places.take(2));
    for (int i = 0; i < 10; ++i)
        EXPECT_TRUE(places.put(730)) << i;
}

TEST(Layout, edges_are_continued_by_one_sample_and_the_picture_stays)
{
    for (const std::uint32_t fourcc : {kFourccYu12, kFourccNv12}) {
        const auto layout = shm_layout(fourcc, 20, 12, 32);
        ASSERT_TRUE(layout);
        std::vector<std::uint8_t> memory(layout->bytes, 0);
        for (unsigned i = 0; i < layout->plane_count; ++i) { // a picture of 13 x 7 pixels
            const std::uint32_t bytes = i == 0 ? 13 : fourcc == kFourccNv12 ? 14 : 7;
            for (std::uint32_t y = 0; y < (i ? 4u : 7u); ++y)
                for (std::uint32_t x = 0; x < bytes; ++x)
                    memory[layout->planes[i].offset + y * layout->planes[i].stride + x] =
                        static_cast<std::uint8_t>(1 + x + 16 * y);
        }
        const std::vector<std::uint8_t> before = memory;
        extend_edges(*layout, memory, 13, 7);
        for (unsigned i = 0; i < layout->plane_count; ++i) {
            const auto at = [&](const std::vector<std::uint8_t> &m, std::uint32_t x, std::uint32_t y) {
                return m[layout->planes[i].offset + y * layout->planes[i].stride + x];
            };
            const std::uint32_t sample = fourcc == kFourccNv12 && i ? 2 : 1;
            const std::uint32_t bytes = i == 0 ? 13 : 7 * sample;
            const std::uint32_t rows = i ? 4 : 7;
            for (std::uint32_t y = 0; y < rows; ++y) {
                for (std::uint32_t x = 0; x < bytes; ++x)
                    EXPECT_EQ(at(memory, x, y), at(before, x, y));
                for (std::uint32_t x = 0; x < sample; ++x)
                    EXPECT_EQ(at(memory, bytes + x, y), at(before, bytes - sample + x, y));
            }
            for (std::uint32_t x = 0; x < bytes; ++x)
                EXPECT_EQ(at(memory, x, rows), at(before, x, rows - 1));
        }
    }
}

TEST(Layout, a_picture_as_wide_as_its_image_is_continued_into_the_stride)
{
    const auto layout = shm_layout(kFourccYu12, 20, 12, 32);
    ASSERT_TRUE(layout);
    std::vector<std::uint8_t> memory(layout->bytes, 0);
    for (unsigned i = 0; i < layout->plane_count; ++i)
        for (std::uint32_t y = 0; y < (i ? 6u : 12u); ++y)
            memory[layout->planes[i].offset + y * layout->planes[i].stride + (i ? 9 : 19)] = 7;
    extend_edges(*layout, memory, 20, 12);
    for (unsigned i = 0; i < layout->plane_count; ++i)
        for (std::uint32_t y = 0; y < (i ? 6u : 12u); ++y)
            EXPECT_EQ(memory[layout->planes[i].offset + y * layout->planes[i].stride + (i ? 10 : 20)], 7);
}

TEST(UnitPlaces, random_units_never_overlap)
{
    std::mt19937 random(1);
    UnitPlaces places(10000, 40);
    std::deque<std::pair<std::size_t, std::size_t>> live;
    std::size_t refused = 0;
    for (int i = 0; i < 100000; ++i) {
        const std::size_t size = 1 + random() % (random() % 20 == 0 ? 3000 : 300);
        if (random() % 20 < 11) {
            if (const auto offset = places.put(size)) {
                ASSERT_LE(*offset + size, 10000u);
                for (const auto &[start, bytes] : live)
                    ASSERT_TRUE(*offset + size <= start || start + bytes <= *offset) << "overlap at step " << i;
                live.emplace_back(*offset, size);
            } else {
                ++refused;
            }
        } else if (!live.empty()) {
            const std::size_t units = 1 + random() % std::min<std::size_t>(live.size(), 3);
            ASSERT_TRUE(places.take(units));
            live.erase(live.begin(), live.begin() + static_cast<std::ptrdiff_t>(units));
        }
    }
    EXPECT_GT(refused, 0u) << "the memory was never full: nothing tested";
}

} // namespace
} // namespace spice_overlay
