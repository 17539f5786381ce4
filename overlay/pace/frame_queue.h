// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

namespace spice_overlay {

/// Decoded frames of one stream that wait for their time, in the order they will be shown. `Frame` points to something with a
/// `due` member, in ns of CLOCK_MONOTONIC. Bounded: a decoder that runs far ahead loses its oldest frames. One thread.
template <typename Frame>
class FrameQueue {
public:
    static constexpr std::size_t kCapacity = 24;

    /// Returns how many frames were dropped to make room: 0 or 1.
    [[nodiscard]] unsigned push(Frame frame)
    {
        bool full = queue_.size() == kCapacity;
        if (full)
            queue_.pop_front();
        queue_.push_back(std::move(frame));
        return full;
    }

    /// The newest frame that is due, or an empty one. The ones before it are dropped and added to `late`.
    [[nodiscard]] Frame take_due(std::int64_t now, unsigned &late)
    {
        Frame due{};
        while (!queue_.empty() && queue_.front()->due <= now) {
            if (due)
                ++late;
            due = std::move(queue_.front());
            queue_.pop_front();
        }
        return due;
    }

    [[nodiscard]] std::int64_t next_due() const { return queue_.empty() ? -1 : queue_.front()->due; } ///< negative: none
    [[nodiscard]] std::size_t size() const { return queue_.size(); }
    void clear() { queue_.clear(); }

private:
    std::deque<Frame> queue_;
};

} // namespace spice_overlay
