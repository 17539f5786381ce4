// SPDX-License-Identifier: LGPL-2.1-or-later
#include "codec.h"

#include "hardware.h"
#include "slices.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/imgutils.h>
}

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

namespace spice_overlay {

namespace {

constexpr unsigned kPatience = 60;           ///< units without a picture; reference and field delays stay below 48
constexpr unsigned kUnsupportedPatience = 3; ///< units that FFmpeg says it has no code for, before the first picture
constexpr int kPicturesPerUnit = 64;

/// In which a device that has enough to decode has to take another unit. Below the watchdog's, which is for one that does not return.
constexpr std::chrono::seconds kBusy{1};
constexpr std::chrono::milliseconds kNap{2}; ///< between asking whether it does, where the asking does not wait

constexpr std::chrono::milliseconds kStarving{50}; ///< in which FFmpeg gets no picture: it waits for 100
constexpr unsigned kBurst = 5;    ///< pictures of one unit; a device with one free surface gives out two at most
constexpr unsigned kPushers = 96; ///< units; asynchronous decoders hold some 20 pictures back
constexpr std::int64_t kPusherTime = AV_NOPTS_VALUE + 1; ///< of pictures that nobody is to see

/// What a small core decodes in a second. Measured: H.264 165 million on a server's core; 720p30 is 28, 1080p30 62.
constexpr double kPixelsPerThread = 35e6;

/// Wide enough that half of it, the chroma stride, suits GPUs that import the memory.
constexpr std::uint32_t kStrideAlignment = 512;

AVCodecID codec_id(std::uint16_t codec)
{
    switch (static_cast<wire::Codec>(codec)) {
    case wire::Codec::kH264:
        return AV_CODEC_ID_H264;
    case wire::Codec::kHevc:
        return AV_CODEC_ID_HEVC;
    case wire::Codec::kVp8:
        return AV_CODEC_ID_VP8;
    case wire::Codec::kVp9:
        return AV_CODEC_ID_VP9;
    case wire::Codec::kAv1:
        return AV_CODEC_ID_AV1;
    case wire::Codec::kMpeg2:
        return AV_CODEC_ID_MPEG2VIDEO;
    case wire::Codec::kMjpeg:
        return AV_CODEC_ID_MJPEG;
    }
    return AV_CODEC_ID_NONE;
}

/// Null when this build of FFmpeg has none in software: its own AV1 decoder is for hardware only.
const AVCodec *find_decoder(std::uint16_t codec)
{
    const AVCodec *found = avcodec_find_decoder(codec_id(codec));
    return found && std::strcmp(found->name, "av1") != 0 ? found : nullptr;
}

bool too_large(std::int64_t width, std::int64_t height)
{
    return width > wire::kMaxCodedSide || height > wire::kMaxCodedSide || width * height > wire::kMaxCodedArea;
}

/// `context` is the one whose thread decodes: with frame threads that is not the one outside, and knows the format
/// first.
std::optional<ImageLayout> aligned_layout(AVCodecContext &context, std::uint32_t fourcc, int width, int height)
{
    int alignment[AV_NUM_DATA_POINTERS] = {};
    avcodec_align_dimensions2(&context, &width, &height, alignment);
    width = FFALIGN(width, 2);
    height = FFALIGN(height, 2);
    return shm_layout(fourcc, static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height),
                      FFALIGN(static_cast<std::uint32_t>(width), kStrideAlignment));
}

bool is_interlaced(const AVFrame &frame)
{
#ifdef AV_FRAME_FLAG_INTERLACED // FFmpeg 6.1
    return (frame.flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return frame.interlaced_frame != 0;
#endif
}

std::string error_text(int error)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(error, text, sizeof text);
    return text;
}

/// Why Rockchip's MPP does not start, of which FFmpeg tells nothing.
std::string mpp_refusal()
{
    constexpr char kDevice[] = "/dev/mpp_service";
    const UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC));
    return device.valid() ? "the library says no more than that it fails"
                          : device_refusal(kDevice, "rk_vcodec", errno).message;
}

