// SPDX-License-Identifier: LGPL-2.1-or-later
#include "window_tracker.h"

#include "framebuffer.h"
#include "picture.h"
#include "screen_damage.h"
#include "window_tree.h"

#include <algorithm>
#include <map>

namespace spice_overlay::guest {

namespace {

/// For a compositing manager to draw what the window tree already says; after that the framebuffer is read as it is.
constexpr std::int64_t kDrawingPatience = 50'000'000; // ns
constexpr std::int64_t kLongestSearchInterval = 1'000'000'000;
constexpr int kMostRounds = 8;         ///< the tree is read again when it changed meanwhile
constexpr int kSmallestFoundSide = 16; ///< pixels of the key colour that make a picture
constexpr std::size_t kMostPiecesLookedAt = 8;

struct Watch {
    Target target;
    xcb_window_t window = XCB_WINDOW_NONE; ///< NONE: to be found
    bool tree_changed = true;
    bool drawn = true; ///< the framebuffer may show something else than `colour`
    std::optional<WindowView> view;
    Region<WindowSpace> colour; ///< where the window shows the key colour, as read last
    std::uint32_t shade = 0;
    PictureFinder picture;
    std::int64_t search_interval = WindowTracker::kSearchInterval;
    std::int64_t next_search = 0;
    bool search = true; ///< something was drawn since the last search
    Placement told;
    std::uint64_t generation = 0;

    [[nodiscard]] bool keyed() const { return target.key_colour.has_value(); }
    [[nodiscard]] bool finds() const { return target.window == XCB_WINDOW_NONE; }
    /// Whether the colour is nowhere where it was: the player may have gone to another window.
    [[nodiscard]] bool astray() const { return finds() && (!view || view->visible.empty() || colour.empty()); }
};

std::int64_t earlier(std::int64_t a, std::int64_t b)
{
    return a < 0 ? b : b < 0 ? a : std::min(a, b);
}

} // namespace

class WindowTracker::Impl {
public:
    Impl(std::unique_ptr<XDisplay> display, Listener listener)
        : display_(std::move(display)),
          tree_(*display_),
          framebuffer_(*display_),
          damage_(*display_),
          listener_(std::move(listener))
    {
    }

    Status watch(std::uint32_t id, Target target);
    void unwatch(std::uint32_t id);
    [[nodiscard]] int fd() const { return xcb_get_file_descriptor(display_->xcb()); }
    [[nodiscard]] std::int64_t deadline() const;
    Status dispatch(std::int64_t now);

    Counters counters;

private:
    using Told = std::pair<std::uint32_t, std::uint64_t>;

    void handle(const xcb_generic_event_t &event);
    void screen_changed();
    [[nodiscard]] bool tree_changed() const;
    void take_damage();
    void update(std::int64_t now);
    void read_tree(Watch &watch);
    void read_colour(Watch &watch);
    void search(Watch &watch, std::int64_t now);
    [[nodiscard]] std::optional<WindowRect> picture_of(Watch &watch) const;
    [[nodiscard]] Placement placement_of(Watch &watch) const;
    void tell(std::uint32_t id, std::uint64_t generation, const Placement &placement);
    void keep_events();
    /// Whether this watch waits until a compositing manager has drawn what has changed.
    [[nodiscard]] bool waits_for_drawing(const Watch &watch) const { return watch.keyed() && settle_until_ >= 0; }
    [[nodiscard]] bool any_keyed() const
    {
        return std::ranges::any_of(watches_, [](const auto &w) { return w.second.keyed(); });
    }

