// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace spice_overlay {

/// What CLOCK_MONOTONIC says in this program, ns, so that patience and delays pass without anybody waiting for them. 0: the real time.
extern std::int64_t virtual_now;

constexpr std::int64_t kMs = 1'000'000;

} // namespace spice_overlay
