// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "x_display.h"

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace spice_overlay::guest {

/// A window as the server's window tree has it.
struct WindowView {
    ScreenRect window;    ///< inside its border
    ScreenRegion visible; ///< of it, on the screen; empty also while it is unmapped or minimised

    /// Windows whose changes change this: itself with its ancestors, and those that cover some of it.
    std::vector<xcb_window_t> chain;
    std::vector<xcb_window_t> covering;
};

/// What decides where the window tree alone cannot say.
enum class Judge {
    kTree,   ///< the tree: what may cover does cover, child windows too
    kPixels, ///< pixels that the caller reads: child windows, and what is blended, do not cover by themselves
};

/// Reads the server's window tree.
class WindowTree {
public:
    explicit WindowTree(XDisplay &display) : display_(display) {}

    /// Where `window` is and what of it is seen; nothing when it does not exist. Asks for the events that tell of changes (structure
    /// of the chain and its children, shapes, properties) before it reads what they tell of, so that none is missed.
    [[nodiscard]] std::optional<WindowView> read(xcb_window_t window, Judge judge);

    /// Asks for the events that these need, and no others. `root`: also for those of the root window, which tell of new windows.
    void keep_events_of(const std::vector<const WindowView *> &views, bool root);

    /// The lowest window that shows at a point of the screen; the root when there is none.
    [[nodiscard]] xcb_window_t window_at(int x, int y);

    /// Whether one of `processes` made the window, by the server's word or that of _NET_WM_PID on it or an ancestor.
    [[nodiscard]] bool made_by(xcb_window_t window, const std::vector<std::uint32_t> &processes);

    /// Whether an event can change what read() reads.
    [[nodiscard]] bool concerns(const xcb_generic_event_t &event) const;

private:
    void ask_events(xcb_window_t window, std::uint32_t mask);

    XDisplay &display_;
    std::unordered_map<xcb_window_t, std::uint32_t> asked_;
};

} // namespace spice_overlay::guest
