// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/linux/window_tracker.h"

#include <xcb/xcb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace spice_overlay::guest::testing_tools {

inline constexpr std::uint32_t kKey = 0x164a2b;
inline constexpr std::uint32_t kOther = 0xa08060;

struct WindowPlan {
    xcb_window_t parent = XCB_WINDOW_NONE; ///< NONE: the root
    int x = 0;
    int y = 0;
    int width = 100;
    int height = 80;
    int border = 0;
    std::uint32_t colour = kOther; ///< 0xAARRGGBB where argb, else 0xRRGGBB
    bool override_redirect = false;
    bool input_only = false;
    bool argb = false;
    bool mapped = true;
};

/// An X client that makes windows and looks at pixels. Shares no code with the tracker. Windows paint themselves in their
/// background colour.
class Desk {
public:
    explicit Desk(const std::string &display);
    ~Desk() { xcb_disconnect(c_); }
    Desk(const Desk &) = delete;
    Desk &operator=(const Desk &) = delete;

    xcb_window_t create(const WindowPlan &plan);
    void map(xcb_window_t w) { xcb_map_window(c_, w); }
    void unmap(xcb_window_t w) { xcb_unmap_window(c_, w); }
    void destroy(xcb_window_t w) { xcb_destroy_window(c_, w); }
    void move(xcb_window_t w, int x, int y);
    void resize(xcb_window_t w, int width, int height);
    void set_border(xcb_window_t w, int width);
    /// XCB_STACK_MODE_*; relative to `sibling` where it is not NONE.
    void restack(xcb_window_t w, std::uint32_t mode, xcb_window_t sibling = XCB_WINDOW_NONE);
    void reparent(xcb_window_t w, xcb_window_t parent, int x, int y) { xcb_reparent_window(c_, w, parent, x, y); }
    void set_override_redirect(xcb_window_t w, bool on);
    /// `kind`: XCB_SHAPE_SK_*; no rectangles: the whole window again.
    void shape(xcb_window_t w, std::uint8_t kind, const std::vector<xcb_rectangle_t> &rects);
    void set_property(xcb_window_t w, const char *name, const std::vector<std::uint32_t> &values);
    void remove_property(xcb_window_t w, const char *name);
    /// Paints onto the window, without its children.
    void paint(xcb_window_t w, std::uint32_t colour, const WindowRect &rect);

    /// Gives a window another background, and paints it.
    void recolour(xcb_window_t w, std::uint32_t colour);

    /// Everything asked so far has been done by the server, and its events are on their way.
    void sync();

    [[nodiscard]] xcb_connection_t *xcb() const { return c_; }
    [[nodiscard]] xcb_window_t root() const { return screen_->root; }
    [[nodiscard]] xcb_atom_t atom(const char *name);
    [[nodiscard]] bool has_owner(const char *selection);
    [[nodiscard]] bool has_property(xcb_window_t w, const char *name);

    /// The window inside its border, on the screen; asked from the server.
    [[nodiscard]] GuestRect place_of(xcb_window_t w);

    /// Pixels 0xRRGGBB of a part of the screen, row by row.
    [[nodiscard]] std::vector<std::uint32_t> pixels(const GuestRect &rect);

    /// In how many pixels of `placement`'s target that are on the screen "visible" and "has the key colour" disagree.
    [[nodiscard]] long mismatches(const Placement &placement, std::uint32_t key = kKey);

private:
    xcb_connection_t *c_;
    xcb_screen_t *screen_;
    xcb_visualid_t argb_visual_ = 0;
    xcb_colormap_t argb_colours_ = 0;
};

/// A tracker with what it has told. Its time is real time and what it is advanced by.
class Follower {
public:
    explicit Follower(const std::string &display);
    [[nodiscard]] WindowTracker &tracker() { return *tracker_; }
    [[nodiscard]] const Placement &operator[](std::uint32_t id) { return told_[id]; }
    [[nodiscard]] long times_told() const { return times_told_; }
    [[nodiscard]] std::int64_t now() const;

    /// Lets what is rate-limited be due now.
    void advance(std::int64_t ns = 1'000'000'000) { offset_ += ns; }
    Status dispatch() { return tracker_->dispatch(now()); }
    /// Dispatches as a program's loop would, faster, until `done`; false after `patience` ns.
    bool until(const std::function<bool()> &done, std::int64_t patience = 10'000'000'000);
    /// Handles what there is until nothing more is asked for within `quiet` ms.
    void settle(int quiet = 0);

private:
    std::unique_ptr<WindowTracker> tracker_;
    std::map<std::uint32_t, Placement> told_;
    long times_told_ = 0;
    std::int64_t offset_ = 0;
};

} // namespace spice_overlay::guest::testing_tools