/// Threads that decode a frame each. They hold back one picture less than they are until more units come, so that all
/// pictures are late by as much, and the one on show in a pause too: no more of them than the pixel rate needs. MPEG-2,
/// VP8 and dav1d spread one picture over all cores, as the others do where the encoder cut it into slices or tiles.
unsigned frame_threads(const ipc::Open &open)
{
    switch (static_cast<wire::Codec>(open.codec)) {
    case wire::Codec::kH264:
    case wire::Codec::kHevc:
    case wire::Codec::kVp9:
    case wire::Codec::kAv1:
        break;
    default:
        return 1;
    }
    const double rate =
        open.frame_rate_num ? static_cast<double>(open.frame_rate_num) / std::max(open.frame_rate_den, 1u) : 30;
    const double pixels = static_cast<double>(open.coded_width) * open.coded_height * rate;
    return static_cast<unsigned>(
        std::clamp(std::ceil(pixels / kPixelsPerThread), 1.0, static_cast<double>(open.threads)));
}

/// What is known of surfaces beside what FFmpeg knows, in their user_opaque. FFmpeg's Vulkan keeps something of its own there, which is
/// given back to it before it frees that.
struct Attached {
    std::uint64_t generation = 0;
    std::shared_ptr<void> kept;
    void *opaque = nullptr;
    void (*free)(AVHWFramesContext *) = nullptr;
};

void detach(AVHWFramesContext *frames)
{
    const std::unique_ptr<Attached> attached(static_cast<Attached *>(frames->user_opaque));
    frames->user_opaque = attached->opaque;
    frames->free = attached->free;
    if (frames->free)
        frames->free(frames);
}

void attach(AVHWFramesContext &frames, std::uint64_t generation, std::shared_ptr<void> kept)
{
    frames.user_opaque = new Attached{generation, std::move(kept), frames.user_opaque, frames.free};
    frames.free = &detach;
}

} // namespace

bool VideoCodec::has_decoder(const ipc::Open &open, const Hardware &hardware)
{
    return hardware.codec(codec_id(open.codec)) != nullptr;
}

std::optional<Failure> VideoCodec::start(std::span<const std::uint8_t> extradata)
{
    const AVCodec *codec = hardware_ ? hardware_->codec(codec_id(open_.codec)) : find_decoder(open_.codec);
    if (!codec)
        return Failure{wire::Reason::kUnsupportedCodec, hardware_
                                                            ? "FFmpeg decodes the stream's codec by no such device"
                                                            : "this FFmpeg has no decoder for the stream's codec"};
    if (open_.coded_width == 0 || open_.coded_height == 0)
        return Failure{wire::Reason::kBadParameters, "stream without a size"};
    if (too_large(open_.coded_width, open_.coded_height))
        return Failure{wire::Reason::kTooLarge,
                       "stream of " + std::to_string(open_.coded_width) + "x" + std::to_string(open_.coded_height)};

    wrapper_ = codec->wrapper_name ? codec->wrapper_name : "";
    packet_.reset(av_packet_alloc());
    frame_.reset(av_frame_alloc());
    context_.reset(avcodec_alloc_context3(codec));
    if (!packet_ || !frame_ || !context_)
        return Failure{wire::Reason::kNoResources, "out of memory"};
    AVCodecContext &context = *context_;
    extradata_.assign(extradata.begin(), extradata.end()); // not the context's: FFmpeg would parse it here
    context.width = static_cast<int>(open_.coded_width);
    context.height = static_cast<int>(open_.coded_height);
    context.opaque = this;
    context.apply_cropping = 0; // the compositor crops
    const unsigned at_once = hardware_ ? 1 : frame_threads(open_);
    if (hardware_) {
        context.get_format = &VideoCodec::get_format;
        context.get_buffer2 = &VideoCodec::get_surface;
        context.hw_device_ctx = hardware_->device() ? av_buffer_ref(hardware_->device()) : nullptr;
        context.thread_count = 1;
    } else {
        context.get_buffer2 = &VideoCodec::get_buffer;
        context.thread_count = static_cast<int>(at_once > 1 ? at_once : open_.threads);
    }
    context.thread_type = at_once > 1 ? FF_THREAD_FRAME : FF_THREAD_SLICE;
    if (codec->id == AV_CODEC_ID_AV1 && at_once == 1)
        context.flags |= AV_CODEC_FLAG_LOW_DELAY; // to dav1d: tile threads only
#if LIBAVCODEC_VERSION_MAJOR < 60
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    context.thread_safe_callbacks = 1;
#pragma GCC diagnostic pop
#endif
    if (const int error = avcodec_open2(&context, codec, nullptr); error < 0) {
        const bool unsupported = error == AVERROR_PATCHWELCOME || error == AVERROR(ENOSYS);
        return Failure{unsupported ? wire::Reason::kUnsupportedProfile : wire::Reason::kBadParameters,
                       std::string("cannot start FFmpeg's ") + codec->name
                           + " decoder: " + (wrapper() == "rkmpp" ? mpp_refusal() : error_text(error))};
    }
    return std::nullopt;
}

