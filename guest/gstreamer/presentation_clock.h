// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gst/gst.h>

#include <cstdint>

namespace spice_overlay::gst {

/// When a picture is to be seen: the pipeline's running time as ns of CLOCK_MONOTONIC. A pipeline may run on any clock, a sound card's most
/// often; how that one goes is looked up again for every unit. No locks: whoever owns it has one.
class PresentationClock {
public:
    PresentationClock() = default;
    ~PresentationClock() { stop(); }
    PresentationClock(const PresentationClock &) = delete;

    /// `clock` is borrowed and kept; running time 0 is at `base_time` of it.
    void start(GstClock *clock, GstClockTime base_time);
    void stop();
    [[nodiscard]] bool runs() const { return clock_; }
    [[nodiscard]] GstClockTime base_time() const { return base_time_; }

    /// What sinks of a live pipeline add.
    void set_latency(GstClockTime latency) { latency_ = latency; }

    /// Only while it runs.
    [[nodiscard]] std::int64_t monotonic(std::int64_t running_time);
    [[nodiscard]] std::int64_t running_time();

private:
    [[nodiscard]] std::int64_t offset();

    GstClock *clock_ = nullptr;
    GstClockTime base_time_ = GST_CLOCK_TIME_NONE;
    GstClockTime latency_ = 0;
    std::int64_t offset_ = 0; ///< of CLOCK_MONOTONIC against the clock
    bool offset_known_ = false;
};

} // namespace spice_overlay::gst
