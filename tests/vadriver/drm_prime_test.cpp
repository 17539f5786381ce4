// SPDX-License-Identifier: LGPL-2.1-or-later
// What FFmpeg gives out as DRM PRIME. No decoder of it does so on a machine without the hardware; but it describes any driver's surfaces in
// that way when they are mapped, and those go through the same function.
#include "dmabuf/decoder/hardware.h"

#include "dmabuf/decoder/codec.h"
#include "dmabuf/fence.h"
#include "dmabuf/memfd.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_drm.h>
}

#include <gtest/gtest.h>

#include <fcntl.h>

#include <cstring>
#include <memory>

namespace spice_overlay {
namespace {

struct FreeFrame {
    void operator()(AVFrame *frame) const { av_frame_free(&frame); }
};
using Frame = std::unique_ptr<AVFrame, FreeFrame>;

/// The libva driver of the tests, in this process.
class DrmPrimeFrames : public testing::TestWithParam<AVPixelFormat> {
protected:
    void SetUp() override
    {
        auto opened = open_vaapi(node_.get(), false, Image::Backing::kStandIn);
        ASSERT_TRUE(opened) << opened.error().message;
        device_ = std::move(*opened);
        frames_ = av_hwframe_ctx_alloc(device_->device());
        auto *context = reinterpret_cast<AVHWFramesContext *>(frames_->data);
        context->format = AV_PIX_FMT_VAAPI;
        context->sw_format = GetParam();
        context->width = 96;
        context->height = 64;
        ASSERT_GE(av_hwframe_ctx_init(frames_), 0);
    }
    void TearDown() override { av_buffer_unref(&frames_); }

    /// A surface, as a decoder that gives out DRM PRIME would.
    Frame mapped()
    {
        const Frame surface(av_frame_alloc());
        EXPECT_GE(av_hwframe_get_buffer(frames_, surface.get(), 0), 0);
        Frame frame(av_frame_alloc());
        frame->format = AV_PIX_FMT_DRM_PRIME;
        EXPECT_GE(av_hwframe_map(frame.get(), surface.get(), AV_HWFRAME_MAP_READ), 0);
        frame->width = surface->width;
        frame->height = surface->height;
        return frame;
    }

