// SPDX-License-Identifier: LGPL-2.1-or-later
#include "window_tree.h"

#include <xcb/res.h>
#include <xcb/shape.h>

#include <algorithm>
#include <span>

namespace spice_overlay::guest {

namespace {

// Other programs decide how many windows there are, and how odd.
constexpr std::size_t kMostLevels = 64;
constexpr std::size_t kMostCovering = 4096; ///< looked at; with more, nothing counts as visible
constexpr std::size_t kMostShapeRects = 4096;

constexpr std::uint32_t kIconicState = 3;          // of WM_STATE
constexpr std::uint32_t kAllDesktops = 0xffffffff; // of _NET_WM_DESKTOP
constexpr std::uint32_t kOpaque = 0xffffffff;      // of _NET_WM_WINDOW_OPACITY
constexpr std::uint8_t kArgbDepth = 32;

constexpr std::uint32_t kCoveringEvents = XCB_EVENT_MASK_PROPERTY_CHANGE;
constexpr std::uint32_t kChainEvents =
    XCB_EVENT_MASK_STRUCTURE_NOTIFY | XCB_EVENT_MASK_SUBSTRUCTURE_NOTIFY | XCB_EVENT_MASK_PROPERTY_CHANGE;

/// Attributes and geometry of a window.
class WindowFacts {
public:
    WindowFacts(XDisplay &d, xcb_window_t window)
        : attributes_asked_(d.xcb(), xcb_get_window_attributes(d.xcb(), window)),
          geometry_asked_(d.xcb(), xcb_get_geometry(d.xcb(), window))
    {
    }

    /// To be called once, and before the rest; whether there is such a window.
    bool read()
    {
        attributes_ = attributes_asked_.take();
        geometry_ = geometry_asked_.take();
        return attributes_ && geometry_;
    }
    [[nodiscard]] bool shows() const
    {
        return attributes_->map_state != XCB_MAP_STATE_UNMAPPED && attributes_->_class == XCB_WINDOW_CLASS_INPUT_OUTPUT;
    }
    [[nodiscard]] bool argb() const { return geometry_->depth == kArgbDepth; }
    /// With its border; `x`, `y`: the origin of its parent's inside.
    [[nodiscard]] ScreenRect outside(int x, int y) const { return inside(x, y).grown(geometry_->border_width); }
    [[nodiscard]] ScreenRect inside(int x, int y) const
    {
        const int border = geometry_->border_width;
        return ScreenRect::from_size(x + geometry_->x + border, y + geometry_->y + border, geometry_->width,
                                     geometry_->height);
    }

private:
    Asked<xcb_get_window_attributes_reply> attributes_asked_;
    Asked<xcb_get_geometry_reply> geometry_asked_;
    Reply<xcb_get_window_attributes_reply_t> attributes_;
    Reply<xcb_get_geometry_reply_t> geometry_;
};

class PropertyQuery {
public:
    PropertyQuery() = default;
    PropertyQuery(XDisplay &d, xcb_window_t window, xcb_atom_t property, std::uint32_t most)
        : asked_(property == XCB_ATOM_NONE
                     ? Asked<xcb_get_property_reply>()
                     : Asked<xcb_get_property_reply>(
                         d.xcb(), xcb_get_property(d.xcb(), 0, window, property, XCB_ATOM_ANY, 0, most)))
    {
    }
    /// Once. Empty where there is no such property.
    [[nodiscard]] std::vector<std::uint32_t> values() { return values_of(asked_.take().get()); }

private:
    Asked<xcb_get_property_reply> asked_;
};

enum class Rounding { kInside, kOutside };

/// A window's shape of one kind.
class ShapeQuery {
public:
    ShapeQuery(XDisplay &d, xcb_window_t window, xcb_shape_kind_t kind) : kind_(kind)
    {
        if (!d.has_shape())
            return;
        extents_ = {d.xcb(), xcb_shape_query_extents(d.xcb(), window)};
        rectangles_ = {d.xcb(), xcb_shape_get_rectangles(d.xcb(), window, kind)};
    }

