// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/common/spice-overlay-guest.h"
#include "presentation_clock.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace spice_overlay::gst {

/// Where the picture is to be looked for; the first of the three that is there.
struct Place {
    std::string display_name; ///< of X; empty: $DISPLAY
    std::uint32_t window = 0; ///< X window, 0 none
    std::optional<spice_overlay_rect> region;
    std::uint32_t monitor = 0;    ///< of `region`
    std::int32_t key_colour = -1; ///< 0xRRGGBB, -1 none
};

/// One video on its way to the agent. Gives the units their times, and keeps back those whose time is not known yet: a pipeline's clock begins
/// when it plays, while its first units come before. Any thread, but begin(), end(), unit() and flush() one at a time.
class Forwarder {
public:
    /// Called on the library's thread; must not wait for anything.
    class Events {
    public:
        virtual ~Events() = default;
        virtual void redirection_changed() = 0;
        virtual void key_unit_wanted() = 0;
    };

    explicit Forwarder(Events &events) : events_(events) {}
    ~Forwarder();
    Forwarder(const Forwarder &) = delete;

    /// A new stream: opened with the next key unit, since that may carry the parameter sets.
    void begin(spice_overlay_guest *guest, const spice_overlay_format &format, const Place &place);
    void end(spice_overlay_reason reason);

    /// A key unit carries its parameter sets. `running_time`: of its presentation.
    void unit(GstBuffer *buffer, std::int64_t running_time);
    void flush();
    void set_rate(double rate);
    /// What comes before this running time is decoded for the sake of what follows, and is due with it.
    void set_start(std::int64_t running_time);

    // The pipeline's time. While it does not run, only what belongs to the picture at the start goes out.
    void run(GstClock *clock, GstClockTime base_time);
    void halt(bool paused); ///< `paused`: on purpose, as opposed to a new beginning after a seek
    void set_latency(GstClockTime latency);
    [[nodiscard]] bool runs() const;
    [[nodiscard]] GstClockTime base_time() const;
    [[nodiscard]] std::optional<std::int64_t> now(); ///< running time that is seen now

    [[nodiscard]] spice_overlay_reason reason() const { return reason_.load(); }
    [[nodiscard]] bool open() const;
    [[nodiscard]] bool found() const { return found_.load(); } ///< the picture has been seen on the screen
    [[nodiscard]] bool seen() const { return seen_.load(); }   ///< some of it is there now
    [[nodiscard]] bool lost() const { return lost_.load(); }   ///< it cannot even be looked for
    /// Waits until the agent has said what becomes of the stream; for `ms` at most, and until interrupt().
    void wait_for_answer(int ms);
    void interrupt();

    struct Counters {
        std::uint64_t sent = 0;
        std::uint64_t refused = 0; ///< by the library, at once
    };
    [[nodiscard]] Counters counters() const;

private:
    struct Held {
        GstBuffer *buffer;
        std::int64_t running_time;
    };
    [[nodiscard]] bool open_with(GstBuffer *key_unit);
    void release_held();
    void forget_held();
    void deliver(GstBuffer *buffer, std::int64_t running_time);
    [[nodiscard]] std::int64_t due(std::int64_t running_time);
    void set_reason(spice_overlay_reason reason);

    Events &events_;

    mutable std::mutex mutex_; ///< guards what follows, up to the next mutex
    spice_overlay_guest *guest_ = nullptr;
    spice_overlay_stream *stream_ = nullptr;
    spice_overlay_format format_ = SPICE_OVERLAY_FORMAT_INIT;
    Place place_;
    PresentationClock clock_;
    bool paused_ = true;
    double rate_ = 1;
    std::int64_t start_ = 0;     ///< running time
    std::int64_t start_due_ = 0; ///< while the clock does not run: when the picture at the start is shown
    std::deque<Held> held_;
    bool gap_ = false;
    Counters counters_;

    std::mutex answer_mutex_; ///< never held while the library is called
    std::condition_variable answered_;
    bool interrupted_ = false;
    std::atomic<spice_overlay_reason> reason_ = SPICE_OVERLAY_REASON_PENDING;
    std::atomic<bool> found_ = false;
    std::atomic<bool> seen_ = false;
    std::atomic<bool> lost_ = false;
};

} // namespace spice_overlay::gst
