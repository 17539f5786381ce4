// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/format_set.h"
#include "dmabuf/image.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace spice_overlay {

/// A device that decodes into memory of its own. One thread. What takes longer than it should is the watchdog's business.
class Hardware {
public:
    virtual ~Hardware() = default;

    /// "VA-API (Intel iHD driver ...)", for people.
    [[nodiscard]] virtual std::string name() const = 0;
    /// FFmpeg's decoder that uses it; null: it has none for this codec.
    [[nodiscard]] virtual const AVCodec *codec(AVCodecID id) const = 0;
    /// AVCodecContext::hw_device_ctx, borrowed; null: the decoder opens its device itself.
    [[nodiscard]] virtual AVBufferRef *device() const = 0;
    /// The format of its frames.
    [[nodiscard]] virtual AVPixelFormat format() const = 0;

    /// Completes what FFmpeg wants of surfaces before they are made, so that their memory can be handed out in a layout that is among
    /// `accepted`. What it returns is to live as long as `frames`.
    [[nodiscard]] virtual Result<std::shared_ptr<void>> prepare(AVBufferRef *frames,
                                                                std::span<const FormatSet::Entry> accepted) const
    {
        static_cast<void>(frames);
        static_cast<void>(accepted);
        return std::shared_ptr<void>();
    }

    /// Names the memory of a frame among all of one generation (VideoCodec::generation_of).
    [[nodiscard]] virtual std::uint64_t surface(const AVFrame &frame) const = 0;
    /// Waits until the picture is there, and gives out its memory where `memory` is not null: once for each surface.
    [[nodiscard]] virtual Status finish(const AVFrame &frame, std::optional<Image> *memory) const = 0;
};

/// A way to hardware. open() may look at what it finds but decodes nothing; an error says in one line why it cannot be used.
struct HardwareDriver {
    const char *name;
    /// `render_node` is borrowed while the object lives. `wary`: leave alone what is known to be wrong.
    Result<std::unique_ptr<Hardware>> (*open)(int render_node, bool wary, Image::Backing backing);
};

/// The table of them, best first.
[[nodiscard]] std::span<const HardwareDriver> hardware_drivers();

[[nodiscard]] Result<std::unique_ptr<Hardware>> open_vaapi(int render_node, bool wary, Image::Backing backing);
[[nodiscard]] Result<std::unique_ptr<Hardware>> open_drm_prime(int render_node, bool wary, Image::Backing backing);
[[nodiscard]] Result<std::unique_ptr<Hardware>> open_drm_prime_by_device(int render_node, bool wary,
                                                                         Image::Backing backing);
[[nodiscard]] Result<std::unique_ptr<Hardware>> open_vulkan(int render_node, bool wary, Image::Backing backing);

/// Whether a decoder with this configuration gives out frames of the format, by `method` (AV_CODEC_HW_CONFIG_METHOD_*), and, where
/// that is with a device, by one of this type.
[[nodiscard]] bool gives_out(const AVCodecHWConfig &config, AVPixelFormat format, int method,
                             AVHWDeviceType device = AV_HWDEVICE_TYPE_NONE);

/// FFmpeg's first decoder of the codec with such a configuration, or null. AV_CODEC_ID_NONE: of any codec.
[[nodiscard]] const AVCodec *find_hardware_decoder(AVCodecID id, AVPixelFormat format, int method,
                                                   AVHWDeviceType device = AV_HWDEVICE_TYPE_NONE);

/// FFmpeg's handle of a device by its render node (AV_HWDEVICE_TYPE_DRM); null: it takes none. The descriptor is borrowed.
[[nodiscard]] AVBufferRef *drm_device(int render_node);

/// What a decoder says of a frame in dmabufs, as an image: of `frame` in AV_PIX_FMT_DRM_PRIME, whose descriptors stay its own.
[[nodiscard]] Result<Image> image_of_drm_prime(const AVFrame &frame, Image::Backing backing);

} // namespace spice_overlay
