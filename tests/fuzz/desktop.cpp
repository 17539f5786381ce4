// SPDX-License-Identifier: LGPL-2.1-or-later
// Geometry, its pairing with the desktop's picture and the plan, on a small display that is resized, painted and covered.
#include "input.h"
#include "overlay/layout/desktop_sync.h"
#include "video_plan.h"

#include <map>

namespace spice_overlay::fuzz {
namespace {

int coordinate(Input &in)
{
    return in.rarely(8) ? in.pick({-wire::kMaxCoordinate, wire::kMaxCoordinate, -1, 1 << 14}) : in.range(-6, 20);
}

wire::Rect wire_rect(Input &in)
{
    auto size = [&] { return static_cast<std::uint32_t>(std::abs(coordinate(in))); };
    const int x = coordinate(in);
    const int y = coordinate(in);
    const std::uint32_t width = size();
    return {x, y, width, size()};
}

class Display {
public:
    void run(Input &in)
    {
        resize(in);
        for (int steps = 0; steps < 24 && !in.empty(); ++steps) {
            step(in);
            check(in);
        }
    }

private:
    [[nodiscard]] GuestRect bounds() const { return {{0, 0, width_, height_}}; }

    void resize(Input &in)
    {
        width_ = in.range(1, 16);
        height_ = in.range(1, 16);
        pixels_.assign(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_),
                       0); // exactly as much: a sanitizer sees what is beyond
        sync_.set_live({pixels_.data(), width_, width_, height_});
    }

    void step(Input &in)
    {
        const auto id = static_cast<std::uint32_t>(in.byte() % 3);
        now_ += in.byte() * 2'000'000;
        switch (in.byte() % 8) {
        case 0:
            return in.rarely(8) ? resize(in) : sync_.remove(id);
        case 1:
            return sync_.set_showing(id, in.byte() % 4 != 0);
        case 2:
        case 3: {
            wire::Geometry g;
            g.serial = ++serial_;
            g.target = wire_rect(in);
            g.visible.resize(in.byte() % 5u);
            for (wire::Rect &r : g.visible)
                r = in.rarely(2) ? g.target : wire_rect(in);
            if (!in.rarely(4))
                g.placeholder = 0x102030 + id * 0x404040;
            const VideoGeometry geometry(g, bounds());
            const GuestRegion clip = geometry.target.intersected(bounds());
            require((geometry.visible - clip).empty(), "what is seen lies in the target and on the display");
            painted_[id] = geometry;
            return sync_.geometry(id, geometry, now_);
        }
        case 4: // the guest paints the placeholder where it says
            for (const Box &b : painted_[id].visible.boxes()) {
                const GuestRect r = GuestRect{b}.intersected(bounds());
                paint(r, 0x102030 + id * 0x404040);
                sync_.damaged(r, now_);
            }
            return;
        default: { // and anything else
            const int x = coordinate(in);
            const int y = coordinate(in);
            const int width = in.range(0, 20);
            const GuestRect r = GuestRect::from_size(x, y, width, in.range(0, 20));
            paint(r.intersected(bounds()), in.pick<std::uint32_t>({0, 0xffffff, 0x102030, 0x505060}));
            sync_.damaged(r, now_);
        }
        }
    }

    void paint(const GuestRect &r, std::uint32_t colour)
    {
        for (int y = r.y1; y < r.y2; ++y)
            for (int x = r.x1; x < r.x2; ++x)
                pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x)] =
                    colour;
    }

    void check(Input &in)
    {
        const DesktopSync::Released released = sync_.advance(now_);
        require((released.damage - GuestRegion(bounds())).empty(), "no damage outside the display");
        const std::int64_t deadline = sync_.deadline();
        require(deadline < 0 || deadline > now_, "what was due is done");
        const Picture picture = sync_.released();
        require(picture.width == width_ && picture.height == height_, "a released picture is as large as the display");
        std::uint32_t sum = 0;
        for (int y = 0; y < picture.height; ++y)
            for (int x = 0; x < picture.width; ++x)
                sum += picture.row(y)[x];
        std::vector<PlannedStream> streams{{7, nullptr}};
        for (std::uint32_t id = 0; id < 3; ++id)
            streams.push_back({id, sync_.applied(id)});
        plan(in, streams);
        sum_ += sum;
    }

    void plan(Input &in, const std::vector<PlannedStream> &streams)
    {
        const int x = in.range(-10, 10);
        const int width = in.range(0, 200);
        const int height = in.range(0, 200);
        const Fit fit(width_, height_, x, 0, width, height, in.pick({1.0, 1.25, 1.5, 2.0, 3.0}));
        const Plan plan = make_plan(streams, fit);
        require(fit.empty() ? plan.videos.empty() : plan.videos.size() == streams.size(), "every stream has its place");
        GuestRegion visible;
        for (const PlannedStream &s : streams)
            if (s.geometry)
                visible |= s.geometry->visible;
        require((visible - GuestRegion(bounds())).empty(), "nothing is seen outside the display");
        require((plan.hole - visible).empty(), "no hole but where a video is seen");
        for (const VideoPlan &video : plan.videos) {
            require(*name(video.placement), "a placement has a name");
            if (video.placement == Placement::kHidden)
                continue;
            const auto stream = std::find_if(streams.begin(), streams.end(),
                                             [&](const PlannedStream &s) { return s.stream == video.stream; });
            const GuestRect clip = stream->geometry->target.intersected(bounds());
            require_in_place(video, clip, fit);
            if (video.placement == Placement::kAbove)
                require((GuestRegion(clip) - stream->geometry->visible).empty(), "what is above is seen whole");
        }
    }

    int width_ = 0;
    int height_ = 0;
    std::vector<std::uint32_t> pixels_;
    DesktopSync sync_;
    std::map<std::uint32_t, VideoGeometry> painted_;
    std::uint32_t serial_ = 0;
    std::uint32_t sum_ = 0;
    std::int64_t now_ = 1'000'000'000;
};

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    spice_overlay::fuzz::Input in(data, size);
    spice_overlay::fuzz::Display().run(in);
    return 0;
}
