// SPDX-License-Identifier: LGPL-2.1-or-later
#include "video_buffer.h"

#include "single_event.h"
#include "transport.h"

#include <drm_fourcc.h>
#include <wayland-client.h>

namespace spice_overlay {

struct VideoBufferEvents {
    static void release(VideoBuffer *b)
    {
        if (!b->release_ || !b->release_->awaited())
            b->released();
    }
};

VideoBuffer::VideoBuffer(WaylandConnection &connection, FrameBuffer frame)
    : connection_(connection),
      frame_(std::move(frame)),
      width_(static_cast<int>(frame_.width)),
      height_(static_cast<int>(frame_.height)),
      fourcc_(frame_.fourcc)
{
}

Result<std::shared_ptr<VideoBuffer>> VideoBuffer::create(WaylandConnection &connection, FrameBuffer frame,
                                                         std::function<void(bool refused)> on_settled)
{
    std::shared_ptr<VideoBuffer> b(new VideoBuffer(connection, std::move(frame)));
    const std::optional<Image> &image = b->frame_.image;
    if (image && connection.transport().takes_dmabuf(image->fourcc(), image->modifier())) {
        b->import_ = std::make_unique<DmabufImport>(
            *connection.linux_dmabuf(), *image,
            [b = b.get(), on_settled = std::move(on_settled)](wl_buffer *answer) { b->answered(answer, on_settled); });
        connection.flush();
        return b;
    }
    if (Status shared = b->share(); !shared)
        return shared.error();
    return b;
}

void VideoBuffer::answered(wl_buffer *buffer, const std::function<void(bool)> &on_settled)
{
    import_.reset();
    bool refused = false;
    if (buffer) {
        is_dmabuf_ = true;
        use(buffer);
    } else {
        refused = connection_.transport().refuse(fourcc_, frame_.image->modifier());
        static_cast<void>(share()); // ready() tells
    }
    on_settled(refused);
}

/// Gives the compositor the memory by wl_shm.
Status VideoBuffer::share()
{
    if (!frame_.fd.valid() || frame_.size > INT32_MAX || !connection_.shm_takes(fourcc_))
        return Error{"the compositor does not take the decoder's frame format in shared memory"};
    wl_shm_pool *pool = wl_shm_create_pool(connection_.shm(), frame_.fd.get(), static_cast<std::int32_t>(frame_.size));
    // wl_shm names XRGB8888 by a number of its own; every other format has its DRM fourcc.
    std::uint32_t format = fourcc_ == DRM_FORMAT_XRGB8888 ? std::uint32_t{WL_SHM_FORMAT_XRGB8888} : fourcc_;
    wl_buffer *buffer = wl_shm_pool_create_buffer(pool, static_cast<std::int32_t>(frame_.planes[0].offset), width_,
                                                  height_, static_cast<std::int32_t>(frame_.planes[0].stride), format);
    wl_shm_pool_destroy(pool);
    if (!buffer)
        return Error{"a video buffer cannot be made: out of memory"};
    use(buffer);
    return Success{};
}

void VideoBuffer::use(wl_buffer *buffer)
{
    buffer_ = buffer;
    listen_to_single_event<VideoBufferEvents::release>(buffer_, this);
    frame_.fd.reset();
    frame_.image.reset();
}

void VideoBuffer::released()
{
    if (auto call = on_release)
        call();
}

ExplicitSync::Release *VideoBuffer::release_timeline()
{
    if (is_dmabuf_ && !release_ && connection_.explicit_sync())
        release_ = connection_.explicit_sync()->release([this] { released(); });
    return release_.get();
}

std::string VideoBuffer::transport() const
{
    return (is_dmabuf_ ? "linux-dmabuf/" : "wl_shm/") + fourcc_name(fourcc_);
}

VideoBuffer::~VideoBuffer()
{
    if (buffer_)
        wl_buffer_destroy(buffer_);
}

} // namespace spice_overlay