std::optional<ImageLayout> VideoCodec::layout(std::uint32_t fourcc, int width, int height) const
{
    return aligned_layout(*context_, fourcc, width, height);
}

int VideoCodec::get_buffer(AVCodecContext *context, AVFrame *frame, int flags)
{
    auto &self = *static_cast<VideoCodec *>(context->opaque);
    if (too_large(frame->width, frame->height)) {
        self.too_large_ = true;
        return AVERROR(EINVAL);
    }
    const std::uint32_t fourcc = self.rule_.fourcc(*frame);
    if (fourcc == 0 || (context->codec->capabilities & AV_CODEC_CAP_DR1) == 0)
        return avcodec_default_get_buffer2(context, frame, flags);

    const auto layout = aligned_layout(*context, fourcc, frame->width, frame->height);
    FramePool::Slot *slot = layout ? self.pool_.acquire(*layout) : nullptr;
    if (!slot) {
        self.starved_ = true;
        return AVERROR(ENOMEM);
    }
    const auto free = [](void *opaque, std::uint8_t *) {
        auto *done = static_cast<FramePool::Slot *>(opaque);
        done->pool->codec_done(*done);
    };
    frame->buf[0] = av_buffer_create(slot->memory.data(), slot->memory.size(), free, slot, 0);
    if (!frame->buf[0]) {
        self.pool_.codec_done(*slot);
        return AVERROR(ENOMEM);
    }
    for (unsigned i = 0; i < layout->plane_count; ++i) {
        frame->data[i] = slot->memory.data() + layout->planes[i].offset;
        frame->linesize[i] = static_cast<int>(layout->planes[i].stride);
    }
    frame->extended_data = frame->data;
    return 0;
}

/// FFmpeg takes the lack of a surface for a fault of the stream's, and goes on without pictures.
int VideoCodec::get_surface(AVCodecContext *context, AVFrame *frame, int flags)
{
    auto &self = *static_cast<VideoCodec *>(context->opaque);
    const int error = avcodec_default_get_buffer2(context, frame, flags);
    if (error < 0 && self.made_as_needed_ && self.refused_.empty())
        self.refused_ = "the driver makes no surface for another picture: " + error_text(error);
    return error;
}

/// FFmpeg asks by what to decode: at the beginning, when the size changes, and again, without the device's format, when that would
/// not take the stream.
AVPixelFormat VideoCodec::get_format(AVCodecContext *context, const AVPixelFormat *formats)
{
    auto &self = *static_cast<VideoCodec *>(context->opaque);
    for (; *formats != AV_PIX_FMT_NONE && *formats != self.hardware_->format(); ++formats) {
    }
    if (*formats == AV_PIX_FMT_NONE) {
        if (self.refused_.empty())
            self.refused_ = "the driver does not decode this kind of stream";
        return AV_PIX_FMT_NONE;
    }
    if (too_large(context->coded_width, context->coded_height)) {
        self.too_large_ = true;
        return AV_PIX_FMT_NONE;
    }
    if (self.hardware_->device())
        if (Status status = self.make_surfaces(*context); !status) {
            self.refused_ = status.error().message;
            return AV_PIX_FMT_NONE;
        }
    return *formats;
}

