// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/watchdog.h"

#include <gtest/gtest.h>

namespace spice_overlay {
namespace {

using namespace std::chrono_literals;

TEST(Watchdog, bites_when_a_call_does_not_return_and_not_while_it_looks_away)
{
    std::binary_semaphore bitten(0);
    Watchdog dog(100ms, [&] { bitten.release(); });
    {
        const Watchdog::Watch watch(dog);
        const Watchdog::Pause pause(dog);
        EXPECT_FALSE(bitten.try_acquire_for(500ms));
    }
    EXPECT_FALSE(bitten.try_acquire_for(500ms)) << "nothing is under way";
    const Watchdog::Watch watch(dog);
    {
        const Watchdog::Pause pause(dog);
    }
    EXPECT_TRUE(bitten.try_acquire_for(30s)) << "the call goes on after the pause";
}

} // namespace
} // namespace spice_overlay
