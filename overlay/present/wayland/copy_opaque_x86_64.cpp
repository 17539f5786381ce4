// SPDX-License-Identifier: LGPL-2.1-or-later
#include "copy_opaque.h"

#include <emmintrin.h>

#include <algorithm>

namespace spice_overlay {

namespace {

constexpr std::uint32_t kOpaque = 0xff000000U;
constexpr std::size_t kLine = 64; ///< bytes of a cache line
constexpr std::size_t kLinePixels = kLine / sizeof(std::uint32_t);

void copy_through_caches(const std::uint32_t *from, std::uint32_t *to, std::size_t pixels)
{
    for (std::size_t i = 0; i < pixels; ++i)
        to[i] = from[i] | kOpaque;
}

} // namespace

/// Whole cache lines pass the caches by. Lines written in part must not: memory would have to be read to complete each, which
/// made a row of 277 pixels four times as slow.
void copy_opaque(const std::uint32_t *from, std::uint32_t *to, std::size_t pixels)
{
    std::size_t into_line = reinterpret_cast<std::uintptr_t>(to) % kLine / sizeof *to;
    std::size_t head = std::min((kLinePixels - into_line) % kLinePixels, pixels);
    copy_through_caches(from, to, head);
    const __m128i opaque = _mm_set1_epi32(static_cast<int>(kOpaque));
    std::size_t i = head;
    for (; i + kLinePixels <= pixels; i += kLinePixels)
        for (std::size_t j = i; j < i + kLinePixels; j += 4) {
            __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + j));
            _mm_stream_si128(reinterpret_cast<__m128i *>(to + j), _mm_or_si128(four, opaque));
        }
    copy_through_caches(from + i, to + i, pixels - i);
}

void finish_copies()
{
    _mm_sfence(); // such stores may come later than those after them
}

} // namespace spice_overlay
