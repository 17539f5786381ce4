// SPDX-License-Identifier: LGPL-2.1-or-later
// Regions against a bitmap of one word; geometry and plan on a display as small as that: as `desktop`, without its picture.
#include "input.h"
#include "video_plan.h"

#include <array>
#include <bit>
#include <cmath>

namespace spice_overlay::fuzz {
namespace {

constexpr int kSide = 8;
using Bitmap = std::uint64_t; ///< a byte for each row, from the top; its lowest bit is at the left

std::uint64_t row(int x1, int x2)
{
    return ((std::uint64_t{1} << x2) - 1) & ~((std::uint64_t{1} << x1) - 1);
}

/// The part of a box that lies on the bitmap.
Bitmap drawn(const Box &b)
{
    const int x1 = std::clamp(b.x1, 0, kSide);
    const int x2 = std::clamp(b.x2, x1, kSide);
    Bitmap bitmap = 0;
    for (int y = std::max(b.y1, 0); y < std::min(b.y2, kSide); ++y)
        bitmap |= row(x1, x2) << 8 * y;
    return bitmap;
}

constexpr std::size_t kMostBoxes = 32; ///< of a bitmap

/// The boxes of a bitmap in canonical form, found by other means than a region does.
std::size_t canonical(Bitmap bitmap, std::array<Box, kMostBoxes> &boxes)
{
    std::size_t count = 0;
    for (int y = 0; y < kSide;) {
        const std::uint64_t line = bitmap >> 8 * y & 0xff;
        int end = y + 1;
        while (end < kSide && (bitmap >> 8 * end & 0xff) == line)
            ++end;
        for (std::uint64_t left = line; left != 0;) {
            const int x1 = std::countr_zero(left);
            const int x2 = x1 + std::countr_one(left >> x1);
            boxes[count++] = {x1, y, x2, end};
            left &= ~row(x1, x2);
        }
        y = end;
    }
    return count;
}

void require_equal(const BoxSet &set, Bitmap bitmap)
{
    std::array<Box, kMostBoxes> boxes;
    const std::size_t count = canonical(bitmap, boxes);
    require(set.boxes().size() == count && std::equal(set.boxes().begin(), set.boxes().end(), boxes.begin()),
            "a region has the pixels that it should, in canonical form");
}

/// From two bytes, empty now and then.
GuestRect rect(Input &in)
{
    const unsigned choice = in.number<std::uint16_t>();
    const int x1 = choice & 7;
    const int y1 = choice >> 3 & 7;
    return {{x1, y1, x1 + static_cast<int>(choice >> 6 & 15) % (kSide + 1 - x1),
             y1 + static_cast<int>(choice >> 10 & 15) % (kSide + 1 - y1)}};
}

struct Both {
    GuestRegion region;
    Bitmap bitmap = 0;
};

Both some(Input &in)
{
    std::array<GuestRect, 6> rects;
    const unsigned choice = in.byte();
    const std::span<const GuestRect> used = std::span(rects).first(choice % (rects.size() + 1));
    Both both;
    for (std::size_t i = 0; i < used.size(); ++i) {
        rects[i] = rect(in);
        both.bitmap |= drawn(rects[i]);
    }
    both.region = GuestRegion(used);
    if (const std::size_t most = choice / 16; most < 4) {
        const auto limited = GuestRegion::united(used, most);
        require(!limited || (limited->boxes().size() <= most && *limited == both.region), "a limit changes no pixel");
    }
    return both;
}

void require_limit(const std::optional<GuestRegion> &limited, const GuestRegion &whole, std::size_t most)
{
    require(limited.has_value() == (whole.boxes().size() <= most), "what is larger than its limit is nothing");
    require(!limited || *limited == whole, "a limit changes no pixel");
}

void algebra(Input &in)
{
    Both a = some(in);
    Both b = some(in);
    require_equal(a.region, a.bitmap);
    for (int steps = 0; steps < 8 && !in.empty(); ++steps) {
        const std::uint8_t choice = in.byte();
        switch (choice % 8) {
        case 0:
            a = {a.region | b.region, a.bitmap | b.bitmap};
            break;
        case 1:
            a = {a.region & b.region, a.bitmap & b.bitmap};
            break;
        case 2:
            a = {a.region - b.region, a.bitmap & ~b.bitmap};
            break;
        case 3:
            a = {a.region.difference(b.region), a.bitmap ^ b.bitmap};
            break;
        case 4:
            std::swap(a, b);
            break;
        case 5:
            b = some(in);
            break;
        case 6:
            if (const std::size_t most = choice / 16; choice & 8) {
                require_limit(a.region.plus(b.region, most), a.region | b.region, most);
                require_limit(a.region.minus(b.region, most), a.region - b.region, most);
            }
            a.region = a.region.moved_to<SurfaceSpace>(choice, -9).moved_to<GuestSpace>(-choice, 9);
            break;
        default: {
            const int x = choice >> 3 & 7;
            const int y = in.byte() & 7;
            require(a.region.contains(x, y) == (a.bitmap >> (8 * y + x) & 1), "contains() agrees");
            const GuestRect bounds = a.region.bounds();
            require(a.bitmap == 0 ? bounds.empty() : (a.bitmap & ~drawn(bounds)) == 0, "bounds hold the region");
            require(a.region.is(bounds) == (a.bitmap == drawn(bounds)), "a rectangle is told from what is none");
        }
        }
        require_equal(a.region, a.bitmap);
        require((a.region == b.region) == (a.bitmap == b.bitmap), "equal sets have equal boxes");
        require(a.region.area() == std::popcount(a.bitmap), "area counts pixels");
    }
}

// ---- videos on a display

int far(std::uint8_t choice)
{
    constexpr int kFar[] = {-wire::kMaxCoordinate, wire::kMaxCoordinate, -1, 9};
    return choice >= 0xf0 ? kFar[choice % 4] : choice % 8;
}

/// Near the display, or as far away and as large as the wire allows.
wire::Rect wire_rect(Input &in)
{
    const int x = far(in.byte());
    const int y = far(in.byte());
    const std::uint8_t size = in.byte();
    if (size >= 0xf8)
        return {x, y, wire::kMaxCoordinate, size == 0xff ? 0u : wire::kMaxCoordinate};
    return {x, y, size % 10u, size / 10u % 10u};
}

struct Placed {
    VideoGeometry geometry;
    Bitmap seen = 0;
};

Placed place(Input &in, const GuestRect &display)
{
    static wire::Geometry g; // its memory serves again
    g.target = wire_rect(in);
    const std::uint8_t choice = in.byte();
    if (choice % 4 == 0) {
        g.visible = {g.target};
    } else {
        g.visible.resize(choice / 4 % 4);
        for (wire::Rect &r : g.visible)
            r = wire_rect(in);
    }
    const auto box = [](const wire::Rect &r) {
        return GuestRect::from_size(r.x, r.y, static_cast<int>(r.width), static_cast<int>(r.height));
    };
    Placed placed{VideoGeometry(g, display), 0};
    for (const wire::Rect &r : g.visible)
        placed.seen |= drawn(box(r));
    placed.seen &= drawn(box(g.target)) & drawn(display);
    require_equal(placed.geometry.visible, placed.seen);
    return placed;
}

void geometry(Input &in)
{
    constexpr double kScales[] = {1.0, 1.25, 1.5, 2.0};
    const std::uint8_t size = in.byte();
    const GuestRect display{{0, 0, 1 + (size & 7), 1 + (size >> 3 & 7)}};
    const int width = in.byte() % 64;
    const Fit fit(display.x2, display.y2, -5, 3, width, size & 64 ? width : in.byte() % 64, kScales[size >> 6]);
    std::array<Placed, 3> placed;
    std::array<PlannedStream, 4> streams{{{0, nullptr}, {1, nullptr}, {2, nullptr}, {3, nullptr}}};
    const std::size_t count = in.byte() % 4u;
    Bitmap seen = 0;
    for (std::size_t i = 0; i < count; ++i) {
        placed[i] = place(in, display);
        streams[i].geometry = &placed[i].geometry;
        seen |= placed[i].seen;
    }
    const Plan plan = make_plan(streams, fit);
    require(fit.empty() ? plan.videos.empty() : plan.videos.size() == streams.size(), "every stream has its place");
    Bitmap hole = 0;
    for (const Box &b : plan.hole.boxes())
        hole |= drawn(b);
    require_equal(plan.hole, hole);
    require((hole & ~seen) == 0, "no hole but where a video is seen");
    Bitmap below = 0;
    for (const VideoPlan &video : plan.videos) {
        require(*name(video.placement), "a placement has a name");
        require(video.placement == Placement::kHidden || video.stream < count, "who has no geometry is hidden");
        if (video.stream >= count)
            continue;
        const Placed &p = placed[video.stream];
        if (video.placement == Placement::kHidden)
            continue;
        const GuestRect clip = p.geometry.target.intersected(display);
        require_in_place(video, clip, fit);
        require(video.placement == Placement::kBelow || p.seen == drawn(clip), "what is above is seen whole");
        if (video.placement == Placement::kBelow)
            below |= p.seen;
    }
    require((hole & ~below) == 0, "a hole is for a video below the desktop");
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    if (in.byte() % 2)
        geometry(in);
    else
        algebra(in);
    return 0;
}
