// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"

namespace spice_overlay {

std::span<const HardwareDriver> hardware_drivers()
{
    static constexpr HardwareDriver kDrivers[] = {
        {"VA-API", open_vaapi},
        {"DRM PRIME", open_drm_prime},
    };
    return kDrivers;
}

const AVCodec *find_hardware_decoder(AVCodecID id, AVPixelFormat format, int method)
{
    void *position = nullptr;
    while (const AVCodec *codec = av_codec_iterate(&position)) {
        if (codec->id != id || !av_codec_is_decoder(codec))
            continue;
        for (int i = 0; const AVCodecHWConfig *config = avcodec_get_hw_config(codec, i); ++i)
            if (config->pix_fmt == format && (config->methods & method) != 0)
                return codec;
    }
    return nullptr;
}

} // namespace spice_overlay