    /// Once. `inside`: what the shape is relative to; `bounds`: what it is within. A shape of too many rectangles is cut short or
    /// becomes `bounds`, as `rounding` says.
    [[nodiscard]] ScreenRegion read(const ScreenRect &inside, const ScreenRect &bounds, Rounding rounding)
    {
        auto extents = extents_.take();
        auto reply = rectangles_.take();
        // Of a window without a shape the server tells rectangles that lack half of the border.
        if (!reply || !extents || !(kind_ == XCB_SHAPE_SK_CLIP ? extents->clip_shaped : extents->bounding_shaped))
            return bounds;
        std::span<const xcb_rectangle_t> shape(
            xcb_shape_get_rectangles_rectangles(reply.get()),
            static_cast<std::size_t>(xcb_shape_get_rectangles_rectangles_length(reply.get())));
        if (shape.size() > kMostShapeRects) {
            if (rounding == Rounding::kOutside)
                return bounds;
            shape = shape.first(kMostShapeRects);
        }
        std::vector<ScreenRect> rects;
        rects.reserve(shape.size());
        for (const xcb_rectangle_t &r : shape)
            rects.push_back(ScreenRect::from_size(inside.x1 + r.x, inside.y1 + r.y, r.width, r.height));
        return ScreenRegion(rects) & bounds;
    }

private:
    xcb_shape_kind_t kind_;
    Asked<xcb_shape_query_extents_reply> extents_;
    Asked<xcb_shape_get_rectangles_reply> rectangles_;
};

struct Tree {
    Reply<xcb_query_tree_reply_t> reply;

    Tree(XDisplay &d, xcb_window_t window)
        : reply(Asked<xcb_query_tree_reply>(d.xcb(), xcb_query_tree(d.xcb(), window)).take())
    {
    }
    /// From bottom to top.
    [[nodiscard]] std::span<const xcb_window_t> children() const
    {
        return {xcb_query_tree_children(reply.get()),
                static_cast<std::size_t>(xcb_query_tree_children_length(reply.get()))};
    }
};

/// A window of the chain from the target to the root, while it is read.
struct Level {
    xcb_window_t window;
    WindowFacts facts;
    ShapeQuery bounding;
    ShapeQuery clip;
    PropertyQuery state;
    PropertyQuery desktop;
    PropertyQuery opacity;
    Tree tree;

    Level(XDisplay &d, xcb_window_t w)
        : window(w),
          facts(d, w),
          bounding(d, w, XCB_SHAPE_SK_BOUNDING),
          clip(d, w, XCB_SHAPE_SK_CLIP),
          state(d, w, d.atoms().wm_state, 1),
          desktop(d, w, d.atoms().desktop, 1),
          opacity(d, w, d.atoms().window_opacity, 1),
          tree(d, w)
    {
    }

    /// Whether a compositing manager, which keeps windows mapped, does not show this one, or shows it blended.
    [[nodiscard]] bool withheld(const std::vector<std::uint32_t> &current_desktop, Judge judge)
    {
        auto s = state.values();
        auto on = desktop.values();
        auto o = opacity.values();
        return (!s.empty() && s[0] == kIconicState)
               || (!on.empty() && !current_desktop.empty() && on[0] != kAllDesktops && on[0] != current_desktop[0])
               || (!o.empty() && o[0] != kOpaque && judge == Judge::kTree);
    }
};

/// A window that may cover some of the target. `x`, `y`: where its parent's inside is.
struct Candidate {
    xcb_window_t window;
    int x;
    int y;
    bool top_level;
    WindowFacts facts;
};

/// A window that reaches some of the target, while it is found out how.
struct Covering {
    XDisplay &display;
    Candidate candidate;
    bool blended; ///< by a compositing manager, if it is not opaque
    PropertyQuery frame;
    PropertyQuery opacity;
    ShapeQuery shape;

    Covering(XDisplay &d, Candidate c)
        : display(d),
          candidate(std::move(c)),
          blended(candidate.top_level && d.composited()),
          frame(d, candidate.window, blended ? d.atoms().frame_extents : xcb_atom_t{}, 4),
          opacity(d, candidate.window, blended ? d.atoms().window_opacity : xcb_atom_t{}, 1),
          shape(d, candidate.window, XCB_SHAPE_SK_BOUNDING)
    {
    }

