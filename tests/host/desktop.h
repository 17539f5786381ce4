// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "painter.h"
#include "pixel_rect.h"
#include "scene.h"
#include "visible_region.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

typedef struct _cairo_region cairo_region_t; // NOLINT(bugprone-reserved-identifier): cairo's name

namespace spice_overlay::host {

/// A video as the guest sees it at one moment.
struct VideoView {
    enum class State { kClosed, kPlaying, kPaused };
    int index = 0;
    State state = State::kClosed;
    int display = 0;               ///< 1 is another one, which nobody paints
    Rect target;                   ///< pixels of the display; may lie partly or wholly outside of it
    std::vector<Rect> visible;     ///< likewise, disjoint, inside the display; empty while closed
    std::uint32_t placeholder = 0; ///< 0xRRGGBB, flat over `visible`
    bool operator==(const VideoView &) const = default;
};

/// The guest's desktop: windows, their stacking, and the framebuffer. Changes only note what has to be painted again;
/// paint() does it, and does only that. One thread.
class Desktop {
public:
    explicit Desktop(const Scene &scene);
    ~Desktop();
    Desktop(const Desktop &) = delete;
    Desktop &operator=(const Desktop &) = delete;

    [[nodiscard]] int width() const { return display_.w; }
    [[nodiscard]] int height() const { return display_.h; }

    /// Windows are named by their index in Scene::windows; a box is as in SceneWindow::box.
    [[nodiscard]] Rect box(std::size_t window) const { return windows_[window].box; }
    void place(std::size_t window, const Rect &box);
    void raise(std::size_t window);
    void lower(std::size_t window);
    void show(std::size_t window, bool shown);
    void minimise(std::size_t window, bool minimised);
    void leave(std::size_t window, bool away); ///< to another display of the same size, and back
    void redraw(std::size_t window); ///< every pixel of the window's body changes
    void set_state(std::size_t window, VideoView::State state); ///< video windows only
    [[nodiscard]] VideoView::State state(std::size_t window) const { return windows_[window].state; }

    /// Another size of the display; windows stay where they are. All has to be painted again.
    void resize(int width, int height);

    /// Everything has to be painted again.
    void damage_all();
    [[nodiscard]] bool damaged() const;

    /// Paints what is damaged; returns it as disjoint rectangles inside the display.
    std::vector<Rect> paint();

    /// 0x00RRGGBB, width() * height(), as of the last paint().
    [[nodiscard]] const Pixels &pixels() const { return pixels_; }

    /// As of the last paint(); in the order of their windows in the scene.
    [[nodiscard]] const std::vector<VideoView> &videos() const { return videos_; }

private:
    struct Window {
        SceneWindow look;
        Rect box;
        bool shown = true;
        bool minimised = false;
        bool away = false; ///< on another display
        VideoView::State state = VideoView::State::kClosed;
        std::vector<Runs> rows;
        Pixels picture;

        [[nodiscard]] Rect outer() const;
        [[nodiscard]] bool drawn() const { return shown && !minimised && !away; }
    };

    void damage(const Rect &rect);
    void damage(const Window &window);
    void refresh(Window &window);
    void restack(std::size_t window, bool top);
    void paint_area(const Rect &area);
    void find_visible();
    void blank_outside(const VideoView &view, const Window &window);

    Rect display_;
    std::uint32_t wallpaper_seed_;
    Reserved reserved_;
    Pixels wallpaper_;
    Pixels pixels_;
    std::vector<Window> windows_;
    std::vector<std::size_t> stack_; ///< indices of windows_, bottom to top
    std::vector<VideoView> videos_;
    std::vector<bool> rounded_; ///< beside videos_: the region was rounded inward
    cairo_region_t *damage_;
};

} // namespace spice_overlay::host
