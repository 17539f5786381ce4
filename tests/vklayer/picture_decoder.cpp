// SPDX-License-Identifier: LGPL-2.1-or-later
#include "picture_decoder.h"

#include "tests/vadriver/interleave.h"

namespace spice_overlay {

std::unique_ptr<PictureDecoder> PictureDecoder::open()
{
    // By name: this one decodes in software whatever else is there.
    const AVCodec *codec = avcodec_find_decoder_by_name("h264");
    auto decoder = std::make_unique<PictureDecoder>();
    decoder->newest_ = av_frame_alloc();
    decoder->context_ = codec ? avcodec_alloc_context3(codec) : nullptr;
    if (!decoder->context_)
        return nullptr;
    AVCodecContext &context = *decoder->context_;
    context.thread_count = 1; // the picture is complete when its units have been taken
    context.opaque = decoder.get();
    context.get_buffer2 = &PictureDecoder::get_buffer;
    return avcodec_open2(&context, codec, nullptr) < 0 ? nullptr : std::move(decoder);
}

PictureDecoder::~PictureDecoder()
{
    av_frame_free(&newest_);
    avcodec_free_context(&context_);
}

int PictureDecoder::get_buffer(AVCodecContext *context, AVFrame *frame, int flags)
{
    auto &self = *static_cast<PictureDecoder *>(context->opaque);
    const int error = avcodec_default_get_buffer2(context, frame, flags);
    if (error < 0)
        return error;
    av_frame_unref(self.newest_);
    return av_frame_ref(self.newest_, frame);
}

bool PictureDecoder::decode(std::span<const std::uint8_t> units, const PictureMemory &memory)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    packet->data = const_cast<std::uint8_t *>(units.data()); // not reference-counted: it is copied
    packet->size = static_cast<int>(units.size());
    bool good = avcodec_send_packet(context_, packet) >= 0;
    while (avcodec_receive_frame(context_, frame) >= 0) // an older one
        av_frame_unref(frame);
    av_frame_free(&frame);
    av_packet_free(&packet);
    good = good && newest_->buf[0] && newest_->format == AV_PIX_FMT_YUV420P
           && newest_->width <= static_cast<int>(memory.width) && newest_->height <= static_cast<int>(memory.height);
    if (good)
        interleave<std::uint8_t>(*newest_, memory.luma, memory.chroma, memory.pitch, 0);
    return good;
}

} // namespace spice_overlay
