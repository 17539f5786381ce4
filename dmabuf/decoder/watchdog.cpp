// SPDX-License-Identifier: LGPL-2.1-or-later
#include "watchdog.h"

#include <utility>

namespace spice_overlay {

Watchdog::Watchdog(std::chrono::milliseconds patience, std::function<void()> bite)
    : patience_(patience), bite_(std::move(bite)), thread_([this] { run(); })
{
}

Watchdog::~Watchdog()
{
    end_ = true;
    wake_.release();
    thread_.join();
}

void Watchdog::begin()
{
    ++calls_;
    if (asleep_.exchange(false))
        wake_.release();
}

void Watchdog::run()
{
    wake_.acquire();
    unsigned looks = 0; // at the same call
    while (!end_) {
        const unsigned before = calls_;
        if (wake_.try_acquire_for(patience_ / 2)) // only the end
            continue;
        looks = calls_ == before ? looks + 1 : 0;
        if (looks == 0)
            continue;
        if (before % 2 != 0) {
            if (looks < 2) // the whole process may just have been stopped
                continue;
            bite_();
            return;
        }
        looks = 0;
        asleep_ = true;
        if (calls_ != before && asleep_.exchange(false)) // one began in between, and saw us awake
            continue;
        wake_.acquire();
    }
}

} // namespace spice_overlay