    std::unique_ptr<XDisplay> display_;
    WindowTree tree_;
    Framebuffer framebuffer_;
    ScreenDamage damage_;
    Listener listener_;
    std::map<std::uint32_t, Watch> watches_;
    std::uint64_t generations_ = 0;
    bool damaged_ = false; ///< there is damage to take
    std::int64_t next_scan_ = 0;
    bool changed_ = false;           ///< the tree, since the compositing manager drew last
    std::int64_t settle_until_ = -1; ///< negative: nothing is waited for
    bool lost_ = false;
};

Status WindowTracker::Impl::watch(std::uint32_t id, Target target)
{
    if (target.window == XCB_WINDOW_NONE && !target.key_colour)
        return Error{"no window to follow: give an X window, or a key colour to find it by"};
    if (target.key_colour && !framebuffer_.readable())
        return Error{"the X display '" + display_->name()
                     + "' does not have 24-bit colours, so no key colour can be read; let the player name its window"};
    if (target.key_colour && !display_->has_damage())
        return Error{
            "the X display '" + display_->name()
            + "' lacks the DAMAGE extension, so no key colour can be followed; let the player name its window"};
    if (target.processes.size() > kMostProcesses)
        target.processes.resize(kMostProcesses);
    Watch &watch = watches_[id];
    const Placement told = watch.told;
    watch = Watch{.target = std::move(target)};
    watch.told = told;
    watch.window = watch.target.window;
    watch.shade = watch.target.key_colour.value_or(0);
    watch.generation = ++generations_;
    return Success{};
}

void WindowTracker::Impl::unwatch(std::uint32_t id)
{
    watches_.erase(id);
    damage_.listen(any_keyed());
    keep_events();
    xcb_flush(display_->xcb());
}

std::int64_t WindowTracker::Impl::deadline() const
{
    if (lost_)
        return -1;
    std::int64_t next = settle_until_;
    if (damaged_)
        next = earlier(next, next_scan_);
    for (const auto &[id, w] : watches_) {
        if (w.tree_changed && !waits_for_drawing(w))
            next = 0;
        if (w.keyed() && w.drawn && w.view && !waits_for_drawing(w))
            next = earlier(next, next_scan_);
        if (w.astray() && w.search)
            next = earlier(next, w.next_search);
    }
    return next;
}

Status WindowTracker::Impl::dispatch(std::int64_t now)
{
    if (!lost_) {
        damage_.listen(any_keyed());
        while (Reply<xcb_generic_event_t> event{xcb_poll_for_event(display_->xcb())})
            handle(*event);
        if (settle_until_ < 0 && changed_ && display_->composited() && any_keyed())
            settle_until_ = now + kDrawingPatience;
        changed_ = false;
        // A reading that was overtaken by a change may mix before and after: it is done again.
        for (int round = 0; round < kMostRounds; ++round) {
            update(now);
            while (Reply<xcb_generic_event_t> event{xcb_poll_for_queued_event(display_->xcb())})
                handle(*event);
            if (!tree_changed())
                break;
        }
        for (auto &[id, w] : watches_)
            if (w.finds() && !w.view && !w.tree_changed && w.window != XCB_WINDOW_NONE) {
                w.window = XCB_WINDOW_NONE; // gone: found again where the colour is next
                w.search = true;
            }
        keep_events();
        xcb_flush(display_->xcb());
        lost_ = display_->lost();
    }
    std::vector<std::pair<Told, Placement>> news;
    for (auto &[id, w] : watches_)
        if (!waits_for_drawing(w) || lost_)
            news.push_back({{id, w.generation}, lost_ ? Placement{} : placement_of(w)});
    for (const auto &[to, placement] : news)
        tell(to.first, to.second, placement);
    if (lost_)
        return Error{"the connection to the X display '" + display_->name()
                     + "' is lost; windows cannot be followed any more"};
    return Success{};
}

void WindowTracker::Impl::tell(std::uint32_t id, std::uint64_t generation, const Placement &placement)
{
    auto found = watches_.find(id); // a listener may have changed what is watched
    if (found == watches_.end() || found->second.generation != generation || found->second.told == placement)
        return;
    found->second.told = placement;
    listener_(id, placement);
}

void WindowTracker::Impl::handle(const xcb_generic_event_t &event)
{
    const int type = event.response_type & 0x7f;
    if (display_->handle(event)) {
        screen_changed();
    } else if (damage_.handle(event)) {
        damaged_ = true;
    } else if (tree_.concerns(event)) {
        screen_changed();
        if (type == XCB_MAP_NOTIFY)
            for (auto &[id, w] : watches_)
                w.search_interval = kSearchInterval;
    } else if (type == XCB_CREATE_NOTIFY) {
        for (auto &[id, w] : watches_)
            w.tree_changed = w.tree_changed || !w.view;
    }
}

void WindowTracker::Impl::screen_changed()
{
    changed_ = true;
    for (auto &[id, w] : watches_) {
        w.tree_changed = true;
        w.drawn = true;
    }
    if (damaged_ && display_->composited() && any_keyed()) {
        // That was drawn before: what the change makes the compositing manager draw is to be told anew.
        take_damage();
        for (auto &[id, w] : watches_)
            w.search = true;
    }
}

bool WindowTracker::Impl::tree_changed() const
{
    return std::ranges::any_of(watches_,
                               [&](const auto &w) { return w.second.tree_changed && !waits_for_drawing(w.second); });
}

void WindowTracker::Impl::take_damage()
{
    damaged_ = false;
    const ScreenRegion drawn = damage_.take();
    for (auto &[id, w] : watches_) {
        w.search = w.search || !drawn.empty();
        if (w.view && !(drawn & w.view->visible).empty())
            w.drawn = true;
    }
}

void WindowTracker::Impl::update(std::int64_t now)
{
    const bool may_scan = now >= next_scan_;
    if (damaged_ && may_scan) {
        take_damage();
        next_scan_ = now + kScanInterval;
        settle_until_ = -1;
    }
    if (now >= settle_until_)
        settle_until_ = -1;
    for (auto &[id, w] : watches_) {
        if (waits_for_drawing(w))
            continue;
        if (w.tree_changed)
            read_tree(w);
        if (!w.keyed())
            continue;
        if (w.astray() && w.search && now >= w.next_search)
            search(w, now);
        if (w.drawn && w.view && may_scan) {
            read_colour(w);
            next_scan_ = now + kScanInterval;
        }
    }
}

void WindowTracker::Impl::read_tree(Watch &w)
{
    w.tree_changed = false;
    if (w.window == XCB_WINDOW_NONE)
        return;
    counters.walks++;
    w.view = tree_.read(w.window, w.keyed() ? Judge::kPixels : Judge::kTree);
}

void WindowTracker::Impl::read_colour(Watch &w)
{
    w.drawn = false;
    ScreenRegion wanted = w.view->visible;
    const ScreenRect &window = w.view->window;
    if (!w.finds()) {
        auto picture = picture_of(w);
        wanted &= picture->moved_to<ScreenSpace>(window.x1, window.y1);
    }
    w.colour = {};
    if (wanted.empty())
        return;
    counters.scans++;
    auto seen = framebuffer_.find(*w.target.key_colour, kColourTolerance, wanted.bounds());
    if (!seen || seen->region.empty())
        return;
    w.colour = (seen->region & wanted).moved_to<WindowSpace>(-window.x1, -window.y1);
    w.shade = seen->colour;
}

void WindowTracker::Impl::search(Watch &w, std::int64_t now)
{
    w.search = false;
    w.next_search = now + w.search_interval;
    w.search_interval = std::min(2 * w.search_interval, kLongestSearchInterval);
    counters.searches++;
    auto seen = framebuffer_.find(*w.target.key_colour, kColourTolerance, display_->bounds());
    if (!seen)
        return;
    std::vector<ScreenRect> pieces;
    for (std::size_t i = 0; i < seen->region.boxes().size(); ++i)
        if (seen->region.rect(i).width() >= kSmallestFoundSide && seen->region.rect(i).height() >= kSmallestFoundSide)
            pieces.push_back(seen->region.rect(i));
    std::ranges::sort(pieces, std::ranges::greater{}, &ScreenRect::area);
    xcb_window_t best = XCB_WINDOW_NONE;
    for (std::size_t i = 0; i < std::min(pieces.size(), kMostPiecesLookedAt); ++i) {
        const ScreenRect &p = pieces[i];
        const xcb_window_t window = tree_.window_at(p.x1 + p.width() / 2, p.y1 + p.height() / 2);
        if (window == display_->root() || window == best)
            continue;
        if (tree_.made_by(window, w.target.processes)) {
            best = window;
            break;
        }
        if (best == XCB_WINDOW_NONE)
            best = window;
    }
    if (best == XCB_WINDOW_NONE || best == w.window)
        return;
    w.window = best;
    w.picture = {};
    w.search_interval = kSearchInterval;
    w.drawn = true;
    read_tree(w);
    if (w.view)
        read_colour(w);
}

/// Of a known window always something.
std::optional<WindowRect> WindowTracker::Impl::picture_of(Watch &w) const
{
    const ScreenRect &window = w.view->window;
    const WindowRect whole = WindowRect::from_size(0, 0, window.width(), window.height());
    const Target &t = w.target;
    if (!w.finds())
        return aspect_fit(t.area.empty() ? whole : t.area, t.aspect_width, t.aspect_height);
    auto on_show = w.view->visible.moved_to<WindowSpace>(-window.x1, -window.y1);
    return w.picture.find(t, whole, on_show, w.colour & on_show);
}

Placement WindowTracker::Impl::placement_of(Watch &w) const
{
    Placement p;
    if (!w.view)
        return p;
    p.found = true;
    if (w.keyed())
        p.placeholder = w.shade;
    const ScreenRect &window = w.view->window;
    auto picture = picture_of(w);
    if (!picture)
        return p;
    const auto on_screen = picture->moved_to<ScreenSpace>(window.x1, window.y1);
    p.display = display_->monitor_of(on_screen);
    const ScreenRect &monitor = display_->monitors()[p.display];
    p.target = on_screen.moved_to<GuestSpace>(-monitor.x1, -monitor.y1);
    ScreenRegion visible = w.view->visible & on_screen.intersected(monitor);
    if (w.keyed())
        visible &= w.colour.moved_to<ScreenSpace>(window.x1, window.y1);
    p.visible = simplified_from_inside(visible.moved_to<GuestSpace>(-monitor.x1, -monitor.y1), kMostRects);
    return p;
}

void WindowTracker::Impl::keep_events()
{
    std::vector<const WindowView *> views;
    for (const auto &[id, w] : watches_)
        if (w.view)
            views.push_back(&*w.view);
    tree_.keep_events_of(views, !watches_.empty());
}

WindowTracker::WindowTracker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WindowTracker::~WindowTracker() = default;

Result<std::unique_ptr<WindowTracker>> WindowTracker::open(const std::string &display_name, Listener listener)
{
    auto display = XDisplay::open(display_name);
    if (!display)
        return display.error();
    auto impl = std::make_unique<Impl>(std::move(display).value(), std::move(listener));
    return std::unique_ptr<WindowTracker>(new WindowTracker(std::move(impl)));
}

Status WindowTracker::watch(std::uint32_t id, Target target)
{
    return impl_->watch(id, std::move(target));
}

void WindowTracker::unwatch(std::uint32_t id)
{
    impl_->unwatch(id);
}

int WindowTracker::fd() const
{
    return impl_->fd();
}

std::int64_t WindowTracker::deadline() const
{
    return impl_->deadline();
}

Status WindowTracker::dispatch(std::int64_t now)
{
    return impl_->dispatch(now);
}

const WindowTracker::Counters &WindowTracker::counters() const
{
    return impl_->counters;
}

} // namespace spice_overlay::guest