    const UniqueFd node_{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    std::unique_ptr<Hardware> device_;
    AVBufferRef *frames_ = nullptr;
};

TEST_P(DrmPrimeFrames, of_ffmpeg_are_one_image_whose_descriptors_outlive_them)
{
    Frame frame = mapped();
    const auto *descriptor = reinterpret_cast<const AVDRMFrameDescriptor *>(frame->data[0]);
    EXPECT_EQ(descriptor->nb_layers, GetParam() == AV_PIX_FMT_BGR0 ? 1 : 2) << "FFmpeg asks for separate layers";
    auto image = image_of_drm_prime(*frame, Image::Backing::kStandIn);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->fourcc(), GetParam() == AV_PIX_FMT_NV12   ? kFourccNv12
                               : GetParam() == AV_PIX_FMT_P010 ? kFourccP010
                                                               : kFourccXrgb8888);
    EXPECT_EQ(image->width(), 96u);
    EXPECT_EQ(image->height(), 64u);
    EXPECT_EQ(image->modifier(), kModifierLinear);
    frame.reset();
    EXPECT_TRUE(dmabuf_size(image->plane(0).fd, Image::Backing::kStandIn));
}

TEST_P(DrmPrimeFrames, that_lie_are_refused)
{
    const auto refused = [&](const char *why, auto lie) {
        const Frame frame = mapped();
        const auto *said = reinterpret_cast<const AVDRMFrameDescriptor *>(frame->data[0]);
        AVDRMFrameDescriptor descriptor = *said;
        lie(descriptor, *frame);
        frame->data[0] = reinterpret_cast<std::uint8_t *>(&descriptor);
        EXPECT_FALSE(image_of_drm_prime(*frame, Image::Backing::kStandIn)) << why;
        frame->data[0] = reinterpret_cast<std::uint8_t *>(const_cast<AVDRMFrameDescriptor *>(said));
    };
    refused("no memory", [](auto &d, auto &) { d.nb_objects = 0; });
    refused("more objects than there can be", [](auto &d, auto &) { d.nb_objects = 1000; });
    refused("negative objects", [](auto &d, auto &) { d.nb_objects = -1; });
    refused("an object that is closed", [](auto &d, auto &) { d.objects[0].fd = -1; });
    refused("more layers than there can be", [](auto &d, auto &) { d.nb_layers = 1000; });
    refused("no layers", [](auto &d, auto &) { d.nb_layers = 0; });
    refused("a layer without planes", [](auto &d, auto &) { d.layers[0].nb_planes = 0; });
    refused("more planes than there can be", [](auto &d, auto &) { d.layers[0].nb_planes = 1000; });
    refused("an unknown format", [](auto &d, auto &) { d.layers[0].format = 0; });
    refused("a plane in no object", [](auto &d, auto &) { d.layers[0].planes[0].object_index = 3; });
    refused("a plane before its object", [](auto &d, auto &) { d.layers[0].planes[0].object_index = -1; });
    refused("an offset beyond 32 bits", [](auto &d, auto &) { d.layers[0].planes[0].offset = PTRDIFF_MAX; });
    refused("a negative stride", [](auto &d, auto &) { d.layers[0].planes[0].pitch = -96; });
    refused("lines beyond the memory", [](auto &d, auto &) { d.layers[0].planes[0].pitch = 1 << 16; });
    refused("a width of nothing", [](auto &, auto &f) { f.width = 0; });
    refused("a negative height", [](auto &, auto &f) { f.height = -64; });
    refused("a picture larger than its memory", [](auto &, auto &f) { f.height = 4096; });
}

INSTANTIATE_TEST_SUITE_P(formats, DrmPrimeFrames, testing::Values(AV_PIX_FMT_NV12, AV_PIX_FMT_P010, AV_PIX_FMT_BGR0));

TEST(DrmPrime, decoders_are_found_by_what_they_say_of_themselves)
{
    const auto config = [](AVPixelFormat format, int methods, AVHWDeviceType device) {
        AVCodecHWConfig c{};
        c.pix_fmt = format;
        c.methods = methods;
        c.device_type = device;
        return c;
    };
    constexpr int kInternal = AV_CODEC_HW_CONFIG_METHOD_INTERNAL;
    constexpr int kDevice = AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX;
    constexpr int kFrames = AV_CODEC_HW_CONFIG_METHOD_HW_FRAMES_CTX;
    const auto rkmpp = config(AV_PIX_FMT_DRM_PRIME, kInternal, AV_HWDEVICE_TYPE_NONE);
    const auto stateless = config(AV_PIX_FMT_DRM_PRIME, kDevice | kInternal, AV_HWDEVICE_TYPE_DRM);
    const auto other = config(AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_VULKAN);
    const auto vaapi = config(AV_PIX_FMT_VAAPI, kDevice | kFrames, AV_HWDEVICE_TYPE_VAAPI);
    const auto by_frames = config(AV_PIX_FMT_DRM_PRIME, kFrames, AV_HWDEVICE_TYPE_DRM);
    EXPECT_TRUE(gives_out(rkmpp, AV_PIX_FMT_DRM_PRIME, kInternal));
    EXPECT_FALSE(gives_out(rkmpp, AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_DRM));
    EXPECT_TRUE(gives_out(stateless, AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_DRM));
    EXPECT_FALSE(gives_out(other, AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_DRM));
    EXPECT_FALSE(gives_out(vaapi, AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_DRM));
    EXPECT_TRUE(gives_out(vaapi, AV_PIX_FMT_VAAPI, kDevice));
    EXPECT_FALSE(gives_out(by_frames, AV_PIX_FMT_DRM_PRIME, kDevice, AV_HWDEVICE_TYPE_DRM));
}

TEST(DrmPrime, table_tries_each_way_once_and_says_what_is_missing)
{
    const UniqueFd node(::open("/dev/null", O_RDWR | O_CLOEXEC));
    std::vector<std::string> names;
    for (const HardwareDriver &driver : hardware_drivers()) {
        names.emplace_back(driver.name);
        auto opened = driver.open(node.get(), true, Image::Backing::kStandIn);
        if (!opened) {
            EXPECT_FALSE(opened.error().message.empty()) << driver.name;
            continue;
        }
        // What has a decoder says so by FFmpeg's own table, and what it gives out is its format.
        if (const AVCodec *codec = (*opened)->codec(AV_CODEC_ID_H264)) {
            bool listed = false;
            for (int i = 0; const AVCodecHWConfig *config = avcodec_get_hw_config(codec, i); ++i)
                listed = listed || config->pix_fmt == (*opened)->format();
            EXPECT_TRUE(listed) << driver.name;
        }
    }
    EXPECT_EQ(names, (std::vector<std::string>{"VA-API", "DRM PRIME", "DRM PRIME by a device", "Vulkan"}));
}

/// As rkmpp's: no device has been opened for it, and the decoder keeps what it wants there.
AVBufferRef *context_of_a_decoder(int *freed)
{
    AVBufferRef *device = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_DRM);
    AVBufferRef *frames = av_hwframe_ctx_alloc(device);
    av_buffer_unref(&device);
    auto *context = reinterpret_cast<AVHWFramesContext *>(frames->data);
    context->user_opaque = freed;
    context->free = [](AVHWFramesContext *ended) { ++*static_cast<int *>(ended->user_opaque); };
    return frames;
}

Frame frame_of(AVBufferRef *frames)
{
    Frame frame(av_frame_alloc());
    frame->hw_frames_ctx = av_buffer_ref(frames);
    return frame;
}

// A generation of 0 would pass for one that nothing is known of, and so has nothing to prove.
TEST(SurfacesOfADecoderItself, are_a_generation_each_time_that_it_makes_them)
{
    int freed = 0;
    std::uint64_t last = 0;
    AVBufferRef *first = context_of_a_decoder(&freed);
    AVBufferRef *second = context_of_a_decoder(&freed);
    {
        const Frame frames[] = {frame_of(first), frame_of(first), frame_of(second), frame_of(first)};
        EXPECT_EQ(VideoCodec::generation_of(*frames[0]), 0u);
        const std::uint64_t expected[] = {1, 1, 2, 1};
        for (std::size_t i = 0; i < std::size(frames); ++i) {
            VideoCodec::name_generation(*frames[i], last);
            EXPECT_EQ(VideoCodec::generation_of(*frames[i]), expected[i]) << i;
        }
    }
    EXPECT_EQ(last, 2u);
    av_buffer_unref(&first);
    av_buffer_unref(&second);
    EXPECT_EQ(freed, 2) << "what the decoder keeps there is the decoder's to free";
}

} // namespace
} // namespace spice_overlay
