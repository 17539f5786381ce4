// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

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

    /// Names the memory of a frame among all of one generation (VideoCodec::generation).
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

/// FFmpeg's first decoder of the codec that gives out frames of this format, by `method` (AV_CODEC_HW_CONFIG_METHOD_*); or null.
[[nodiscard]] const AVCodec *find_hardware_decoder(AVCodecID id, AVPixelFormat format, int method);

} // namespace spice_overlay
