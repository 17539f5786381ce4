// SPDX-License-Identifier: LGPL-2.1-or-later
#include "video_surface.h"

#include "content-type-v1-client-protocol.h"
#include "portclient/base/clock.h"
#include "presentation-time-client-protocol.h"
#include "single_event.h"
#include "viewporter-client-protocol.h"

#include <drm_fourcc.h>
#include <wayland-client.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace spice_overlay {

namespace {

/// wl_surface says by how much the *buffer* was turned counter-clockwise; the compositor turns it back.
std::int32_t buffer_transform(std::uint16_t clockwise)
{
    switch (clockwise) {
    case 90:
        return WL_OUTPUT_TRANSFORM_90;
    case 180:
        return WL_OUTPUT_TRANSFORM_180;
    case 270:
        return WL_OUTPUT_TRANSFORM_270;
    default:
        return WL_OUTPUT_TRANSFORM_NORMAL;
    }
}

/// Weston uploads what the source touches, and of a chroma plane half as much from half of where that begins, both rounded down: where either
/// is odd the last samples would stay those of a frame before. The least that wl_fixed can say more makes an edge touch the next
/// pixel, if it lies between two.
void cover_chroma(double &start, double &length, int size)
{
    constexpr double kLeast = 1.0 / 256;
    double end = start + length;
    if (std::fmod(start, 2) == 1)
        start -= kLeast;
    const double last = std::ceil(end);
    if (std::fmod(last - std::floor(start), 2) == 1 && last - end <= 2 * kLeast && last < size)
        end = last + kLeast;
    length = end - start;
}

} // namespace

struct VideoSurfaceEvents {
    static void frame_done(VideoSurface *v)
    {
        wl_callback_destroy(std::exchange(v->frame_callback_, nullptr));
        v->retired_ = nullptr;
        v->listener_.frame_shown(*v->current_);
        v->send_queued();
    }

