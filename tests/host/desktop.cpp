// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desktop.h"

#include <cairo.h>

#include <algorithm>
#include <cstdio>

namespace spice_overlay::host {

Rect Desktop::Window::outer() const
{
    if (look.video == 0)
        return box;
    return {box.x - kFrame, box.y - kFrame - kTitle, box.w + 2 * kFrame, box.h + 2 * kFrame + kTitle};
}

Desktop::Desktop(const Scene &scene)
    : display_{0, 0, scene.width, scene.height}, wallpaper_seed_(scene.wallpaper_seed),
      pixels_(static_cast<std::size_t>(scene.width) * static_cast<std::size_t>(scene.height)),
      damage_(cairo_region_create())
{
    for (const SceneWindow &look : scene.windows)
        if (look.video != 0)
            reserved_.insert(reserved_.end(), {look.placeholder, look.colour});
    wallpaper_ = paint_wallpaper(scene.width, scene.height, scene.wallpaper_seed, reserved_);
    for (const SceneWindow &look : scene.windows) {
        stack_.push_back(windows_.size());
        windows_.push_back({.look = look, .box = look.box, .shown = !look.hidden});
        refresh(windows_.back());
    }
    damage_all();
}

Desktop::~Desktop()
{
    cairo_region_destroy(damage_);
}

void Desktop::refresh(Window &window)
{
    Rect outer = window.outer();
    window.rows = rows_of(window.look.shape, outer.w, outer.h);
    window.picture = paint_window(window.look, outer.w, outer.h, reserved_);
}

void Desktop::damage(const Rect &rect)
{
    Rect inside = intersect(rect, display_);
    cairo_rectangle_int_t area{inside.x, inside.y, inside.w, inside.h};
    if (!inside.empty())
        cairo_region_union_rectangle(damage_, &area);
}

void Desktop::damage(const Window &window)
{
    if (window.drawn())
        damage(window.outer());
}

void Desktop::resize(int width, int height)
{
    display_ = {0, 0, width, height};
    pixels_.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 0);
    wallpaper_ = paint_wallpaper(width, height, wallpaper_seed_, reserved_);
    cairo_region_destroy(damage_);
    damage_ = cairo_region_create();
    damage_all();
}

void Desktop::damage_all()
{
    damage(display_);
}

bool Desktop::damaged() const
{
    return !cairo_region_is_empty(damage_);
}

void Desktop::place(std::size_t window, const Rect &box)
{
    Window &item = windows_[window];
    if (item.box == box)
        return;
    damage(item);
    bool resized = item.box.w != box.w || item.box.h != box.h;
    item.box = box;
    if (resized)
        refresh(item);
    damage(item);
}

void Desktop::restack(std::size_t window, bool top)
{
    stack_.erase(std::find(stack_.begin(), stack_.end(), window));
    stack_.insert(top ? stack_.end() : stack_.begin(), window);
    damage(windows_[window]);
}

void Desktop::raise(std::size_t window)
{
    restack(window, true);
}

void Desktop::lower(std::size_t window)
{
    restack(window, false);
}

void Desktop::show(std::size_t window, bool shown)
{
    damage(windows_[window]);
    windows_[window].shown = shown;
    damage(windows_[window]);
}

void Desktop::minimise(std::size_t window, bool minimised)
{
    damage(windows_[window]);
    windows_[window].minimised = minimised;
    damage(windows_[window]);
}

void Desktop::leave(std::size_t window, bool away)
{
    damage(windows_[window]);
    windows_[window].away = away;
    damage(windows_[window]);
}

void Desktop::redraw(std::size_t window)
{
    Window &item = windows_[window];
    Rect outer = item.outer();
    int row = outer.w;
    int fixed = outer.h > 2 * kTitle ? kTitle : 0; // the title bar stays, the body scrolls round
    if (outer.h - fixed > 3)
        std::rotate(item.picture.begin() + static_cast<std::ptrdiff_t>(fixed) * row,
                    item.picture.begin() + static_cast<std::ptrdiff_t>(fixed + 3) * row, item.picture.end());
    if (item.drawn())
        damage({outer.x, outer.y + fixed, outer.w, outer.h - fixed});
}

void Desktop::set_state(std::size_t window, VideoView::State state)
{
    Window &item = windows_[window];
    bool was_open = item.state != VideoView::State::kClosed;
    item.state = state;
    if (was_open != (state != VideoView::State::kClosed) && item.drawn())
        damage(item.box);
}

