// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/present/wayland/copy_opaque.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace spice_overlay {
namespace {

TEST(CopyOpaque, copies_rows_of_every_length_to_and_from_every_place_and_touches_nothing_beside)
{
    constexpr std::size_t kPlaces = 20, kLongest = 70, kRow = kPlaces + kLongest + kPlaces;
    constexpr std::uint32_t kUntouched = 0x12345678;
    std::vector<std::uint32_t> source(kRow);
    for (std::size_t i = 0; i < kRow; ++i)
        source[i] = static_cast<std::uint32_t>(i * 0x010203);
    for (std::size_t from = 0; from < 4; ++from)
        for (std::size_t to = 0; to < kPlaces; ++to)
            for (std::size_t pixels = 0; pixels <= kLongest; ++pixels) {
                std::vector<std::uint32_t> expected(kRow, kUntouched), copied(kRow, kUntouched);
                for (std::size_t i = 0; i < pixels; ++i)
                    expected[to + i] = 0xff000000U | source[from + i];
                copy_opaque(&source[from], &copied[to], pixels);
                finish_copies();
                ASSERT_EQ(copied, expected) << pixels << " pixels from " << from << " to " << to;
            }
}

} // namespace
} // namespace spice_overlay
