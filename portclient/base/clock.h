// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/random.h>

#include <cstdint>
#include <ctime>

namespace spice_overlay {

/// ns of a POSIX clock (POSIX only).
inline std::int64_t clock_now(clockid_t clock)
{
    timespec t{};
    clock_gettime(clock, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// ns of CLOCK_MONOTONIC.
inline std::int64_t monotonic_now()
{
    return clock_now(CLOCK_MONOTONIC);
}

/// For a HELLO that begins a conversation: random, never 0.
inline std::uint64_t fresh_nonce()
{
    std::uint64_t nonce = 0;
    while (nonce == 0)
        if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce)
            nonce = static_cast<std::uint64_t>(monotonic_now());
    return nonce;
}

} // namespace spice_overlay
