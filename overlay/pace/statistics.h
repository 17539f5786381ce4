// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace spice_overlay {

/// Durations counted in steps of a tenth of a millisecond up to one second, so that percentiles cost no memory over time.
class DurationHistogram {
public:
    void add(std::int64_t ns)
    {
        std::int64_t step = std::clamp<std::int64_t>(ns / kStep, 0, std::int64_t{kSteps} - 1);
        ++counts_[static_cast<std::size_t>(step)];
        ++total_;
        largest_ = std::max(largest_, static_cast<std::size_t>(step));
    }

    [[nodiscard]] std::uint64_t count() const { return total_; }

    /// The duration in ms that `percent` of all stay within; 0 when there is none.
    [[nodiscard]] double percentile(double percent) const
    {
        auto wanted = static_cast<std::uint64_t>(static_cast<double>(total_) * percent / 100);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i <= largest_; ++i) {
            seen += counts_[i];
            if (seen > wanted || (seen == total_ && total_))
                return (static_cast<double>(i) + 0.5) * kStep / 1e6;
        }
        return 0;
    }

private:
    static constexpr std::int64_t kStep = 100'000; // ns
    static constexpr std::size_t kSteps = 10'000;
    std::array<std::uint32_t, kSteps> counts_{};
    std::uint64_t total_ = 0;
    std::size_t largest_ = 0; ///< last step in use
};

/// What the redirection has done since it began; all streams together.
struct Statistics {
    std::uint64_t frames_decoded = 0;
    std::uint64_t frames_committed = 0;
    std::uint64_t frames_presented = 0;    ///< the compositor has drawn them
    std::uint64_t frames_dropped_late = 0; ///< a newer frame was due
    std::uint64_t frames_while_hidden = 0; ///< replaced while no part of the video was visible
    std::uint64_t geometry_transactions = 0; ///< commits that changed where videos are
    std::uint64_t streams_opened = 0;
    std::uint64_t decoder_restarts = 0;
    std::string decoder_failed;     ///< how the last decoder that failed did, for people; empty: none has
    std::uint64_t placed_above = 0; ///< transactions that left a video there
    std::uint64_t placed_below = 0;
    std::uint64_t placed_hidden = 0;
    std::string transport;      ///< of the newest frame buffer, "wl_shm/YU12"
    std::string why_not_dmabuf; ///< where it is another, for people
    /// Of the frames that were measured: how they got to the screen, as the compositor says.
    struct {
        std::uint64_t measured = 0;
        std::uint64_t vsync = 0;
        std::uint64_t hw_clock = 0;
        std::uint64_t hw_completion = 0;
        std::uint64_t zero_copy = 0;
    } presentation;
    std::string decoder;          ///< what the newest stream is decoded by, "VA-API (...)" or "software"
    std::string why_not_hardware; ///< where it is software, for people
    DurationHistogram receipt_to_commit;
    DurationHistogram receipt_to_presentation; ///< of a sample
    DurationHistogram decode;
    /// From when a frame was both decoded and due; with whatever the compositor lets it wait.
    DurationHistogram ready_to_commit;
    /// From the moment that a decoder started again is ready to its first picture on the screen.
    DurationHistogram resumption;

    /// Called with the next change, and forgotten: whoever is interested need not look as long as nothing happens.
    std::function<void()> on_change;
    void changed()
    {
        if (on_change)
            std::exchange(on_change, nullptr)();
    }
};

} // namespace spice_overlay
