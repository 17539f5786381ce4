// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/decoder/decoder_process.h"
#include "glib_sources.h"
#include "overlay/pace/frame_queue.h"
#include "overlay/pace/statistics.h"
#include "overlay/present/wayland/video_buffer.h"

#include <deque>
#include <map>
#include <memory>
#include <string>

namespace spice_overlay {

/// One redirected stream on the client: its decoder process, which is started again when it dies, its frame buffers, and the frames that
/// wait for their time. One thread (the main loop's).
class VideoStream : private DecoderProcess::Listener {
public:
    /// What the stream needs of its owner. Calls may not destroy the stream.
    class Owner {
    public:
        virtual ~Owner() = default;
        virtual void units_done(std::uint32_t stream, std::uint32_t units) = 0;
        virtual void need_key(std::uint32_t stream) = 0;
        virtual void frames_decoded(std::uint32_t stream, std::int64_t decode_ns) = 0; ///< a frame is queued; see next_due()
        virtual void stream_failed(std::uint32_t stream, wire::Reason reason) = 0; ///< no use trying again: close it
        virtual std::int64_t due_time(std::int64_t pts) = 0; ///< guest ns to local CLOCK_MONOTONIC ns
    };

    struct Setup {
        std::string decoder_program;
        bool sandbox = true;
        FrameBudget *budget = nullptr;           ///< outlives the stream
        WaylandConnection *connection = nullptr; ///< outlives the stream
        Statistics *statistics = nullptr;        ///< outlives the stream
    };

    VideoStream(const Setup &setup, const wire::StreamOpen &open, Owner &owner);
    ~VideoStream() override;
    Status start();

    void decode(const wire::AccessUnit &unit, std::int64_t received);
    /// A new one drops all frames of the old that are not taken. Returns whether it is new.
    bool set_epoch(std::uint32_t epoch);

    [[nodiscard]] VideoFramePtr take_due(std::int64_t now, unsigned &late);
    [[nodiscard]] std::int64_t next_due() const { return queue_.next_due(); }
    [[nodiscard]] std::uint32_t id() const { return open_.stream; }
    [[nodiscard]] std::uint16_t rotation() const { return open_.rotation; }
    [[nodiscard]] const wire::StreamOpen &description() const { return open_; }
    [[nodiscard]] std::uint64_t frames() const { return frames_; } ///< decoded
    [[nodiscard]] bool by_hardware() const { return by_hardware_; } ///< decoded by a GPU
    [[nodiscard]] const std::string &why_not_hardware() const { return why_not_hardware_; }
    /// What a frame of this stream lies in: "udmabuf", "gpu".
    [[nodiscard]] const char *memory_of(const VideoBuffer &buffer) const;
    /// Why the GPU that decodes converts as well; empty: it does not.
    [[nodiscard]] const std::string &why_processed() const { return why_processed_; }
    [[nodiscard]] int decoder_pid() const { return decoder_ ? decoder_->pid() : -1; }

private:
    void buffer(FrameBuffer buffer) override;
    void frame(const DecodedFrame &frame) override;
    void path(const DecodePath &path) override;
    void ready(std::int64_t at) override;
    void consumed(std::uint32_t units) override;
    void failed(wire::Reason reason, const std::string &why) override;
    void attend();
    void restart();
    void start_anew();
    void settled(std::uint32_t slot, bool refused);
    void note_transport(const VideoBuffer &buffer);
    void enqueue(VideoFramePtr frame);

    Setup setup_;
    wire::StreamOpen open_;
    Owner &owner_;
    std::shared_ptr<DecoderProcess> decoder_; ///< frames refer to it weakly, to give their slots back
    std::unique_ptr<FdWatch> watch_;
    MainTimer timer_; ///< of attend()
    bool restart_due_ = false;
    bool watched_ = false;                                          ///< the timer is set for the decoder's silence
    std::map<std::uint32_t, std::shared_ptr<VideoBuffer>> buffers_; ///< by slot
    std::deque<VideoFramePtr>
        waiting_; ///< for the compositor's word on their memory; as many as the decoder lets go at most
    FrameQueue<VideoFramePtr> queue_;
    std::deque<std::pair<std::int64_t, std::int64_t>> received_; ///< pts and time of receipt of units in the decoder
    std::string why_not_hardware_;
    Allocator allocator_ = Allocator::kNone; ///< that the decoder was told of
    std::string why_processed_;
    bool by_hardware_ = false;      ///< a GPU decodes, or is being tried
    std::uint32_t outstanding_ = 0; ///< units in the decoder's ring
    std::uint32_t epoch_ = 0;
    std::uint64_t frames_ = 0;
    bool restarted_ = false;          ///< the decoder is not the first
    std::int64_t resumes_ = 0;        ///< of the next frame that is due: VideoFrame::resumes
    std::deque<std::int64_t> deaths_; ///< ns of CLOCK_MONOTONIC, of the last minute
};

} // namespace spice_overlay
