// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"
#include "dmabuf/decoder/decoder_process.h"
#include "linux_dmabuf.h"

#include <functional>
#include <string>

struct wl_buffer;

namespace spice_overlay {

/// One slot's frame memory as the compositor knows it: as a dmabuf where it takes that, else by wl_shm. The memory is never mapped
/// here: the descriptors go to the compositor and are closed. One thread.
class VideoBuffer {
public:
    /// `frame` has been validated (FrameBuffer). Fails when the compositor cannot take its format. Whether it takes a dmabuf it says
    /// later: the buffer is pending() until then, and `on_settled` is called, once. A dmabuf that it refuses is given to it by
    /// wl_shm, if it can be; `refused`: that has become the way of its format just now (Transport::refuse).
    static Result<std::shared_ptr<VideoBuffer>> create(WaylandConnection &connection, FrameBuffer frame,
                                                       std::function<void(bool refused)> on_settled);
    ~VideoBuffer();

    [[nodiscard]] bool pending() const { return import_ != nullptr; }
    [[nodiscard]] bool ready() const { return buffer_ != nullptr; } ///< neither: it will never be
    [[nodiscard]] wl_buffer *get() const { return buffer_; }        ///< when ready()
    [[nodiscard]] std::string transport() const;                    ///< "linux-dmabuf/NV12"; when ready()
    [[nodiscard]] bool is_dmabuf() const { return is_dmabuf_; }     ///< when ready()
    /// Where the compositor tells of its release on a timeline; null: by message. When ready().
    [[nodiscard]] ExplicitSync::Release *release_timeline();
    [[nodiscard]] int width() const { return width_; }              ///< buffer pixels
    [[nodiscard]] int height() const { return height_; }
    [[nodiscard]] std::uint32_t fourcc() const { return fourcc_; }

    /// Called, if set, when the compositor reads the buffer no more.
    std::function<void()> on_release;

private:
    friend struct VideoBufferEvents;
    VideoBuffer(WaylandConnection &connection, FrameBuffer frame);
    Status share();
    void answered(wl_buffer *buffer, const std::function<void(bool)> &on_settled);
    void use(wl_buffer *buffer);
    void released();

    WaylandConnection &connection_;
    FrameBuffer frame_; ///< until ready()
    std::unique_ptr<DmabufImport> import_;
    wl_buffer *buffer_ = nullptr;
    bool is_dmabuf_ = false;
    std::unique_ptr<ExplicitSync::Release> release_;
    int width_ = 0;
    int height_ = 0;
    std::uint32_t fourcc_ = 0;
};

/// A decoded frame on its way to the screen. Whoever may still show it, or have it read by the compositor, holds a reference;
/// the last one gone gives the slot back to the decoder.
struct VideoFrame {
    VideoFrame(std::shared_ptr<VideoBuffer> b, const DecodedFrame &d, std::function<void()> r)
        : buffer(std::move(b)), decoded(d), release(std::move(r))
    {
    }
    ~VideoFrame() { release(); }
    VideoFrame(const VideoFrame &) = delete;
    VideoFrame &operator=(const VideoFrame &) = delete;

    /// Whether its picture lies in its buffer as the other's does.
    [[nodiscard]] bool looks_like(const VideoFrame &other) const
    {
        return decoded.crop == other.decoded.crop && buffer->width() == other.buffer->width()
               && buffer->height() == other.buffer->height() && buffer->fourcc() == other.buffer->fourcc();
    }

    std::shared_ptr<VideoBuffer> buffer;
    DecodedFrame decoded;
    std::function<void()> release;
    std::int64_t received = 0; ///< ns of CLOCK_MONOTONIC: when its access unit was complete on the port
    std::int64_t due = 0;      ///< ns of CLOCK_MONOTONIC
    std::int64_t ready = 0;    ///< ns of CLOCK_MONOTONIC: from when on it was both decoded and due
    /// ns of CLOCK_MONOTONIC: when the decoder was ready, of the first frame on the screen after it was started again; else 0
    std::int64_t resumes = 0;
};
using VideoFramePtr = std::shared_ptr<VideoFrame>;

} // namespace spice_overlay
