// SPDX-License-Identifier: LGPL-2.1-or-later
#include "copy_opaque.h"

#include <emmintrin.h>

namespace spice_overlay {

namespace {

constexpr std::uint32_t kOpaque = 0xff000000U;

} // namespace

void copy_opaque(const std::uint32_t *from, std::uint32_t *to, std::size_t pixels)
{
    const __m128i opaque = _mm_set1_epi32(static_cast<int>(kOpaque));
    std::size_t i = 0;
    for (; i < pixels && reinterpret_cast<std::uintptr_t>(to + i) % sizeof opaque != 0; ++i)
        to[i] = from[i] | kOpaque;
    for (; i + 4 <= pixels; i += 4) {
        __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i));
        _mm_stream_si128(reinterpret_cast<__m128i *>(to + i), _mm_or_si128(four, opaque));
    }
    for (; i < pixels; ++i)
        to[i] = from[i] | kOpaque;
}

void finish_copies()
{
    _mm_sfence(); // such stores may come later than those after them
}

} // namespace spice_overlay
