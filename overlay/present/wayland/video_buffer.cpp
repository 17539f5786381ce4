// SPDX-License-Identifier: LGPL-2.1-or-later
#include "video_buffer.h"

#include "single_event.h"

#include <drm_fourcc.h>
#include <wayland-client.h>

namespace spice_overlay {

struct VideoBufferEvents {
    static void release(VideoBuffer *b)
    {
        if (auto call = b->on_release)
            call();
    }
};

Result<std::shared_ptr<VideoBuffer>> VideoBuffer::create(WaylandConnection &connection, FrameBuffer frame)
{
    if (frame.size > INT32_MAX || !connection.shm_takes(frame.fourcc))
        return Error{"the compositor does not take the decoder's frame format in shared memory"};
    std::shared_ptr<VideoBuffer> b(new VideoBuffer);
    b->width_ = static_cast<int>(frame.width);
    b->height_ = static_cast<int>(frame.height);
    b->fourcc_ = frame.fourcc;
    wl_shm_pool *pool = wl_shm_create_pool(connection.shm(), frame.fd.get(), static_cast<std::int32_t>(frame.size));
    // wl_shm names XRGB8888 by a number of its own; every other format has its DRM fourcc.
    std::uint32_t format = frame.fourcc == DRM_FORMAT_XRGB8888 ? std::uint32_t{WL_SHM_FORMAT_XRGB8888} : frame.fourcc;
    b->buffer_ = wl_shm_pool_create_buffer(pool, static_cast<std::int32_t>(frame.planes[0].offset), b->width_, b->height_,
                                           static_cast<std::int32_t>(frame.planes[0].stride), format);
    wl_shm_pool_destroy(pool);
    if (!b->buffer_)
        return Error{"a video buffer cannot be made: out of memory"};
    listen_to_single_event<VideoBufferEvents::release>(b->buffer_, b.get());
    return b;
}

VideoBuffer::~VideoBuffer()
{
    if (buffer_)
        wl_buffer_destroy(buffer_);
}

} // namespace spice_overlay
