// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "video_geometry.h"

#include <cstdint>
#include <span>
#include <vector>

namespace spice_overlay {

/// How the guest's display is fitted into the space that the viewer gives it: as large as possible, aspect kept, centred.
struct Fit {
    int x = 0; ///< of the desktop surface in the viewer's window, logical pixels
    int y = 0;
    int width = 0; ///< of the desktop surface, logical pixels
    int height = 0;
    int guest_width = 0; ///< guest pixels
    int guest_height = 0;
    double output_scale = 1; ///< screen pixels in a logical one

    Fit() = default;
    /// The space [x, x+width) x [y, y+height) is in logical pixels of the window.
    Fit(int guest_width, int guest_height, int space_x, int space_y, int space_width, int space_height,
        double output_scale = 1);

    [[nodiscard]] bool empty() const { return width <= 0 || height <= 0; }
    [[nodiscard]] double scale_x() const { return double(width) / guest_width; }
    [[nodiscard]] double scale_y() const { return double(height) / guest_height; }
    bool operator==(const Fit &) const = default;
};

enum class Placement { kHidden, kAbove, kBelow };
const char *name(Placement placement);

/// A part of the displayed picture (after the geometry's source crop): fractions of its width and height, inside [0, 1].
struct SourcePart {
    double x = 0;
    double y = 0;
    double width = 1;
    double height = 1;
    bool operator==(const SourcePart &) const = default;
};

/// Where one video goes. `rect` is where its surface lies in the desktop surface: whole surface-local pixels inside it.
struct VideoPlan {
    std::uint32_t stream = 0;
    Placement placement = Placement::kHidden;
    SurfaceRect rect;
    SourcePart source;
    wire::SourceCrop crop;
    bool operator==(const VideoPlan &) const = default;
};

/// One consistent arrangement: it is shown whole or not at all.
struct Plan {
    std::vector<VideoPlan> videos; ///< lowest first, among those of one placement
    GuestRegion hole;              ///< where the desktop surface is transparent
    bool operator==(const Plan &) const = default;
};

struct PlannedStream {
    std::uint32_t stream = 0;
    const VideoGeometry *geometry = nullptr; ///< null: hidden
};

/// Decides placement, rectangle, source and hole for all streams. A video whose visible region is its whole part on the display goes
/// above the desktop, unless the display is drawn scaled and so mixes pixels at the video's edges; any other goes below, seen through a hole
/// of exactly its visible region. Where two videos below
/// overlap, one of them is on top: the other one's hole loses what it can then not show.
[[nodiscard]] Plan make_plan(std::span<const PlannedStream> streams, const Fit &fit);

} // namespace spice_overlay