/// Gives FFmpeg surfaces, as many as it wants and the viewer may hold.
Status VideoCodec::make_surfaces(AVCodecContext &context)
{
    AVBufferRef *frames = nullptr;
    int error = avcodec_get_hw_frames_parameters(&context, hardware_->device(), hardware_->format(), &frames);
    if (error < 0)
        return Error{"the driver does not decode this kind of stream: " + error_text(error)};
    auto *parameters = reinterpret_cast<AVHWFramesContext *>(frames->data);
    // That there is a size at all is for FFmpeg to say: newer ones need none.
    made_as_needed_ = parameters->initial_pool_size == 0;
    if (!made_as_needed_)
        parameters->initial_pool_size += static_cast<int>(FramePool::kSurfacesHeld) + 1;
    auto kept = hardware_->prepare(frames, accepted_);
    if (!kept) {
        av_buffer_unref(&frames);
        return kept.error();
    }
    attach(*parameters, ++generation_, std::move(*kept));
    error = av_hwframe_ctx_init(frames);
    if (error < 0) {
        av_buffer_unref(&frames);
        return Error{"the driver makes no surfaces: " + error_text(error)};
    }
    context.hw_frames_ctx = frames;
    return Success{};
}

void VideoCodec::name_generation(const AVFrame &frame, std::uint64_t &last)
{
    if (frame.hw_frames_ctx && generation_of(frame) == 0)
        attach(*reinterpret_cast<AVHWFramesContext *>(frame.hw_frames_ctx->data), ++last, nullptr);
}

std::uint64_t VideoCodec::generation_of(const AVFrame &frame)
{
    if (!frame.hw_frames_ctx)
        return 0;
    const auto *frames = reinterpret_cast<const AVHWFramesContext *>(frame.hw_frames_ctx->data);
    return frames->free == &detach ? static_cast<const Attached *>(frames->user_opaque)->generation : 0;
}

bool VideoCodec::keeps_more_than_the_picture(const AVFrame &frame) const
{
    // RFC 6386, section 5, and ISO 13818-2, 6.3.3: what is cut off at the edges is decoded and predicted from. Other codecs' predictions
    // see samples of the picture alone, cropped or not: what lies beyond is the same as at its edge.
    constexpr int kMacroblock = 16; // pixels
    const auto codec = static_cast<wire::Codec>(open_.codec);
    if (codec != wire::Codec::kVp8 && codec != wire::Codec::kMpeg2)
        return false;
    const int rows =
        codec == wire::Codec::kMpeg2 && is_interlaced(frame) ? 2 * kMacroblock : kMacroblock; // of each field
    return frame.width % kMacroblock != 0 || frame.height % rows != 0;
}

std::optional<Failure> VideoCodec::decode(const Unit &unit, const std::function<void(AVFrame &)> &sink)
{
    const auto codec = static_cast<wire::Codec>(open_.codec);
    std::vector<std::uint8_t> first;
    std::span<const std::uint8_t> data = unit.data;
    if (!seen_key_ && !extradata_.empty())
        data = first = with_extradata(codec, extradata_, unit.data);
    if (count_slices(codec, data) > kMaxSlices)
        return Failure{wire::Reason::kTooLarge, "access unit of more than " + std::to_string(kMaxSlices) + " slices"};
    pictures_ = 0;
    fill_packet({data, unit.pts, unit.key});
    if (holds_pictures())
        awaited_.insert(unit.pts);
    if (awaited_.size() > kPushers) // units without a picture
        awaited_.erase(awaited_.begin());
    int error = send(sink, std::chrono::steady_clock::now() + kBusy);
    const int later = receive(sink);
    if (pictures_ > kBurst) // a surface was given back for nothing: it was only slow
        most_withheld_ = kMostWithheld;
    if (error >= 0)
        error = later;
    return judge(unit.key, error);
}

