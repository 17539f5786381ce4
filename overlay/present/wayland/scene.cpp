// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scene.h"

#include <wayland-client.h>

#include <algorithm>

namespace spice_overlay {

namespace {

/// Whether anything of the desktop is seen between the videos above it.
bool leaves_something(const Plan &plan, const Fit &fit)
{
    SurfaceRegion seen = SurfaceRect::from_size(0, 0, fit.width, fit.height);
    for (const VideoPlan &v : plan.videos)
        if (v.placement == Placement::kAbove)
            seen -= v.rect;
    return !seen.empty();
}

} // namespace

Result<std::unique_ptr<Scene>> Scene::create(WaylandConnection &connection, wl_surface *parent,
                                             std::function<void()> on_ready)
{
    std::unique_ptr<Scene> scene(new Scene(connection));
    auto desktop = DesktopSurface::create(connection, parent, std::move(on_ready));
    if (!desktop)
        return desktop.error();
    scene->desktop_ = std::move(*desktop);
    auto backdrop = Backdrop::create(connection, parent);
    if (!backdrop)
        return backdrop.error();
    scene->backdrop_ = std::move(*backdrop);
    scene->backdrop_->place_below(scene->desktop_->surface());
    return scene;
}

VideoSurface &Scene::add(std::uint32_t stream, std::uint16_t rotation, VideoSurface::Listener &listener)
{
    // Its number may have been another stream's on a connection before.
    std::erase_if(plan_.videos, [stream](const VideoPlan &v) { return v.stream == stream; });
    Video &video = videos_[stream] = {};
    video.surface = std::make_unique<VideoSurface>(connection_, desktop_->surface(), rotation, listener);
    return *video.surface;
}

VideoSurface *Scene::find(std::uint32_t stream)
{
    auto it = videos_.find(stream);
    return it == videos_.end() ? nullptr : it->second.surface.get();
}

/// Puts the videos below the desktop and those above it in the plan's order.
void Scene::restack(const Plan &plan)
{
    auto stack = [&](const VideoPlan &v, Placement wanted, auto *request) {
        if (VideoSurface *surface = v.placement == wanted ? find(v.stream) : nullptr)
            request(surface->subsurface(), desktop_->surface());
    };
    // Each goes directly next to the desktop, so the last one placed is the nearest to it.
    for (const VideoPlan &v : plan.videos)
        stack(v, Placement::kBelow, wl_subsurface_place_below);
    for (auto v = plan.videos.rbegin(); v != plan.videos.rend(); ++v)
        stack(*v, Placement::kAbove, wl_subsurface_place_above);
}

void Scene::begin_layout(bool below_parent)
{
    desktop_->set_synchronised(true);
    desktop_->place(below_parent);
    if (std::exchange(below_parent_, below_parent) != below_parent)
        backdrop_->place_below(desktop_->surface());
}

/// All of the space, or nothing where the desktop leaves nothing over: a surface that nobody sees need not be there.
void Scene::cover_around(const Fit &fit)
{
    const bool nothing = fit.empty() || (fit.width >= space_.width() && fit.height >= space_.height());
    const Box wanted = nothing ? Box() : space_;
    if (wanted == black_)
        return;
    black_ = wanted;
    backdrop_->cover(black_.x1, black_.y1, black_.width(), black_.height());
}

void Scene::clear()
{
    cover_around({});
    desktop_->clear();
}

void Scene::hide_videos()
{
    std::vector<VideoSurface *> hidden;
    for (auto &[stream, video] : videos_) {
        if (video.plan.placement == Placement::kHidden)
            continue;
        video.plan = {};
        video.surface->arrange(video.plan);
        hidden.push_back(video.surface.get());
    }
    if (hidden.empty())
        return;
    desktop_->commit_state();
    for (VideoSurface *surface : hidden)
        surface->finish();
    for (VideoPlan &v : plan_.videos)
        v.placement = Placement::kHidden;
    connection_.flush();
}

bool Scene::commit(const Picture &picture, const GuestRegion &damage, const Plan &plan, const Fit &fit)
{
    if (!desktop_->has_free_buffer() || fit.empty())
        return false;
    auto order = [](const Plan &p) {
        std::vector<std::pair<std::uint32_t, Placement>> list;
        for (const VideoPlan &v : p.videos)
            list.emplace_back(v.stream, v.placement);
        return list;
    };
    desktop_->set_fit(fit);
    cover_around(fit);
    if (order(plan) != order(plan_))
        restack(plan);

    std::vector<VideoSurface *> arranged;
    for (auto &[stream, video] : videos_) {
        auto planned = std::find_if(plan.videos.begin(), plan.videos.end(),
                                    [id = stream](const VideoPlan &v) { return v.stream == id; });
        VideoPlan wanted = planned == plan.videos.end() ? VideoPlan{} : *planned;
        if (wanted == video.plan)
            continue;
        video.surface->arrange(wanted);
        video.plan = wanted;
        arranged.push_back(video.surface.get());
    }
    bool committed = desktop_->commit(picture, damage, plan.hole, leaves_something(plan, fit));
    for (VideoSurface *surface : arranged)
        surface->finish();
    std::erase_if(videos_, [&plan](const auto &entry) {
        return std::none_of(plan.videos.begin(), plan.videos.end(),
                            [&entry](const VideoPlan &v) { return v.stream == entry.first; });
    });
    plan_ = plan;
    connection_.flush();
    return committed;
}

} // namespace spice_overlay
