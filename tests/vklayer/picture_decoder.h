// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
}

#include <cstdint>
#include <memory>
#include <span>

namespace spice_overlay {

/// Where an NV12 picture is to be written; both planes with lines of `pitch` bytes.
struct PictureMemory {
    std::uint8_t *luma = nullptr;
    std::uint8_t *chroma = nullptr;
    std::size_t pitch = 0;
    std::uint32_t width = 0; ///< pixels, as there is room for
    std::uint32_t height = 0;
};

/// Decodes H.264 picture by picture in software, each at once, in order of decoding. Where a real driver reads references from images,
/// this has its own copies of them: it is to be given all pictures of one stream, in order.
class PictureDecoder {
public:
    [[nodiscard]] static std::unique_ptr<PictureDecoder> open();
    ~PictureDecoder();

    /// One picture, or a field of it, in NAL units with start codes, parameter sets included. False: it cannot be decoded.
    [[nodiscard]] bool decode(std::span<const std::uint8_t> units, const PictureMemory &memory);
    void reset() { avcodec_flush_buffers(context_); }

private:
    static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags);

    AVCodecContext *context_ = nullptr;
    AVFrame *newest_ = nullptr; ///< what is decoded into, long before it would be its turn to come out
};

} // namespace spice_overlay
