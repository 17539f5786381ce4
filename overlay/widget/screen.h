// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/layout/desktop_sync.h"
#include "overlay/pace/statistics.h"
#include "overlay/present/wayland/scene.h"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

namespace spice_overlay {

/// The guest's display with its videos: keeps what is to be shown and brings it to the compositor while there is a window.
/// One thread. Times are ns of CLOCK_MONOTONIC.
class Screen {
public:
    explicit Screen(Statistics &statistics) : statistics_(statistics) {}

    /// The window's surface has come or is about to go. The connection and `parent` outlive the attachment.
    Status attach(WaylandConnection &connection, wl_surface *parent, std::function<void()> on_ready);
    void detach();
    [[nodiscard]] bool attached() const { return scene_ != nullptr; }

    /// SPICE's picture; null pixels: none. It stays valid until the next call.
    void set_picture(const Picture &picture, std::int64_t now);
    /// With no picture, the last one stays on show, without videos, until this says that there is no display either. Takes effect
    /// with the window's layout.
    void set_gone() { gone_ = true; }
    void damaged(const GuestRect &rect, std::int64_t now);
    /// The space for the display, logical pixels of the window, and how many pixels of the screen one of them has.
    /// Returns whether any is another than before.
    bool set_space(int x, int y, int width, int height, double output_scale);
    [[nodiscard]] Fit fit() const;
    /// Where the compositor has a picture; empty: nowhere.
    [[nodiscard]] Fit shown() const { return scene_ ? scene_->desktop().shown() : Fit(); }
    /// Whether the window draws over the display, which then goes below it. Takes effect with the window's layout.
    void set_covered(bool covered) { covered_ = covered; }

    void add_stream(std::uint32_t stream, std::uint16_t rotation, VideoSurface::Listener &listener);
    void remove_stream(std::uint32_t stream);
    void geometry(std::uint32_t stream, const wire::Geometry &geometry, std::int64_t now);
    void show(std::uint32_t stream, VideoFramePtr frame); ///< the frame is due
    /// Frames that were shown come no more, but for the one that is on the screen: it stays until the next, or until it is hidden.
    void flush(std::uint32_t stream);
    [[nodiscard]] bool has_frame(std::uint32_t stream) const { return newest(stream) != nullptr; }
    [[nodiscard]] VideoFramePtr newest(std::uint32_t stream) const; ///< null: none yet
    [[nodiscard]] Placement placement(std::uint32_t stream) const;

    /// Brings all that is ready to the compositor. Call after changes, at deadline(), and when on_ready was called.
    /// `at_once`: do not wait until the compositor has shown the last commit (the window's layout is changing).
    void update(std::int64_t now, bool at_once = false);
    [[nodiscard]] std::int64_t deadline() const; ///< negative: none

    /// Whether the desktop is to be somewhere else in the window or of another size, which comes with the window's layout and not before:
    /// the desktop's place changes with the window's commit, its size with its own.
    [[nodiscard]] bool awaits_layout() const;
    /// Around update() and the window's own commit, when set_space() has changed something or awaits_layout().
    void begin_layout();
    void end_layout();

    [[nodiscard]] std::uint64_t copied_pixels() const { return scene_ ? scene_->desktop().copied_pixels() : 0; }

private:
    struct Stream {
        std::uint16_t rotation = 0;
        VideoSurface::Listener *listener = nullptr;
        VideoFramePtr newest;  ///< to show again on a new window
        bool outdated = false; ///< that is of before flush(): once it is off the screen it does not come back
        std::optional<wire::Geometry> geometry; ///< to clip again to another picture
        std::deque<std::pair<wire::Geometry, std::int64_t>>
            fresh; ///< with when they came: sync_ does not know them yet
        std::size_t taken = 0; ///< those that sync_ has got since the last update
    };
    /// Of a stream, between two updates, damage between them or not: of a guest that sends more only the newest count.
    static constexpr std::size_t kMostFresh = 16;
    void take_fresh(std::uint32_t id, Stream &stream);
    bool drop_outdated();
    [[nodiscard]] Plan plan() const;
    [[nodiscard]] std::int64_t ready_at() const;

    Statistics &statistics_;
    DesktopSync sync_;
    Picture picture_;
    int space_[4] = {0, 0, 0, 0};
    double output_scale_ = 1;
    std::map<std::uint32_t, Stream> streams_;
    std::unique_ptr<Scene> scene_;
    bool covered_ = false;
    bool gone_ = false;
    GuestRegion damage_; ///< released, not yet committed
    bool dirty_ = true;  ///< something other than pixels has changed since the last commit
    bool waits_ = false; ///< the last update() has left something to do
};

} // namespace spice_overlay