void Desktop::find_visible()
{
    std::vector<Occluder> occluders;
    std::vector<std::size_t> position(windows_.size(), 0);
    for (std::size_t index : stack_) {
        if (!windows_[index].drawn())
            continue;
        position[index] = occluders.size();
        occluders.push_back({windows_[index].outer(), &windows_[index].rows});
    }
    std::vector<bool> was_rounded = std::move(rounded_);
    videos_.clear();
    rounded_.clear();
    for (std::size_t index = 0; index < windows_.size(); ++index) {
        const Window &item = windows_[index];
        if (item.look.video == 0)
            continue;
        VideoView view{.index = item.look.video,
                       .state = item.state,
                       .display = item.away ? 1 : 0,
                       .target = item.box,
                       .placeholder = item.look.placeholder};
        rounded_.push_back(false);
        const bool open = item.shown && !item.minimised && item.state != VideoView::State::kClosed;
        if (open && !item.away) {
            VisibleRegion region = visible_region(item.box, display_, occluders, position[index]);
            view.visible = std::move(region.rects);
            rounded_.back() = !region.exact;
        } else if (const Rect all = intersect(item.box, display_); open && item.away && !all.empty()) {
            view.visible = {all}; // nothing covers it there
        }
        bool before = videos_.size() < was_rounded.size() && was_rounded[videos_.size()];
        if (rounded_.back() && !before)
            std::fprintf(stderr, "spice-overlay-host: video %d shows in more than 256 rectangles: rounded inward\n",
                         view.index);
        if (before || rounded_.back())
            damage(item.box); // what falls out of a rounded region is blanked, and that may be anywhere
        videos_.push_back(std::move(view));
    }
}

void Desktop::paint_area(const Rect &area)
{
    auto stride = static_cast<std::size_t>(display_.w);
    for (int y = area.y; y < area.bottom(); ++y) {
        std::size_t line = static_cast<std::size_t>(y) * stride;
        std::copy_n(wallpaper_.begin() + static_cast<std::ptrdiff_t>(line) + area.x, area.w,
                    pixels_.begin() + static_cast<std::ptrdiff_t>(line) + area.x);
        for (std::size_t index : stack_) {
            const Window &item = windows_[index];
            Rect outer = item.outer();
            if (!item.drawn() || y < outer.y || y >= outer.bottom())
                continue;
            bool in_video = item.state != VideoView::State::kClosed && y >= item.box.y && y < item.box.bottom();
            for (auto [from, to] : item.rows[static_cast<std::size_t>(y - outer.y)]) {
                int first = std::max(from + outer.x, area.x);
                int last = std::min(to + outer.x, area.right());
                if (first >= last)
                    continue;
                std::uint32_t *out = pixels_.data() + line;
                const std::uint32_t *in = item.picture.data() + static_cast<std::ptrdiff_t>(y - outer.y) * outer.w;
                std::copy(in + (first - outer.x), in + (last - outer.x), out + first);
                if (in_video && std::max(first, item.box.x) < std::min(last, item.box.right()))
                    std::fill(out + std::max(first, item.box.x), out + std::min(last, item.box.right()),
                              item.look.placeholder);
            }
        }
    }
}

// Placeholder pixels that a region rounded inward leaves out must not look like a video.
void Desktop::blank_outside(const VideoView &view, const Window &window)
{
    Rect inside = intersect(window.box, display_);
    std::vector<bool> kept(static_cast<std::size_t>(inside.w) * static_cast<std::size_t>(inside.h));
    auto at = [&](int x, int y) {
        return static_cast<std::size_t>(y - inside.y) * static_cast<std::size_t>(inside.w)
               + static_cast<std::size_t>(x - inside.x);
    };
    for (const Rect &rect : view.visible)
        for (int y = rect.y; y < rect.bottom(); ++y)
            for (int x = rect.x; x < rect.right(); ++x)
                kept[at(x, y)] = true;
    for (int y = inside.y; y < inside.bottom(); ++y)
        for (int x = inside.x; x < inside.right(); ++x) {
            std::uint32_t &pixel = pixels_[static_cast<std::size_t>(y) * display_.w + x];
            if (pixel == view.placeholder && !kept[at(x, y)])
                pixel = 0x202428;
        }
}

std::vector<Rect> Desktop::paint()
{
    find_visible();
    std::vector<Rect> areas;
    for (int i = 0; i < cairo_region_num_rectangles(damage_); ++i) {
        cairo_rectangle_int_t area;
        cairo_region_get_rectangle(damage_, i, &area);
        areas.push_back({area.x, area.y, area.width, area.height});
        paint_area(areas.back());
    }
    std::size_t next = 0;
    for (const Window &item : windows_)
        if (item.look.video != 0) {
            if (rounded_[next])
                blank_outside(videos_[next], item);
            ++next;
        }
    cairo_region_destroy(damage_);
    damage_ = cairo_region_create();
    return areas;
}

} // namespace spice_overlay::host