/// Not reference-counted: FFmpeg copies the unit and pads it, and its place is free at once.
void VideoCodec::fill_packet(const Unit &unit)
{
    av_packet_unref(packet_.get());
    packet_->data = const_cast<std::uint8_t *>(unit.data.data());
    packet_->size = static_cast<int>(unit.data.size());
    packet_->pts = unit.pts;
    packet_->dts = AV_NOPTS_VALUE;
    packet_->flags = unit.key ? AV_PKT_FLAG_KEY : 0;
}

/// Hands the packet over. A device that decodes on its own takes none while it has enough, and may have no picture either, whatever FFmpeg's
/// documentation says of that.
int VideoCodec::send(const std::function<void(AVFrame &)> &sink, std::chrono::steady_clock::time_point deadline)
{
    for (unsigned asked = 0;; ++asked) {
        const int error = avcodec_send_packet(context_.get(), packet_.get());
        if (error != AVERROR(EAGAIN) || !hardware_)
            return error;
        const unsigned before = pictures_;
        if (const int failed = receive(sink); failed < 0)
            return failed;
        if (pictures_ != before)
            continue;
        if (asked > 0) // surfaces of another size, perhaps
            withheld_.clear();
        if (std::chrono::steady_clock::now() >= deadline)
            return AVERROR(ETIMEDOUT);
        std::this_thread::sleep_for(kNap);
    }
}

/// Takes all pictures that are ready. Returns 0, or the last error.
int VideoCodec::receive(const std::function<void(AVFrame &)> &sink)
{
    int last_error = 0;
    bool gave_back = false;
    for (int i = 0; i < kPicturesPerUnit; ++i) {
        const auto asked = std::chrono::steady_clock::now();
        const int error = avcodec_receive_frame(context_.get(), frame_.get());
        if (error == AVERROR(EAGAIN) && !gave_back && std::chrono::steady_clock::now() - asked >= kStarving
            && give_back()) {
            gave_back = true;
            continue;
        }
        if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
            break;
        if (error < 0) {
            last_error = error;
            if (hardware_ && error != AVERROR_INVALIDDATA)
                break;
            continue;
        }
        if (frame_->pts == kPusherTime) {
            pushed_out_ = true;
        } else if (too_large(frame_->width, frame_->height)) {
            too_large_ = true;
        } else {
            ++pictures_;
            if (hardware_)
                name_generation(*frame_, generation_);
            awaited_.erase(awaited_.begin(), awaited_.upper_bound(frame_->pts));
            sink(*frame_);
            if (wrapper() == "rkmpp")
                withhold(*frame_);
        }
        av_frame_unref(frame_.get());
    }
    return last_error;
}

/// FFmpeg's rkmpp asks for pictures only while the device has more units than it can decode at once, which otherwise is when all surfaces are
/// in use: a film would come in bursts of fifteen pictures. So all are, but for one: what has been given out is kept for as long.
void VideoCodec::withhold(const AVFrame &frame)
{
    if (!withheld_.empty() && generation_of(*withheld_.back()) != generation_of(frame)) {
        withheld_.clear();
        most_withheld_ = kMostWithheld;
    }
    withheld_.push_back({av_frame_clone(&frame), [](AVFrame *f) { av_frame_free(&f); }});
    while (withheld_.size() > most_withheld_)
        withheld_.pop_front();
}

/// When it has no surface to decode into. False: that is not it.
bool VideoCodec::give_back()
{
    if (withheld_.empty())
        return false;
    withheld_.pop_front();
    most_withheld_ = withheld_.size();
    return true;
}

