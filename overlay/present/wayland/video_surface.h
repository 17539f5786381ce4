// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"
#include "overlay/layout/plan.h"
#include "video_buffer.h"

#include <array>
#include <vector>

struct wl_callback;
struct wl_subsurface;
struct wl_surface;
struct wp_content_type_v1;
struct wp_presentation_feedback;
struct wp_viewport;

namespace spice_overlay {

/// One stream's picture, a subsurface of the desktop surface (V in docs/architecture.md). Frames go out at their own rate, the latest wins, never
/// more than one ahead of the compositor. Takes no input. One thread.
class VideoSurface {
public:
    /// To measure one frame is three events more, which would cost as much as the rest of showing it.
    static constexpr unsigned kMeasureEvery = 8;

    /// How a frame got to the screen.
    struct Presentation {
        std::int64_t at = 0;
        bool vsync = false;         ///< without tearing
        bool hw_clock = false;      ///< the display's own clock gave the time
        bool hw_completion = false; ///< the display said that it was done
        bool zero_copy = false;     ///< the display read the decoder's memory
    };

    /// Calls must not destroy the surface. Times are ns of CLOCK_MONOTONIC.
    class Listener {
    public:
        virtual ~Listener() = default;
        virtual void frame_committed(const VideoFrame &frame, std::int64_t at) = 0;
        /// The compositor has drawn it. Comes once at most for each frame that was committed.
        virtual void frame_shown(const VideoFrame &frame) = 0;
        /// When it was on the screen: said of every kMeasureEvery-th frame, and only with wp_presentation.
        virtual void frame_presented(const VideoFrame &frame, const Presentation &how) = 0;
        /// A newer one came before it could be shown; `hidden`: since no part of the video is visible.
        virtual void frame_replaced(const VideoFrame &frame, bool hidden) = 0;
    };

    /// `rotation` in degrees clockwise, as in wire::StreamOpen. `listener` outlives the surface.
    VideoSurface(WaylandConnection &connection, wl_surface *desktop, std::uint16_t rotation, Listener &listener);
    ~VideoSurface();

    /// The frame is due: shown now, or as soon as the compositor has shown the one before. While hidden it is only kept.
    void show(VideoFramePtr frame);
    [[nodiscard]] bool has_frame() const { return current_ || queued_; }
    /// Of what was given to show(), nothing comes to the screen any more that is not there already. Returns what is; null: nothing.
    VideoFramePtr forget_unshown();

    /// From now on every frame is measured, if the one before has been.
    void measure_all() { measure_every_ = 1; }

    /// Sets position, size, source and whether it is mapped, to take effect with the desktop's next commit. Stacking is the
    /// scene's. finish() follows after that commit.
    void arrange(const VideoPlan &plan);
    void finish();

    [[nodiscard]] wl_subsurface *subsurface() const { return subsurface_; }
    [[nodiscard]] wl_surface *surface() const { return surface_; }

private:
    friend struct VideoSurfaceEvents;
    static constexpr std::array<double, 4> kWhole = {-1, -1, -1, -1}; ///< as wp_viewport says it: no source
    void attach_buffer(const VideoFramePtr &frame);
    void attach(const VideoFramePtr &frame);
    void set_source(const VideoFrame &frame);
    void send_queued();
    void drop_feedback();
    void set_current(VideoFramePtr frame);

    WaylandConnection &connection_;
    Listener &listener_;
    std::uint16_t rotation_;
    wl_surface *surface_ = nullptr;
    wl_subsurface *subsurface_ = nullptr;
    wp_viewport *viewport_ = nullptr;
    wp_content_type_v1 *content_type_ = nullptr;     ///< where the compositor has them
    std::unique_ptr<ColourManager::Surface> colour_; ///< where the compositor can be told
    std::unique_ptr<ExplicitSync::Surface> sync_; ///< where the compositor has it
    wl_callback *frame_callback_ = nullptr;
    VideoFramePtr current_;             ///< on the surface (or would be, while hidden)
    VideoFramePtr queued_;              ///< waits for the compositor
    VideoFramePtr retired_;             ///< what current_ has taken the place of, until the compositor has drawn that
    std::vector<VideoFramePtr> active_; ///< the compositor may read these
    struct wp_presentation_feedback *feedback_ = nullptr;
    VideoFramePtr measured_; ///< what feedback_ is about
    unsigned frames_ = 0;    ///< committed
    unsigned measure_every_ = kMeasureEvery;
    VideoPlan plan_;
    bool mapped_ = false;
    bool again_ = false;                    ///< current_ was attached more than once
    std::array<double, 4> source_ = kWhole; ///< last sent to the viewport, buffer pixels
};

} // namespace spice_overlay