    static void sync_output(void *, struct wp_presentation_feedback *, wl_output *) {}
    static void presented(void *data, struct wp_presentation_feedback *, std::uint32_t sec_hi, std::uint32_t sec_lo,
                          std::uint32_t nsec, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t flags)
    {
        auto *v = static_cast<VideoSurface *>(data);
        auto seconds = static_cast<std::int64_t>(std::uint64_t{sec_hi} << 32 | sec_lo);
        const auto is = [flags](std::uint32_t kind) { return (flags & kind) != 0; };
        v->listener_.frame_presented(*v->measured_,
                                     {v->connection_.presentation_to_monotonic(seconds * 1'000'000'000 + nsec),
                                      is(WP_PRESENTATION_FEEDBACK_KIND_VSYNC), is(WP_PRESENTATION_FEEDBACK_KIND_HW_CLOCK),
                                      is(WP_PRESENTATION_FEEDBACK_KIND_HW_COMPLETION),
                                      is(WP_PRESENTATION_FEEDBACK_KIND_ZERO_COPY)});
        v->drop_feedback();
    }
    static void discarded(void *data, struct wp_presentation_feedback *)
    {
        static_cast<VideoSurface *>(data)->drop_feedback();
    }
};

VideoSurface::VideoSurface(WaylandConnection &connection, wl_surface *desktop, std::uint16_t rotation, Listener &listener)
    : connection_(connection), listener_(listener), rotation_(rotation)
{
    surface_ = wl_compositor_create_surface(connection.compositor());
    subsurface_ = wl_subcompositor_get_subsurface(connection.subcompositor(), surface_, desktop);
    viewport_ = wp_viewporter_get_viewport(connection.viewporter(), surface_);
    wl_region *region = wl_compositor_create_region(connection.compositor());
    wl_surface_set_input_region(surface_, region);
    wl_region_add(region, 0, 0, INT32_MAX, INT32_MAX);
    wl_surface_set_opaque_region(surface_, region);
    wl_region_destroy(region);
    wl_surface_set_buffer_transform(surface_, buffer_transform(rotation));
    if (connection.content_types()) { // a display may have a mode for films
        content_type_ = wp_content_type_manager_v1_get_surface_content_type(connection.content_types(), surface_);
        wp_content_type_v1_set_content_type(content_type_, WP_CONTENT_TYPE_V1_TYPE_VIDEO);
    }
    if (connection.colours())
        colour_ = connection.colours()->surface(surface_);
    if (connection.explicit_sync())
        sync_ = connection.explicit_sync()->surface(surface_);
    wl_subsurface_set_desync(subsurface_);
}

VideoSurface::~VideoSurface()
{
    drop_feedback();
    if (frame_callback_)
        wl_callback_destroy(frame_callback_);
    for (const VideoFramePtr &f : active_)
        f->buffer->on_release = nullptr;
    colour_.reset();
    sync_.reset();
    if (content_type_)
        wp_content_type_v1_destroy(content_type_);
    wp_viewport_destroy(viewport_);
    wl_subsurface_destroy(subsurface_);
    wl_surface_destroy(surface_);
}

/// The viewport's source for the plan's part of the frame's picture. It is in buffer pixels, turned as the picture is.
void VideoSurface::set_source(const VideoFrame &frame)
{
    const wire::Rect &picture = frame.decoded.crop;
    double px = picture.x;
    double py = picture.y;
    double pw = picture.width;
    double ph = picture.height;
    if (plan_.crop.width && plan_.crop.height) { // 16.16 coded pixels, kept inside the picture
        double x1 = std::min(plan_.crop.x / 65536.0, pw);
        double y1 = std::min(plan_.crop.y / 65536.0, ph);
        pw = std::min(plan_.crop.width / 65536.0, pw - x1);
        ph = std::min(plan_.crop.height / 65536.0, ph - y1);
        px += x1;
        py += y1;
    }
    int buffer_width = frame.buffer->width();
    int buffer_height = frame.buffer->height();
    if (rotation_ == 90) { // the picture's rectangle after turning it clockwise
        double x = buffer_height - py - ph;
        py = px;
        px = x;
        std::swap(pw, ph);
    } else if (rotation_ == 180) {
        px = buffer_width - px - pw;
        py = buffer_height - py - ph;
    } else if (rotation_ == 270) {
        double y = buffer_width - px - pw;
        px = py;
        py = y;
        std::swap(pw, ph);
    }
    if (rotation_ % 180 != 0)
        std::swap(buffer_width, buffer_height);

    // wl_fixed has 1/256 of a pixel; the source must be at least that and stay inside the buffer.
    // What is whole but for the arithmetic stays whole.
    auto snap = [](double v) { return std::floor(v * 256 + 0.01) / 256; };
    double x = snap(std::clamp(px + plan_.source.x * pw, 0.0, buffer_width - 1.0));
    double y = snap(std::clamp(py + plan_.source.y * ph, 0.0, buffer_height - 1.0));
    double w = snap(std::clamp(plan_.source.width * pw, 1.0 / 256, buffer_width - x));
    double h = snap(std::clamp(plan_.source.height * ph, 1.0 / 256, buffer_height - y));
    if (frame.buffer->fourcc() != DRM_FORMAT_XRGB8888) {
        cover_chroma(x, w, buffer_width);
        cover_chroma(y, h, buffer_height);
    }
    std::array<double, 4> source{x, y, w, h};
    if (x == 0 && y == 0 && w == buffer_width && h == buffer_height)
        source = kWhole; // a display may take a surface without a source to a plane, and no other
    if (source == source_)
        return;
    source_ = source;
    wp_viewport_set_source(viewport_, wl_fixed_from_double(source[0]), wl_fixed_from_double(source[1]),
                           wl_fixed_from_double(source[2]), wl_fixed_from_double(source[3]));
}

/// The frame's memory is the surface's with the next commit, and the compositor's to read until its release.
void VideoSurface::attach_buffer(const VideoFramePtr &frame)
{
    wl_surface_attach(surface_, frame->buffer->get(), 0, 0);
    if (colour_)
        colour_->tell(frame->decoded.colour);
    if (sync_) {
        if (ExplicitSync::Release *release = frame->buffer->release_timeline())
            sync_->attach(*release);
        else
            sync_->attach_implicit();
    }
    wl_surface_damage_buffer(surface_, 0, 0, INT32_MAX, INT32_MAX);
    if (std::find(active_.begin(), active_.end(), frame) == active_.end())
        active_.push_back(frame);
    frame->buffer->on_release = [this, raw = frame.get()] {
        std::erase_if(active_, [raw](const VideoFramePtr &f) { return f.get() == raw; });
    };
}

/// Shows a new frame with the next commit.
void VideoSurface::attach(const VideoFramePtr &frame)
{
    static const wp_presentation_feedback_listener feedback_listener = {
        VideoSurfaceEvents::sync_output, VideoSurfaceEvents::presented, VideoSurfaceEvents::discarded};

    attach_buffer(frame);
    if (!frame_callback_) {
        frame_callback_ = wl_surface_frame(surface_);
        listen_to_single_event<VideoSurfaceEvents::frame_done>(frame_callback_, this);
    }
    if (connection_.presentation() && !feedback_ && frames_++ % measure_every_ == 0) {
        feedback_ = wp_presentation_feedback(connection_.presentation(), surface_);
        wp_presentation_feedback_add_listener(feedback_, &feedback_listener, this);
        measured_ = frame;
    }
    set_current(frame);
    listener_.frame_committed(*frame, monotonic_now());
}

/// A release of a buffer that was attached again may be about the time before that. So the compositor may read the frame until it has drawn
/// the next one.
void VideoSurface::set_current(VideoFramePtr frame)
{
    if (again_ && current_ != frame)
        retired_ = std::move(current_);
    again_ = frame && current_ == frame;
    current_ = std::move(frame);
}

void VideoSurface::drop_feedback()
{
    if (feedback_)
        wp_presentation_feedback_destroy(feedback_);
    feedback_ = nullptr;
    measured_ = nullptr;
}

void VideoSurface::show(VideoFramePtr frame)
{
    if (queued_)
        listener_.frame_replaced(*queued_, !mapped_);
    queued_ = std::move(frame);
    send_queued();
}

VideoFramePtr VideoSurface::forget_unshown()
{
    if (queued_)
        listener_.frame_replaced(*std::exchange(queued_, nullptr), !mapped_);
    if (!mapped_)
        set_current(nullptr);
    return current_;
}

void VideoSurface::send_queued()
{
    if (!queued_ || !mapped_ || frame_callback_)
        return;
    VideoFramePtr frame = std::move(queued_);
    queued_ = nullptr;
    if (!current_->looks_like(*frame))
        set_source(*frame);
    attach(frame);
    wl_surface_commit(surface_);
    connection_.flush();
}

void VideoSurface::arrange(const VideoPlan &plan)
{
    bool visible = plan.placement != Placement::kHidden && has_frame();
    wl_subsurface_set_sync(subsurface_);
    if (visible) {
        if (plan.rect.x1 != plan_.rect.x1 || plan.rect.y1 != plan_.rect.y1 || !mapped_)
            wl_subsurface_set_position(subsurface_, plan.rect.x1, plan.rect.y1);
        if (plan.rect.width() != plan_.rect.width() || plan.rect.height() != plan_.rect.height() || !mapped_)
            wp_viewport_set_destination(viewport_, plan.rect.width(), plan.rect.height());
        plan_ = plan;
        if (!mapped_) {
            mapped_ = true;
            VideoFramePtr frame = queued_ ? std::move(queued_) : current_;
            queued_ = nullptr;
            set_source(*frame);
            attach(frame);
        } else {
            set_source(*current_);
            // Weston keeps damage in surface coordinates until it draws: after a change of size, that of the frame before
            // would cover another part of the buffer than it meant.
            attach_buffer(current_);
            again_ = true;
        }
    } else if (mapped_) {
        mapped_ = false;
        wl_surface_attach(surface_, nullptr, 0, 0);
        if (frame_callback_) { // an unmapped surface gets none
            wl_callback_destroy(frame_callback_);
            frame_callback_ = nullptr;
        }
    }
    wl_surface_commit(surface_);
}

void VideoSurface::finish()
{
    wl_subsurface_set_desync(subsurface_);
}

} // namespace spice_overlay
