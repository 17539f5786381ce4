// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/region/region.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay::guest {

struct WindowSpace; ///< pixels of an X window, origin at the top left corner inside its border
using WindowRect = Rect<WindowSpace>;

/// What to follow: a window that is known, or the window in which a key colour appears.
struct Target {
    /// The X window into which the video is painted. 0: the one in which `key_colour` appears is found, and found again when it
    /// is lost; `key_colour` must then be set.
    std::uint32_t window = 0;

    /// When the window is to be found: the processes whose windows are preferred (by the X server's word, else by
    /// _NET_WM_PID). Where none of theirs has the colour, any window that has it is taken: the process that feeds a window
    /// is not always the one that made it. At most kMostProcesses are looked at.
    std::vector<std::uint32_t> processes;

    /// 0xRRGGBB, painted by the player where the picture is to be: the video is seen only where the screen really shows this colour
    /// (kColourTolerance per channel), so that controls drawn over the picture stay in front. Not set: the window's visible part counts, and
    /// its child windows cover it.
    std::optional<std::uint32_t> key_colour;

    /// Shape of the picture as it is displayed, in any unit; 0: not known.
    /// Of a known window: the picture is the largest rectangle of this shape in the middle of `area`; 0: all of `area`.
    /// Of a window to be found: tells whether the colour is seen whole, and where the picture is until it is.
    std::uint32_t aspect_width = 0;
    std::uint32_t aspect_height = 0;

    /// Of a known window: the part for the picture; empty: all of it.
    WindowRect area;

    bool operator==(const Target &) const = default;
};

/// Where a video is on the guest's screen, and what of it is seen.
struct Placement {
    /// Whether there is a window to speak of. If not, the rest says nothing. A window that is unmapped, minimised or covered
    /// is found, with nothing visible.
    bool found = false;

    /// The monitor that shows most of the picture: its place, from 0, among the active monitors in the order of their
    /// outputs (RandR).
    std::uint32_t display = 0;

    /// Where the whole picture is, in pixels of that monitor; may lie partly outside.
    GuestRect target;

    /// What of it is seen, in pixels of that monitor: within target and monitor, at most kMostRects boxes. Where more would be
    /// needed it is a little smaller: it never holds a pixel of what covers the video.
    GuestRegion visible;

    /// The colour 0xRRGGBB that the screen shows in place of the key colour: players shift it by a little. Not set without a key colour.
    std::optional<std::uint32_t> placeholder;

    bool operator==(const Placement &) const = default;
};

/// Follows windows on an X11 screen. One thread; calls wait for answers of the X server, and for nothing else. Nothing runs, and no
/// wake-up is asked for, while nothing changes on the screen.
///
/// Without a key colour, what the server's window tree says holds: stacking at every level up to the root, borders, shapes, unmapped and
/// minimised windows. Under a compositing manager (which draws things that no window tree knows, and later than the
/// tree changes) translucent windows count as covering, and the shadows that windows draw around themselves (_GTK_FRAME_EXTENTS)
/// do not. With a key colour, what the framebuffer shows is intersected with that, and what a compositing manager draws decides instead of
/// guesses about translucent windows; it is read only when something was drawn on the screen and at most every kScanInterval.
class WindowTracker {
public:
    static constexpr std::size_t kMostRects = 256;
    static constexpr std::size_t kMostProcesses = 64;
    static constexpr int kColourTolerance = 4;                ///< per channel, of 255
    static constexpr std::int64_t kScanInterval = 33'000'000; ///< ns
    static constexpr std::int64_t kSearchInterval =
        100'000'000; ///< ns; while a window is to be found, all of the screen is read

    /// Told from within dispatch() when a placement differs from the one told last (the first: from not found). May call watch() and
    /// unwatch(); must not destroy the tracker.
    using Listener = std::function<void(std::uint32_t id, const Placement &placement)>;

    /// `display_name` empty: $DISPLAY. The error says what to do when there is no X display.
    [[nodiscard]] static Result<std::unique_ptr<WindowTracker>> open(const std::string &display_name,
                                                                     Listener listener);
    ~WindowTracker();
    WindowTracker(const WindowTracker &) = delete;
    WindowTracker &operator=(const WindowTracker &) = delete;

    /// Follows `target` under a number of the caller's choice; replaces what was followed under it. Takes effect with the next dispatch(), for
    /// which deadline() then asks at once. The error: a key colour is needed and missing, or cannot be read on this screen.
    /// A window that does not exist (yet) is no error: it is not found.
    Status watch(std::uint32_t id, Target target);

    /// Not told of any more. Unknown numbers are ignored.
    void unwatch(std::uint32_t id);

    /// To be polled for reading, while deadline() is in the future; still the tracker's.
    [[nodiscard]] int fd() const;

    /// When dispatch() is to be called even without something to read, in ns of CLOCK_MONOTONIC; 0: at once; negative: never.
    [[nodiscard]] std::int64_t deadline() const;

    /// Handles what came and is due; `now` in ns of CLOCK_MONOTONIC. The error: the connection to the X server is lost; every
    /// target has then been told as not found, and each further call returns the same.
    Status dispatch(std::int64_t now);

    /// For tests and diagnosis, since open().
    struct Counters {
        std::uint64_t walks = 0;    ///< times the window tree was read for a target
        std::uint64_t scans = 0;    ///< times a part of the framebuffer was read
        std::uint64_t searches = 0; ///< times the whole framebuffer was read
    };
    [[nodiscard]] const Counters &counters() const;

private:
    class Impl;
    explicit WindowTracker(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace spice_overlay::guest
