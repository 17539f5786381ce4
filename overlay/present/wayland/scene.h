// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "backdrop.h"
#include "desktop_surface.h"
#include "video_surface.h"

#include <functional>
#include <map>
#include <memory>

namespace spice_overlay {

/// The desktop surface and the video surfaces below and above it, changed together: hole, desktop pixels, positions and stacking
/// are one commit. One thread.
class Scene {
public:
    /// `parent` is the viewer's surface, borrowed; it must outlive the scene. `on_ready` is called when commit() may have
    /// become possible again.
    static Result<std::unique_ptr<Scene>> create(WaylandConnection &connection, wl_surface *parent,
                                                 std::function<void()> on_ready);

    /// `listener` outlives the scene. The surface appears once a plan with its stream is committed.
    VideoSurface &add(std::uint32_t stream, std::uint16_t rotation, VideoSurface::Listener &listener);
    [[nodiscard]] VideoSurface *find(std::uint32_t stream);

    /// From when on a picture can be committed without running ahead of the compositor, ns of CLOCK_MONOTONIC, unless `on_ready` comes
    /// first. Negative: not before that.
    [[nodiscard]] std::int64_t ready_at() const { return desktop_->ready_at(); }

    /// Shows the plan with the picture it belongs to. Streams that the plan does not name are gone afterwards.
    /// False: not possible yet, nothing has changed; try again at on_ready.
    bool commit(const Picture &picture, const GuestRegion &damage, const Plan &plan, const Fit &fit);

    /// Takes the videos off the screen until the next commit(). The desktop stays as it is, transparent where they were.
    void hide_videos();
    /// Shows nothing until the next commit().
    void clear();

    /// Where the desktop is fitted in, logical pixels of the window: black where it leaves something over, from the next commit() on.
    void set_space(const Box &space) { space_ = space; }

    /// Between the two, what is committed waits for the parent's next commit, to change together with the window's layout: so does
    /// whether all of the scene is below the parent's own pixels or above them.
    void begin_layout(bool below_parent);
    void end_layout() { desktop_->set_synchronised(false); }

    [[nodiscard]] const DesktopSurface &desktop() const { return *desktop_; }
    [[nodiscard]] const Plan &plan() const { return plan_; }

private:
    explicit Scene(WaylandConnection &connection) : connection_(connection) {}
    void restack(const Plan &plan);
    void cover_around(const Fit &fit);

    struct Video {
        std::unique_ptr<VideoSurface> surface;
        VideoPlan plan; ///< last committed
    };

    WaylandConnection &connection_;
    std::unique_ptr<DesktopSurface> desktop_;
    std::unique_ptr<Backdrop> backdrop_;
    std::map<std::uint32_t, Video> videos_;
    Plan plan_;
    Box space_; ///< logical pixels of the parent
    Box black_; ///< what of it the backdrop covers
    bool below_parent_ = false; ///< all of it
};

} // namespace spice_overlay
