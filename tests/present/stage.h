// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "compositor.h"
#include "frames.h"
#include "overlay/present/wayland/scene.h"
#include "overlay/present/wayland/transport.h"

#include <gtest/gtest.h>
#include <wayland-client.h>

#include <memory>
#include <string>
#include <vector>

namespace spice_overlay {

/// A scene with one video, 64x32 guest pixels, before a compositor that writes down what it is told.
class Stage : public testing::Test, protected VideoSurface::Listener {
protected:
    ~Stage() override
    {
        scene.reset();
        if (parent_)
            wl_surface_destroy(parent_);
        connection.reset();
    }

    void begin(std::vector<std::string> without = {})
    {
        compositor = std::make_unique<Compositor>(Compositor::Offer{4, {kFourccYu12}, {}, std::move(without)});
        compositor->send_feedback(1, {{kFourccYu12, kModifierLinear}}, {{{0}}});
        auto made = compositor->serving(
            [&] { return WaylandConnection::connect(compositor->display, DmabufUse::kAlways); });
        ASSERT_TRUE(made) << made.error().message;
        connection = std::move(*made);
        static_cast<void>(connection->transport().offer());
        parent_ = wl_compositor_create_surface(connection->compositor());
        auto scene_made = Scene::create(*connection, parent_, [] {});
        ASSERT_TRUE(scene_made);
        scene = std::move(*scene_made);
        scene->add(1, 0, *this);
        compositor->exchange();
    }

    /// A frame whose picture has so many lines of its buffer's 32. `as_dmabuf`: the compositor accepts it, else it goes by wl_shm.
    std::shared_ptr<VideoFrame> make_frame(std::uint32_t lines = 32, bool as_dmabuf = true)
    {
        FrameBuffer memory = test_frame();
        if (!as_dmabuf)
            memory.image.reset();
        auto buffer = VideoBuffer::create(*connection, std::move(memory), [](bool) {}).value();
        compositor->exchange();
        if (as_dmabuf)
            compositor->accept(compositor->requests.size() - 1);
        compositor->exchange();
        EXPECT_TRUE(buffer->ready());
        DecodedFrame decoded{};
        decoded.crop = {0, 0, 64, lines};
        return std::make_shared<VideoFrame>(std::move(buffer), decoded, [this] { ++released; });
    }

    void show(const VideoFramePtr &frame) { scene->find(1)->show(frame); }

    /// Commits the desktop, fitted into this space of the window, and the video.
    void commit(const Box &space, const Plan &plan = hidden())
    {
        const std::vector<std::uint32_t> pixels(std::size_t{64} * 32);
        scene->set_space(space);
        EXPECT_TRUE(scene->commit({pixels.data(), 64, 64, 32}, {}, plan,
                                  Fit(64, 32, space.x1, space.y1, space.width(), space.height())));
        compositor->exchange();
    }

    static Plan hidden()
    {
        Plan plan;
        plan.videos.push_back({1, Placement::kHidden, {}, {}, {}});
        return plan;
    }
    static Plan whole_display()
    {
        Plan plan;
        plan.videos.push_back({1, Placement::kAbove, SurfaceRect::from_size(0, 0, 640, 320), {}, {}});
        return plan;
    }

    [[nodiscard]] Surfaces::Surface &parent() const { return *compositor->surfaces->list.at(0); }
    [[nodiscard]] Surfaces::Surface &desktop() const { return *compositor->surfaces->list.at(1); }
    [[nodiscard]] Surfaces::Surface &backdrop() const { return *compositor->surfaces->list.at(2); }
    [[nodiscard]] Surfaces::Surface &video() const { return *compositor->surfaces->list.at(3); }

    std::unique_ptr<Compositor> compositor;
    std::unique_ptr<WaylandConnection> connection;
    std::unique_ptr<Scene> scene;
    unsigned released = 0; ///< frames that nobody holds any more

private:
    void frame_committed(const VideoFrame &, std::int64_t) override {}
    void frame_shown(const VideoFrame &) override {}
    void frame_presented(const VideoFrame &, const VideoSurface::Presentation &) override {}
    void frame_replaced(const VideoFrame &, bool) override {}

    wl_surface *parent_ = nullptr;
};

} // namespace spice_overlay
