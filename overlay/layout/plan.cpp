// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plan.h"

#include <algorithm>
#include <cmath>

namespace spice_overlay {

Fit::Fit(int guest_w, int guest_h, int space_x, int space_y, int space_w, int space_h, double scale_of_output)
    : guest_width(guest_w), guest_height(guest_h), output_scale(scale_of_output)
{
    if (guest_w <= 0 || guest_h <= 0 || space_w <= 0 || space_h <= 0)
        return;
    double scale = std::min(double(space_w) / guest_w, double(space_h) / guest_h);
    width = std::clamp(static_cast<int>(std::lround(guest_w * scale)), 1, space_w);
    height = std::clamp(static_cast<int>(std::lround(guest_h * scale)), 1, space_h);
    x = space_x + (space_w - width) / 2;
    y = space_y + (space_h - height) / 2;
}

const char *name(Placement placement)
{
    switch (placement) {
    case Placement::kAbove:
        return "above";
    case Placement::kBelow:
        return "below";
    case Placement::kHidden:
        break;
    }
    return "hidden";
}

namespace {

/// Whether both edges of a side of `size` guest pixels, drawn as `logical` ones, lie between two pixels of the surface and of the screen
/// with no filter across them.
bool are_sharp(int low, int high, int size, int logical, double output_scale)
{
    if (low == 0 && high == size)
        return true;
    double per_screen_pixel = size / (logical * output_scale);
    int whole = static_cast<int>(std::lround(per_screen_pixel));
    if (whole < 1 || std::abs(per_screen_pixel - whole) > 1e-9)
        return false;
    auto sharp = [&](int edge) { return edge % whole == 0 && std::int64_t{edge} * logical % size == 0; };
    return sharp(low) && sharp(high);
}

/// Where edges are not sharp the compositor mixes guest pixels: beside a video above the desktop that would be the placeholder.
bool has_sharp_edges(const GuestRect &clip, const Fit &fit)
{
    return are_sharp(clip.x1, clip.x2, fit.guest_width, fit.width, fit.output_scale)
           && are_sharp(clip.y1, clip.y2, fit.guest_height, fit.height, fit.output_scale);
}

/// The surface rectangle for the part `clip` of the target, and the source that keeps every picture pixel in its place.
VideoPlan place(std::uint32_t stream, const VideoGeometry &g, const GuestRect &clip, Placement placement, const Fit &fit)
{
    double sx = fit.scale_x();
    double sy = fit.scale_y();
    VideoPlan plan{stream, placement, {}, {}, g.crop};
    SurfaceRect &r = plan.rect;
    // Outwards: below the desktop the hole is the exact edge, above it all edges are whole.
    auto down = [](int at, int to, int from) { return static_cast<int>(std::int64_t{at} * to / from); };
    auto up = [](int at, int to, int from) { return static_cast<int>((std::int64_t{at} * to + from - 1) / from); };
    r = {{down(clip.x1, fit.width, fit.guest_width), down(clip.y1, fit.height, fit.guest_height),
          up(clip.x2, fit.width, fit.guest_width), up(clip.y2, fit.height, fit.guest_height)}};
    r = r.intersected({{0, 0, fit.width, fit.height}});
    if (r.empty()) {
        plan.placement = Placement::kHidden;
        return plan;
    }
    auto part = [](double from, double to, double origin, double size, double &start, double &length) {
        start = std::clamp((from - origin) / size, 0.0, 1.0);
        length = std::clamp((to - origin) / size, 0.0, 1.0) - start;
    };
    part(r.x1 / sx, r.x2 / sx, g.target.x1, g.target.width(), plan.source.x, plan.source.width);
    part(r.y1 / sy, r.y2 / sy, g.target.y1, g.target.height(), plan.source.y, plan.source.height);
    if (plan.source.width <= 0 || plan.source.height <= 0)
        plan.placement = Placement::kHidden;
    return plan;
}

/// Of all videos below the desktop. One whose hole would take more is not shown.
constexpr std::size_t kMostHoleBoxes = 8192;

struct Below {
    VideoPlan video;
    GuestRegion visible;
    GuestRect clip;
};

/// Whether `b` belongs on top of `a`: of what they have in common it is seen more.
bool belongs_under(const Below &a, const Below &b)
{
    const GuestRegion both = a.clip.intersected(b.clip);
    return (a.visible & both).area() < (b.visible & both).area();
}

/// From the bottom to the top. This is no sorting: of three, two may lie apart from each other and neither from the third.
std::vector<Below> stacked(std::vector<Below> videos)
{
    const std::size_t count = videos.size();
    std::vector<std::vector<std::size_t>> under(count); // what belongs under each
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t j = 0; j < count; ++j)
            if (i != j && !videos[i].clip.intersected(videos[j].clip).empty() && belongs_under(videos[j], videos[i]))
                under[i].push_back(j);
    std::vector<bool> placed(count);
    std::vector<Below> stack;
    const auto may_lie_here = [&](std::size_t i) {
        return std::all_of(under[i].begin(), under[i].end(), [&placed](std::size_t j) { return placed[j]; });
    };
    while (stack.size() < count) {
        std::size_t first = count;
        std::size_t next = count;
        for (std::size_t i = 0; i < count && next == count; ++i) {
            if (placed[i])
                continue;
            first = std::min(first, i);
            if (may_lie_here(i))
                next = i;
        }
        if (next == count) // they go round in a circle
            next = first;
        placed[next] = true;
        stack.push_back(std::move(videos[next]));
    }
    return stack;
}

} // namespace

Plan make_plan(std::span<const PlannedStream> streams, const Fit &fit)
{
    Plan plan;
    if (fit.empty())
        return plan;
    plan.videos.reserve(streams.size());
    std::vector<Below> below;
    std::vector<VideoPlan> above;
    const GuestRect display{{0, 0, fit.guest_width, fit.guest_height}};
    for (const PlannedStream &s : streams) {
        if (!s.geometry || s.geometry->visible.empty()) {
            plan.videos.push_back({s.stream, Placement::kHidden, {}, {}, {}});
            continue;
        }
        const GuestRegion &visible = s.geometry->visible;
        GuestRect clip = s.geometry->target.intersected(display);
        if (visible.is(clip) && has_sharp_edges(clip, fit))
            above.push_back(place(s.stream, *s.geometry, clip, Placement::kAbove, fit));
        else
            below.push_back({place(s.stream, *s.geometry, clip, Placement::kBelow, fit), visible, clip});
    }
    below = stacked(std::move(below));
    for (std::size_t i = 0; i < below.size(); ++i) {
        GuestRegion hole = below[i].visible;
        for (std::size_t above_it = i + 1; above_it < below.size(); ++above_it)
            hole -= below[above_it].clip;
        if (auto all = plan.hole.plus(hole, kMostHoleBoxes))
            plan.hole = std::move(*all);
        else
            below[i].video = {below[i].video.stream, Placement::kHidden, {}, {}, {}};
    }
    for (const Below &b : below)
        plan.videos.push_back(b.video);
    plan.videos.insert(plan.videos.end(), above.begin(), above.end());
    return plan;
}

} // namespace spice_overlay
