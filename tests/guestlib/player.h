// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/common/spice-overlay-guest.h"
#include "portclient/base/clock.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace spice_overlay::test {

constexpr std::int64_t kMs = 1'000'000;

/// What a stream's callbacks told.
class Told {
public:
    spice_overlay_stream_events events()
    {
        spice_overlay_stream_events events{};
        events.struct_size = sizeof events;
        events.state = [](void *data, spice_overlay_reason reason) {
            self(data).note([&](Told &t) { t.states_.push_back(reason); });
        };
        events.need_key = [](void *data) { self(data).note([](Told &t) { t.need_keys_++; }); };
        events.feedback = [](void *data, std::uint64_t presented, std::uint64_t late) {
            self(data).note([&](Told &t) { t.presented_ = presented, t.late_ = late; });
        };
        events.placed = [](void *data, std::uint32_t width, std::uint32_t height, std::uint64_t visible) {
            self(data).note([&](Told &t) { t.width_ = width, t.height_ = height, t.visible_ = visible; });
        };
        return events;
    }

    std::vector<spice_overlay_reason> states() { return get(states_); }
    spice_overlay_reason state()
    {
        auto all = states();
        return all.empty() ? SPICE_OVERLAY_REASON_PENDING : all.back();
    }
    int need_keys() { return get(need_keys_); }
    std::uint64_t presented() { return get(presented_); }
    std::uint64_t late() { return get(late_); }
    std::uint32_t width() { return get(width_); }
    std::uint32_t height() { return get(height_); }
    std::uint64_t visible() { return get(visible_); }

    [[nodiscard]] bool wait(const std::function<bool(Told &)> &done, double seconds = 20)
    {
        auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
        while (!done(*this)) {
            std::unique_lock lock(mutex_);
            if (std::chrono::steady_clock::now() > end)
                return false;
            changed_.wait_for(lock, std::chrono::milliseconds(20));
        }
        return true;
    }
    [[nodiscard]] bool wait_state(spice_overlay_reason reason)
    {
        return wait([&](Told &told) { return told.state() == reason; });
    }

    std::function<void()> also; ///< called with each callback, in its thread

private:
    static Told &self(void *data) { return *static_cast<Told *>(data); }
    template <typename Change>
    void note(Change &&change)
    {
        {
            std::lock_guard lock(mutex_);
            change(*this);
        }
        changed_.notify_all();
        if (also)
            also();
    }
    template <typename Value>
    Value get(const Value &value)
    {
        std::lock_guard lock(mutex_);
        return value;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<spice_overlay_reason> states_;
    int need_keys_ = 0;
    std::uint64_t presented_ = 0, late_ = 0;
    std::uint32_t width_ = 0, height_ = 0;
    std::uint64_t visible_ = 0;
};

/// An H.264 access unit that looks like one to whoever looks inside: slices of a key picture, of one that others refer to, or of one
/// that nobody does.
inline std::vector<std::uint8_t> unit(bool key, bool referred_to = true, std::size_t size = 200)
{
    std::uint8_t header = key ? 0x65 : referred_to ? 0x41 : 0x01;
    std::vector<std::uint8_t> bytes = {0, 0, 0, 1, header, 0x88};
    bytes.resize(std::max(size, bytes.size()), 0xaa);
    return bytes;
}

inline spice_overlay_format format()
{
    spice_overlay_format format = SPICE_OVERLAY_FORMAT_INIT;
    format.width = 640;
    format.height = 360;
    return format;
}

} // namespace spice_overlay::test
