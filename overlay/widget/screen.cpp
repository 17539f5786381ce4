// SPDX-License-Identifier: LGPL-2.1-or-later
#include "screen.h"

#include "overlay/layout/damage.h"

namespace spice_overlay {

Status Screen::attach(WaylandConnection &connection, wl_surface *parent, std::function<void()> on_ready)
{
    auto scene = Scene::create(connection, parent, std::move(on_ready));
    if (!scene)
        return scene.error();
    scene_ = std::move(*scene);
    damage_ = picture_.bounds();
    dirty_ = true;
    for (auto &[id, stream] : streams_) {
        VideoSurface &surface = scene_->add(id, stream.rotation, *stream.listener);
        if (stream.newest)
            surface.show(stream.newest);
    }
    return Success{};
}

void Screen::detach()
{
    scene_.reset();
    drop_outdated();
}

void Screen::set_picture(const Picture &picture, std::int64_t now)
{
    picture_ = picture;
    gone_ = gone_ && !picture.pixels;
    sync_.set_live(picture);
    for (auto &[id, stream] : streams_) {
        stream.fresh.clear();
        if (stream.geometry)
            sync_.geometry(id, VideoGeometry(*stream.geometry, picture.bounds()), now);
    }
    dirty_ = true;
}

bool Screen::set_space(int x, int y, int width, int height, double output_scale)
{
    int space[4] = {x, y, width, height};
    if (std::equal(space, space + 4, space_) && output_scale == output_scale_)
        return false;
    output_scale_ = output_scale;
    std::copy(space, space + 4, space_);
    dirty_ = true;
    return true;
}

Fit Screen::fit() const
{
    return Fit(picture_.width, picture_.height, space_[0], space_[1], space_[2], space_[3], output_scale_);
}

void Screen::add_stream(std::uint32_t stream, std::uint16_t rotation, VideoSurface::Listener &listener)
{
    streams_[stream] = {rotation, &listener, nullptr, false, {}, {}, 0};
    if (scene_)
        scene_->add(stream, rotation, listener);
    dirty_ = true;
}

void Screen::remove_stream(std::uint32_t stream)
{
    streams_.erase(stream);
    sync_.remove(stream);
    dirty_ = true;
}

void Screen::geometry(std::uint32_t stream, const wire::Geometry &geometry, std::int64_t now)
{
    auto it = streams_.find(stream);
    if (it == streams_.end())
        return;
    it->second.geometry = geometry;
    auto &fresh = it->second.fresh;
    if (!fresh.empty() && (it->second.taken + fresh.size() == kMostFresh || !it->second.newest))
        fresh.pop_front();
    fresh.emplace_back(geometry, now);
}

void Screen::damaged(const GuestRect &rect, std::int64_t now)
{
    // It may be what they wait for. Of those that are too many the newest may still come.
    for (auto &[id, stream] : streams_)
        if (stream.taken + stream.fresh.size() < kMostFresh)
            take_fresh(id, stream);
    sync_.damaged(rect, now);
}

void Screen::take_fresh(std::uint32_t id, Stream &stream)
{
    for (const auto &[geometry, since] : stream.fresh)
        sync_.geometry(id, VideoGeometry(geometry, picture_.bounds()), since);
    stream.taken += stream.fresh.size();
    stream.fresh.clear();
}

void Screen::show(std::uint32_t id, VideoFramePtr frame)
{
    auto it = streams_.find(id);
    if (it == streams_.end())
        return;
    if (!it->second.newest) {
        sync_.set_showing(id, true);
        dirty_ = true;
    }
    it->second.newest = frame;
    it->second.outdated = false;
    if (VideoSurface *surface = scene_ ? scene_->find(id) : nullptr)
        surface->show(std::move(frame));
}

void Screen::flush(std::uint32_t id)
{
    auto it = streams_.find(id);
    if (it == streams_.end())
        return;
    VideoSurface *surface = scene_ ? scene_->find(id) : nullptr;
    it->second.newest = surface ? surface->forget_unshown() : nullptr;
    it->second.outdated = it->second.newest != nullptr;
    if (it->second.outdated)
        return;
    sync_.set_showing(id, false);
    dirty_ = true;
}

/// Of videos that are hidden. Returns whether there was any.
bool Screen::drop_outdated()
{
    bool any = false;
    for (const auto &[id, stream] : streams_)
        if (stream.outdated && placement(id) == Placement::kHidden) {
            flush(id);
            any = true;
        }
    return any;
}

VideoFramePtr Screen::newest(std::uint32_t stream) const
{
    auto it = streams_.find(stream);
    return it == streams_.end() ? nullptr : it->second.newest;
}

Placement Screen::placement(std::uint32_t stream) const
{
    if (scene_)
        for (const VideoPlan &video : scene_->plan().videos)
            if (video.stream == stream)
                return video.placement;
    return Placement::kHidden;
}

Plan Screen::plan() const
{
    std::vector<PlannedStream> planned;
    for (const auto &[id, stream] : streams_)
        planned.push_back({id, stream.newest ? sync_.applied(id) : nullptr});
    return make_plan(planned, fit());
}

void Screen::update(std::int64_t now, bool at_once)
{
    if (scene_ && gone_ && at_once) {
        scene_->clear();
        gone_ = false;
    }
    if (scene_ && !picture_.pixels) {
        scene_->hide_videos(); // what they belong to is no more
        drop_outdated();
    }
    if (!scene_ || !picture_.pixels)
        return;
    waits_ = !at_once && (ready_at() < 0 || now < ready_at());
    if (waits_)
        return;
    for (auto &[id, stream] : streams_) {
        take_fresh(id, stream);
        stream.taken = 0;
    }
    DesktopSync::Released released = sync_.advance(now);
    add_damage(damage_, released.damage);
    bool rearranged = dirty_ || released.geometry;
    if (!rearranged && damage_.empty())
        return;
    Plan wanted = rearranged ? plan() : scene_->plan();
    bool moved = wanted != scene_->plan();
    scene_->set_space({space_[0], space_[1], space_[0] + space_[2], space_[1] + space_[3]});
    if (!scene_->commit(sync_.released(), damage_, wanted, fit())) {
        dirty_ |= rearranged;
        return;
    }
    damage_ = {};
    dirty_ = false;
    waits_ = drop_outdated(); // for which damage may have been kept back
    if (!moved)
        return;
    ++statistics_.geometry_transactions;
    for (const VideoPlan &v : wanted.videos)
        ++(v.placement == Placement::kAbove   ? statistics_.placed_above
           : v.placement == Placement::kBelow ? statistics_.placed_below
                                              : statistics_.placed_hidden);
    statistics_.changed();
}

/// From when on update() need not be at once. Negative: on_ready comes first, the window's layout, or a picture.
std::int64_t Screen::ready_at() const
{
    return scene_ && picture_.pixels && !awaits_layout() ? scene_->ready_at() : -1;
}

std::int64_t Screen::deadline() const
{
    const std::int64_t ready = ready_at();
    const std::int64_t due = waits_ ? ready : sync_.deadline();
    return ready < 0 || due < 0 ? -1 : std::max(due, ready);
}

bool Screen::awaits_layout() const
{
    return scene_ && picture_.pixels && !fit().empty() && fit() != scene_->desktop().fit();
}

void Screen::begin_layout()
{
    if (scene_)
        scene_->begin_layout(covered_);
}

void Screen::end_layout()
{
    if (scene_)
        scene_->end_layout();
}

} // namespace spice_overlay