std::optional<Failure> VideoCodec::judge(bool key, int error)
{
    if (too_large_)
        return Failure{wire::Reason::kTooLarge, "picture larger than " + std::to_string(wire::kMaxCodedSide)
                                                    + " pixels a side or " + std::to_string(wire::kMaxCodedArea)
                                                    + " in all"};
    if (!refused_.empty())
        return Failure{wire::Reason::kDecoderFailed, refused_};
    if (hardware_ && error == AVERROR(ETIMEDOUT))
        return Failure{wire::Reason::kDecoderFailed, "the driver is too slow, or decodes nothing any more"};
    if (hardware_ && error < 0 && error != AVERROR_INVALIDDATA) // which is the stream's fault
        return Failure{wire::Reason::kDecoderFailed, "the driver fails to decode: " + error_text(error)};
    seen_key_ = seen_key_ || key;
    if (pictures_ > 0) {
        fruitless_ = 0;
        unsupported_ = 0;
        ever_decoded_ = true;
        starved_ = false;
        return std::nullopt;
    }
    if (error == AVERROR_PATCHWELCOME || error == AVERROR(ENOSYS))
        ++unsupported_;
    if (!ever_decoded_ && unsupported_ >= kUnsupportedPatience)
        return Failure{wire::Reason::kUnsupportedProfile,
                       "FFmpeg has no code for this kind of " + std::string(context_->codec->name)};
    // Before the first key frame, silence is what a decoder owes us.
    if (error < 0 || seen_key_)
        ++fruitless_;
    if (fruitless_ < kPatience)
        return std::nullopt;
    if (starved_)
        return Failure{wire::Reason::kNoResources, "the stream needs more frames at once than there is memory for"};
    return Failure{wire::Reason::kDecoderFailed, "no picture in " + std::to_string(kPatience) + " access units"
                                                     + (error < 0 ? ": " + error_text(error) : std::string())};
}

std::optional<Failure> VideoCodec::drain(const std::function<void(AVFrame &)> &sink, std::span<const Unit> group)
{
    std::optional<Failure> failure;
    if (holds_pictures())
        failure = push_out(sink, group);
    else if (avcodec_send_packet(context_.get(), nullptr) >= 0)
        receive(sink);
    flush();
    return failure;
}

/// Whether it is a decoder that opens its device itself. FFmpeg's rkmpp decodes nothing after the end of a stream, and to open another is
/// not possible from within the sandbox: so it is never told of the end.
bool VideoCodec::holds_pictures() const
{
    return hardware_ && !hardware_->device();
}

/// Units that it knows follow, until the pictures that are awaited have come, or one of those, where pictures have their units' order.
std::optional<Failure> VideoCodec::push_out(const std::function<void(AVFrame &)> &sink, std::span<const Unit> group)
{
    if (group.empty())
        return std::nullopt;
    const auto codec = static_cast<wire::Codec>(open_.codec);
    const std::vector<std::uint8_t> first = beginning_anew(codec, group[0].data);
    const bool reorders = codec == wire::Codec::kH264 || codec == wire::Codec::kHevc;
    pushed_out_ = false;
    const auto deadline = std::chrono::steady_clock::now() + kBusy;
    for (unsigned i = 0; i < kPushers && !(pushed_out_ && (!reorders || awaited_.empty())); ++i) {
        if (std::chrono::steady_clock::now() >= deadline)
            return Failure{wire::Reason::kDecoderFailed, "the driver is too slow to bring out its pictures"};
        const std::size_t at = i % group.size();
        fill_packet({at == 0 ? std::span<const std::uint8_t>(first) : group[at].data, kPusherTime, group[at].key});
        int error = send(sink, deadline);
        if (error >= 0)
            error = receive(sink);
        if (auto failure = judge(group[at].key, error))
            return failure;
    }
    awaited_.clear();
    return pushed_out_ ? std::nullopt
                       : std::optional(Failure{wire::Reason::kDecoderFailed, "the driver keeps pictures to itself"});
}

void VideoCodec::flush()
{
    avcodec_flush_buffers(context_.get());
    awaited_.clear();
    fruitless_ = 0;
    seen_key_ = false;
}

std::string list_codecs()
{
    std::string lines;
    for (std::uint16_t number = 1; codec_id(number) != AV_CODEC_ID_NONE; ++number) {
        if (const AVCodec *codec = find_decoder(number))
            lines += std::to_string(number) + " " + std::to_string(wire::kMaxCodedSide) + " "
                     + std::to_string(wire::kMaxCodedSide) + " " + codec->name + "\n";
    }
    return lines;
}

} // namespace spice_overlay
