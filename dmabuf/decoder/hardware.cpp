// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_drm.h>
}

namespace spice_overlay {

std::span<const HardwareDriver> hardware_drivers()
{
    static constexpr HardwareDriver kDrivers[] = {
        {"VA-API", open_vaapi},
        {"DRM PRIME", open_drm_prime},
        {"DRM PRIME by a device", open_drm_prime_by_device},
        {"Vulkan", open_vulkan},
    };
    return kDrivers;
}

bool gives_out(const AVCodecHWConfig &config, AVPixelFormat format, int method, AVHWDeviceType device)
{
    const bool by_device = (method & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) != 0;
    return config.pix_fmt == format && (config.methods & method) != 0
           && (!by_device || device == AV_HWDEVICE_TYPE_NONE || config.device_type == device);
}

const AVCodec *find_hardware_decoder(AVCodecID id, AVPixelFormat format, int method, AVHWDeviceType device)
{
    void *position = nullptr;
    while (const AVCodec *codec = av_codec_iterate(&position)) {
        if ((id != AV_CODEC_ID_NONE && codec->id != id) || !av_codec_is_decoder(codec))
            continue;
        for (int i = 0; const AVCodecHWConfig *config = avcodec_get_hw_config(codec, i); ++i)
            if (gives_out(*config, format, method, device))
                return codec;
    }
    return nullptr;
}

AVBufferRef *drm_device(int render_node)
{
    AVBufferRef *device = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_DRM);
    if (!device)
        return nullptr;
    auto *context = reinterpret_cast<AVHWDeviceContext *>(device->data);
    static_cast<AVDRMDeviceContext *>(context->hwctx)->fd = render_node;
    if (av_hwdevice_ctx_init(device) < 0)
        av_buffer_unref(&device);
    return device;
}

} // namespace spice_overlay
