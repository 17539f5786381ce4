// SPDX-License-Identifier: LGPL-2.1-or-later
#include "presentation_clock.h"

#include "portclient/base/clock.h"

#include <cstdlib>

namespace spice_overlay::gst {

void PresentationClock::start(GstClock *clock, GstClockTime base_time)
{
    gst_object_replace(reinterpret_cast<GstObject **>(&clock_), GST_OBJECT_CAST(clock));
    base_time_ = base_time;
    offset_known_ = false;
}

void PresentationClock::stop()
{
    gst_object_replace(reinterpret_cast<GstObject **>(&clock_), nullptr);
}

std::int64_t PresentationClock::offset()
{
    std::int64_t measured = monotonic_now() - static_cast<std::int64_t>(gst_clock_get_time(clock_));
    // A sound card's clock goes in steps, which are not to be seen as jerks; but a clock may also be set.
    constexpr std::int64_t kJump = 40'000'000;
    if (!offset_known_ || std::llabs(measured - offset_) > kJump)
        offset_ = measured;
    else
        offset_ += (measured - offset_) / 16;
    offset_known_ = true;
    return offset_;
}

std::int64_t PresentationClock::monotonic(std::int64_t running_time)
{
    return static_cast<std::int64_t>(base_time_ + latency_) + running_time + offset();
}

std::int64_t PresentationClock::running_time()
{
    return monotonic_now() - offset() - static_cast<std::int64_t>(base_time_ + latency_);
}

} // namespace spice_overlay::gst
