// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "window_tracker.h"

#include <optional>

namespace spice_overlay::guest {

/// The largest rectangle of a shape in the middle of `area`; all of it where the shape is not known (a side of 0).
[[nodiscard]] WindowRect aspect_fit(const WindowRect &area, std::uint32_t aspect_width, std::uint32_t aspect_height);

/// Where the picture is in a window that was found by its colour.
class PictureFinder {
public:
    /// `window`: all of it; `on_show`: what of it the window tree shows; `colour`: where it has the key colour, within on_show.
    /// Seen whole, the colour's bounds are the picture, and stay so while the window keeps its size. Seen in part, after a change of size,
    /// the picture is fitted into the window until it is seen whole. Nothing while no guess agrees with what is seen.
    [[nodiscard]] std::optional<WindowRect> find(const Target &target, const WindowRect &window,
                                                 const Region<WindowSpace> &on_show, const Region<WindowSpace> &colour);

private:
    struct Learned {
        WindowRect window;
        WindowRect picture;
    };
    std::optional<Learned> learned_;
};

/// At most `most` boxes that lie within `region` and fill most of it.
[[nodiscard]] GuestRegion simplified_from_inside(const GuestRegion &region, std::size_t most);

} // namespace spice_overlay::guest
