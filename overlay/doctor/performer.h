// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/pace/frame_queue.h"
#include "theatre.h"

#include <deque>
#include <map>

namespace spice_overlay::doctor {

/// Plays one clip on one video surface, as overlay/widget plays streams: decoder process, frame buffers, frames at their time. One
/// thread.
class Performer : public VideoSurface::Listener, private DecoderProcess::Listener {
public:
    /// Both outlive it.
    Performer(WaylandConnection &connection, const Theatre::Programme &programme)
        : connection_(connection), programme_(programme)
    {
    }
    void start(VideoSurface &video);

    [[nodiscard]] bool finished() const { return finished_; }
    void work(std::int64_t now); ///< feeds the decoder, shows what is due
    void dispatch();             ///< hears what the decoder has to say
    [[nodiscard]] int fd() const { return decoder_ ? decoder_->fd() : -1; }
    [[nodiscard]] std::int64_t next_due() const; ///< ns of CLOCK_MONOTONIC; negative: none
    void give_up(const std::string &why);
    [[nodiscard]] Performance result() const;

private:
    void frame_committed(const VideoFrame &, std::int64_t) override {}
    void frame_shown(const VideoFrame &frame) override;
    void frame_presented(const VideoFrame &frame, const VideoSurface::Presentation &how) override;
    void frame_replaced(const VideoFrame &, bool) override { ++performance_.late; }

    void buffer(FrameBuffer buffer) override;
    void frame(const DecodedFrame &frame) override;
    void path(const DecodePath &path) override;
    void consumed(std::uint32_t) override {}
    void failed(wire::Reason reason, const std::string &why) override;

    void settle();
    void enqueue(VideoFramePtr frame);

    WaylandConnection &connection_;
    const Theatre::Programme &programme_;
    VideoSurface *video_ = nullptr;
    std::shared_ptr<DecoderProcess> decoder_;
    std::map<std::uint32_t, std::shared_ptr<VideoBuffer>> buffers_; ///< by slot
    std::deque<VideoFramePtr> waiting_;                             ///< for the compositor's word on their memory
    FrameQueue<VideoFramePtr> queue_;
    std::vector<std::int64_t> decode_times_; ///< ns
    std::size_t sent_ = 0;                   ///< units
    std::int64_t start_ = 0;                 ///< when the first frame is due
    std::int64_t first_shown_ = 0;           ///< ns of CLOCK_MONOTONIC
    std::int64_t last_shown_ = 0;
    std::int64_t drawn_ = 0; ///< when the last one was known to be drawn; 0: not yet
    DecodePath path_;
    Performance performance_;
    bool finished_ = false;
};

} // namespace spice_overlay::doctor
