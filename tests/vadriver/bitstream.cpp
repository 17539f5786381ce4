// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bitstream.h"

#include "interleave.h"

#include <va/va_dec_vp8.h>
#include <va/va_dec_vp9.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace spice_overlay {

namespace {

/// The beginning of a buffer as a struct; zero where it is shorter.
template <typename T>
T as(const std::vector<std::uint8_t> &bytes)
{
    T value{};
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

/// RFC 6386, section 9.1: what FFmpeg takes off before it hands a frame to a driver. The frame is always shown: whether it is to be,
/// is not told, and does not change how it is decoded.
std::vector<std::uint8_t> with_vp8_header(const Picture &picture)
{
    const auto parameters = as<VAPictureParameterBufferVP8>(picture.parameters);
    const auto slice = as<VASliceParameterBufferVP8>(picture.slice_parameters);
    const bool inter = parameters.pic_fields.bits.key_frame != 0;
    const std::uint32_t first_partition = slice.partition_size[0] + (slice.macroblock_offset + 7) / 8;
    const std::uint32_t tag =
        std::uint32_t{inter} | parameters.pic_fields.bits.version << 1 | 1u << 4 | first_partition << 5;
    std::vector<std::uint8_t> frame;
    for (int shift = 0; shift < 24; shift += 8)
        frame.push_back(static_cast<std::uint8_t>(tag >> shift));
    if (!inter) {
        frame.insert(frame.end(), {0x9d, 0x01, 0x2a});
        for (const std::uint32_t side : {parameters.frame_width, parameters.frame_height}) {
            frame.push_back(static_cast<std::uint8_t>(side));
            frame.push_back(static_cast<std::uint8_t>(side >> 8));
        }
    }
    frame.insert(frame.end(), picture.slice.begin(), picture.slice.end());
    return frame;
}

class Bits {
public:
    explicit Bits(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    unsigned take(unsigned count)
    {
        unsigned value = 0;
        for (; count > 0; --count, ++at_)
            value = value << 1 | (at_ / 8 < bytes_.size() ? bytes_[at_ / 8] >> (7 - at_ % 8) & 1u : 0u);
        return value;
    }

private:
    std::span<const std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

/// A VP9 frame that is not shown comes out of no decoder; a frame that shows what one of the eight references has become does.
/// Nothing: the frame is shown, or is no reference.
std::optional<std::uint8_t> shows_hidden(std::span<const std::uint8_t> frame)
{
    Bits bits(frame);
    bits.take(2); // frame_marker
    const unsigned low = bits.take(1);
    const unsigned profile = low | bits.take(1) << 1;
    if (profile == 3)
        bits.take(1);
    if (bits.take(1) != 0) // show_existing_frame
        return std::nullopt;
    const bool inter = bits.take(1) != 0;
    if (bits.take(1) != 0) // show_frame
        return std::nullopt;
    const bool resilient = bits.take(1) != 0;
    unsigned refreshed = 0xff;
    if (inter) {
        const bool intra_only = bits.take(1) != 0;
        if (!resilient)
            bits.take(2); // reset_frame_context
        if (intra_only) {
            bits.take(24); // frame_sync_code
            if (profile >= 2)
                bits.take(1); // bit depth
            if (profile > 0 && bits.take(3) != 7)
                bits.take(profile % 2 ? 4 : 1); // range, subsampling
        }
        refreshed = bits.take(8);
    }
    for (unsigned i = 0; i < 8; ++i)
        if ((refreshed >> i & 1) != 0)
            return static_cast<std::uint8_t>((profile >= 2 ? 0x98u : 0x88u) | i);
    return std::nullopt;
}

bool store(const AVFrame &frame, const Surface &surface)
{
    if (frame.width > static_cast<int>(surface.width) || frame.height > static_cast<int>(surface.height))
        return false;
    if (frame.format == AV_PIX_FMT_YUV420P && surface.fourcc == VA_FOURCC_NV12)
        interleave<std::uint8_t>(frame, surface.plane(0), surface.plane(1), surface.pitch, 0);
    else if (frame.format == AV_PIX_FMT_YUV420P10 && surface.fourcc == VA_FOURCC_P010)
        interleave<std::uint16_t>(frame, surface.plane(0), surface.plane(1), surface.pitch, 6);
    else
        return false;
    return true;
}

} // namespace

std::unique_ptr<SliceDecoder> SliceDecoder::open(VAProfile profile)
{
    // By name: these decode in software whatever else is there, and give out a picture as soon as they have it.
    const AVCodec *codec = avcodec_find_decoder_by_name(profile == VAProfileVP8Version0_3 ? "vp8" : "vp9");
    auto decoder = std::make_unique<SliceDecoder>();
    decoder->context_.reset(codec ? avcodec_alloc_context3(codec) : nullptr);
    if (!decoder->context_)
        return nullptr;
    decoder->context_->thread_count = 1;
    return avcodec_open2(decoder->context_.get(), codec, nullptr) < 0 ? nullptr : std::move(decoder);
}

bool SliceDecoder::decode(const Picture &picture, const Surface &surface)
{
    if (context_->codec_id == AV_CODEC_ID_VP8)
        return send(with_vp8_header(picture), surface);
    const auto show = shows_hidden(picture.slice);
    return send(picture.slice, surface) && (!show || send({&*show, 1}, surface));
}

bool SliceDecoder::send(std::span<const std::uint8_t> data, const Surface &surface)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    packet->data = const_cast<std::uint8_t *>(data.data()); // not reference-counted: it is copied
    packet->size = static_cast<int>(data.size());
    bool good = avcodec_send_packet(context_.get(), packet) >= 0;
    while (good && avcodec_receive_frame(context_.get(), frame) >= 0)
        good = store(*frame, surface);
    av_frame_free(&frame);
    av_packet_free(&packet);
    return good;
}

} // namespace spice_overlay
