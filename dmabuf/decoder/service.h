// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "convert.h"
#include "frame_pool.h"
#include "ipc.h"
#include "ladder.h"

#include <deque>
#include <optional>
#include <vector>

namespace spice_overlay {

/// The decoder's side of the conversation that ipc.h describes. Blocks in the socket and nowhere else: nothing wakes it
/// but the viewer.
class Service {
public:
    /// Takes over kSocketFd, kUnitsFd and, if they are there, kDeviceFd and kRenderNodeFd.
    explicit Service(bool sandboxed);

    /// Serves until the viewer hangs up or the stream cannot go on. Returns the exit status.
    int run();

private:
    struct Unit {
        std::uint64_t offset = 0;
        std::uint32_t size = 0; ///< 0: no unit, but the place where to drain
        std::uint32_t epoch = 0;
        std::int64_t pts = 0;
        bool key = false;
    };

    [[nodiscard]] std::optional<Failure> open();
    [[nodiscard]] std::optional<Failure> start_codec(std::span<const std::uint8_t> extradata);
    [[nodiscard]] bool receive(bool wait); ///< false: the viewer is gone, or speaks another language
    [[nodiscard]] std::optional<Failure> decode_next();
    void drop_stale_units();

    void show(AVFrame &frame, FramePool::Slot *surface);
    [[nodiscard]] FramePool::Slot *place(AVFrame &frame, wire::Rect &crop);
    [[nodiscard]] FramePool::Slot *copy(const AVFrame &frame, std::uint32_t fourcc);
    [[nodiscard]] FramePool::Slot *convert(AVFrame &frame, wire::Rect &crop);

    void send_frame(FramePool::Slot &slot, const wire::Rect &crop, std::int64_t pts, YuvColour colour);
    void send_consumed();
    void send_ready();
    void send_path(const Ladder::Path &path);
    int send_failed(const Failure &failure);
    template <typename T>
    void send(const T &message, std::span<const int> fds = {});
    void send_buffer(const FramePool::Slot &slot, const FramePool::Announcement &announcement);

    const bool sandboxed_;
    UniqueFd socket_;
    UniqueFd units_fd_;
    UniqueFd device_;
    UniqueFd render_node_;
    Mapping memory_;
    FramePool pool_;
    RgbConverter converter_;
    ipc::Open open_;
    std::optional<Ladder> ladder_;    ///< after the pool, which its threads use
    std::deque<Unit> units_;          ///< not decoded yet
    std::uint32_t epoch_ = 0;
    std::uint32_t consumed_ = 0; ///< units that the viewer has not been told of
    std::int64_t last_pts_ = 0;
    std::int64_t clock_ = 0; ///< when work on the next picture began, ns of CLOCK_MONOTONIC
    std::optional<Failure> failure_;
    bool hung_up_ = false;
};

} // namespace spice_overlay
