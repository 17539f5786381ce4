// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vulkan.h>
}

#include <unistd.h>

namespace spice_overlay {

namespace {

struct FreeFrame {
    void operator()(AVFrame *frame) const { av_frame_free(&frame); }
};

/// Vulkan's video decoding, on the GPU whose render node was given.
class Vulkan : public Hardware {
public:
    /// Takes over `device`.
    Vulkan(AVBufferRef *device, Image::Backing backing) : device_(device), backing_(backing) {}
    ~Vulkan() override { av_buffer_unref(&device_); }

    [[nodiscard]] std::string name() const override { return "Vulkan"; }
    [[nodiscard]] const AVCodec *codec(AVCodecID id) const override
    {
        return find_hardware_decoder(id, AV_PIX_FMT_VULKAN, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                                     AV_HWDEVICE_TYPE_VULKAN);
    }
    [[nodiscard]] AVBufferRef *device() const override { return device_; }
    [[nodiscard]] AVPixelFormat format() const override { return AV_PIX_FMT_VULKAN; }

    /// An AVVkFrame stays the same from one use to the next, while its pool lives.
    [[nodiscard]] std::uint64_t surface(const AVFrame &frame) const override
    {
        return reinterpret_cast<std::uintptr_t>(frame.data[0]);
    }

    /// FFmpeg waits for the picture when it exports it, and has no other way to wait that needs no Vulkan here: so each is exported,
    /// known or not.
    [[nodiscard]] Status finish(const AVFrame &frame, std::optional<Image> *memory) const override
    {
        const std::unique_ptr<AVFrame, FreeFrame> exported(av_frame_alloc());
        if (!exported)
            return Error{"out of memory"};
        exported->format = AV_PIX_FMT_DRM_PRIME;
        if (av_hwframe_map(exported.get(), &frame, AV_HWFRAME_MAP_READ) < 0)
            return Error{"the driver does not export its memory"};
        if (!memory)
            return Success{};
        exported->width = frame.width;
        exported->height = frame.height;
        auto image = image_of_drm_prime(*exported, backing_);
        if (!image)
            return image.error();
        *memory = std::move(*image);
        return Success{};
    }

private:
    AVBufferRef *device_;
    Image::Backing backing_;
};

} // namespace

Result<std::unique_ptr<Hardware>> open_vulkan(int render_node, bool, Image::Backing backing)
{
    if (!find_hardware_decoder(AV_CODEC_ID_NONE, AV_PIX_FMT_VULKAN, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                               AV_HWDEVICE_TYPE_VULKAN))
        return Error{"this FFmpeg decodes nothing by it"};
    AVBufferRef *node = drm_device(render_node);
    if (!node)
        return Error{"FFmpeg does not take the GPU's render node"};
    AVBufferRef *device = nullptr;
    const int error = av_hwdevice_ctx_create_derived(&device, AV_HWDEVICE_TYPE_VULKAN, node, 0);
    av_buffer_unref(&node);
    if (error < 0)
        return Error{"there is no driver for the GPU (is its package installed? vulkaninfo tells more)"};
    return std::unique_ptr<Hardware>(std::make_unique<Vulkan>(device, backing));
}

void make_exportable(AVBufferRef *frames)
{
    auto *context = reinterpret_cast<AVHWFramesContext *>(frames->data);
    if (context->format == AV_PIX_FMT_VULKAN)
        static_cast<AVVulkanFramesContext *>(context->hwctx)->tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT;
}

} // namespace spice_overlay