    [[nodiscard]] ScreenRegion read(Judge judge)
    {
        const ScreenRect inside = candidate.facts.inside(candidate.x, candidate.y);
        ScreenRect outside = candidate.facts.outside(candidate.x, candidate.y);
        bool translucent = false;
        if (blended) {
            auto margins = frame.values(); // left, right, top, bottom
            if (margins.size() == 4 && std::ranges::all_of(margins, [](std::uint32_t m) { return m < 0x7fff; }))
                outside = {{outside.x1 + static_cast<int>(margins[0]), outside.y1 + static_cast<int>(margins[2]),
                            outside.x2 - static_cast<int>(margins[1]), outside.y2 - static_cast<int>(margins[3])}};
            auto o = opacity.values();
            translucent = candidate.facts.argb() || (!o.empty() && o[0] != kOpaque);
        }
        ScreenRegion covered = shape.read(inside, outside, Rounding::kOutside);
        return translucent && judge == Judge::kPixels ? ScreenRegion() : covered;
    }
};

} // namespace

std::optional<WindowView> WindowTree::read(xcb_window_t window, Judge judge)
{
    XDisplay &d = display_;
    ask_events(d.root(), kChainEvents); // also where there is no such window: to hear of it when it comes
    PropertyQuery current(d, d.root(), d.atoms().current_desktop, 1);
    std::vector<Level> levels;
    for (xcb_window_t w = window; w != XCB_WINDOW_NONE; w = levels.back().tree.reply->parent) {
        if (levels.size() == kMostLevels)
            return std::nullopt;
        ask_events(w, kChainEvents);
        levels.emplace_back(d, w);
        if (!levels.back().tree.reply)
            return std::nullopt;
    }
    if (levels.empty() || levels.back().window != d.root())
        return std::nullopt;

    WindowView view;
    const auto current_desktop = current.values();
    bool shows = true;
    int x = 0;
    int y = 0;
    ScreenRegion clip = d.bounds();
    std::vector<Candidate> above;
    for (std::size_t i = levels.size(); i-- > 0;) {
        Level &level = levels[i];
        view.chain.push_back(level.window);
        if (!level.facts.read())
            return std::nullopt;
        view.window = level.facts.inside(x, y);
        clip &= level.bounding.read(view.window, view.window, Rounding::kInside);
        clip &= level.clip.read(view.window, view.window, Rounding::kInside);
        const bool withheld = d.composited() && level.window != d.root() && level.withheld(current_desktop, judge);
        shows = shows && level.facts.shows() && !withheld;
        x = view.window.x1;
        y = view.window.y1;
        std::span<const xcb_window_t> over = level.tree.children();
        if (i > 0) {
            auto self = std::ranges::find(over, levels[i - 1].window);
            if (self == over.end()) // moved elsewhere between two answers; the event that tells of it is on its way
                return std::nullopt;
            over = over.subspan(static_cast<std::size_t>(self - over.begin()) + 1);
        } else if (judge == Judge::kPixels) {
            over = {};
        }
        if (above.size() + over.size() > kMostCovering) {
            shows = false;
            over = {};
        }
        for (xcb_window_t w : over)
            above.push_back({w, x, y, level.window == d.root(), WindowFacts(d, w)});
    }

    std::vector<Covering> covering;
    for (Candidate &c : above) {
        if (!c.facts.read() || !c.facts.shows() || (clip & c.facts.outside(c.x, c.y)).empty())
            continue;
        ask_events(c.window, kCoveringEvents);
        view.covering.push_back(c.window);
        covering.emplace_back(d, std::move(c));
    }
    for (Covering &c : covering)
        clip -= c.read(judge);
    if (shows)
        view.visible = std::move(clip);
    return view;
}

void WindowTree::ask_events(xcb_window_t window, std::uint32_t mask)
{
    // Also when it has been asked before: the number may belong to another window by now.
    mask |= std::exchange(asked_[window], asked_[window] | mask);
    xcb_change_window_attributes(display_.xcb(), window, XCB_CW_EVENT_MASK, &mask);
    if (display_.has_shape())
        xcb_shape_select_input(display_.xcb(), window, 1);
}

void WindowTree::keep_events_of(const std::vector<const WindowView *> &views, bool root)
{
    std::unordered_map<xcb_window_t, std::uint32_t> wanted;
    if (root)
        wanted[display_.root()] = kChainEvents;
    for (const WindowView *view : views) {
        for (xcb_window_t w : view->chain)
            wanted[w] |= kChainEvents;
        for (xcb_window_t w : view->covering)
            wanted[w] |= kCoveringEvents;
    }
    for (const auto &[window, mask] : asked_)
        wanted.try_emplace(window, 0);
    for (const auto &[window, mask] : wanted) {
        auto before = asked_.find(window);
        if (before != asked_.end() && before->second == mask)
            continue;
        xcb_change_window_attributes(display_.xcb(), window, XCB_CW_EVENT_MASK, &mask);
        if (display_.has_shape())
            xcb_shape_select_input(display_.xcb(), window, mask != 0);
    }
    std::erase_if(wanted, [](const auto &w) { return w.second == 0; });
    asked_ = std::move(wanted);
}

xcb_window_t WindowTree::window_at(int x, int y)
{
    XDisplay &d = display_;
    xcb_window_t window = d.root();
    int origin_x = 0;
    int origin_y = 0;
    for (std::size_t level = 0; level < kMostLevels; ++level) {
        Tree tree(d, window);
        if (!tree.reply)
            break;
        auto children = tree.children();
        children = children.last(std::min(children.size(), kMostCovering));
        std::vector<WindowFacts> facts;
        std::vector<ShapeQuery> shapes;
        for (const xcb_window_t child : children) {
            facts.emplace_back(d, child);
            shapes.emplace_back(d, child, XCB_SHAPE_SK_BOUNDING);
        }
        std::size_t top = children.size();
        while (top-- > 0) {
            if (!facts[top].read() || !facts[top].shows())
                continue;
            const ScreenRect inside = facts[top].inside(origin_x, origin_y);
            const ScreenRect outside = facts[top].outside(origin_x, origin_y);
            if (!shapes[top].read(inside, outside, Rounding::kInside).contains(x, y))
                continue;
            window = children[top];
            origin_x = inside.x1;
            origin_y = inside.y1;
            break;
        }
        if (top > children.size()) // none
            break;
    }
    return window;
}

bool WindowTree::made_by(xcb_window_t window, const std::vector<std::uint32_t> &processes)
{
    XDisplay &d = display_;
    auto known = [&](std::uint32_t pid) { return pid != 0 && std::ranges::find(processes, pid) != processes.end(); };
    if (d.has_resources()) {
        xcb_res_client_id_spec_t spec{window, XCB_RES_CLIENT_ID_MASK_LOCAL_CLIENT_PID};
        auto reply = Asked<xcb_res_query_client_ids_reply>(d.xcb(), xcb_res_query_client_ids(d.xcb(), 1, &spec)).take();
        if (reply)
            for (auto id = xcb_res_query_client_ids_ids_iterator(reply.get()); id.rem;
                 xcb_res_client_id_value_next(&id))
                if (xcb_res_client_id_value_value_length(id.data) > 0 && known(*xcb_res_client_id_value_value(id.data)))
                    return true;
    }
    for (std::size_t level = 0; level < kMostLevels && window && window != d.root(); ++level) {
        auto pid = PropertyQuery(d, window, d.atoms().pid, 1).values();
        if (!pid.empty() && known(pid[0]))
            return true;
        Tree tree(d, window);
        window = tree.reply ? tree.reply->parent : xcb_window_t{};
    }
    return false;
}

bool WindowTree::concerns(const xcb_generic_event_t &event) const
{
    const int type = event.response_type & 0x7f;
    switch (type) {
    case XCB_DESTROY_NOTIFY:
    case XCB_UNMAP_NOTIFY:
    case XCB_MAP_NOTIFY:
    case XCB_REPARENT_NOTIFY:
    case XCB_CONFIGURE_NOTIFY:
    case XCB_GRAVITY_NOTIFY:
    case XCB_CIRCULATE_NOTIFY:
        return true;
    case XCB_PROPERTY_NOTIFY: {
        const auto &a = display_.atoms();
        const xcb_atom_t p = reinterpret_cast<const xcb_property_notify_event_t &>(event).atom;
        return p == a.window_opacity || p == a.frame_extents || p == a.wm_state || p == a.desktop
               || p == a.current_desktop;
    }
    default:
        return display_.has_shape() && type == display_.shape_event() + XCB_SHAPE_NOTIFY;
    }
}

} // namespace spice_overlay::guest
