// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "colour.h"
#include "dmabuf/format_set.h"
#include "frame_pool.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spice_overlay {

/// Why a stream cannot go on.
struct Failure {
    wire::Reason reason = wire::Reason::kDecoderFailed;
    std::string why;
};

class Hardware;

/// FFmpeg's decoder of one stream: in software, decoding into the pool's memory whatever can be shown as it is, or by a device, into
/// surfaces. One thread outside; FFmpeg's own inside.
class VideoCodec {
public:
    /// `hardware`, if any, outlives it and its frames; `accepted`, too, are the formats of surfaces that the compositor takes.
    VideoCodec(const ipc::Open &open, FramePool &pool, const Hardware *hardware = nullptr,
               std::span<const FormatSet::Entry> accepted = {})
        : open_(open), pool_(pool), hardware_(hardware), accepted_(accepted), rule_(open)
    {
    }

    /// Whether this FFmpeg decodes the stream's codec by the device.
    [[nodiscard]] static bool has_decoder(const ipc::Open &open, const Hardware &hardware);

    /// Opens the decoder. `extradata` is the stream's: nothing looks into it before it is decoded in front of the units, after start and
    /// flush, up to the first key unit.
    [[nodiscard]] std::optional<Failure> start(std::span<const std::uint8_t> extradata);

    struct Unit {
        std::span<const std::uint8_t> data;
        std::int64_t pts = 0;
        bool key = false;
    };
    /// Decodes one access unit and calls `sink(AVFrame &)` for each picture that comes out, in order of presentation.
    /// Damaged units are skipped; a failure comes only when nothing can be decoded any more, or as soon as a device fails.
    [[nodiscard]] std::optional<Failure> decode(const Unit &unit, const std::function<void(AVFrame &)> &sink);
    /// Whether samples beside the picture belong to the decoder, which predicts later pictures from them.
    [[nodiscard]] bool keeps_more_than_the_picture(const AVFrame &frame) const;
    /// Brings out the pictures that wait for later units. Decoding goes on at the next key unit. `group` are the units since the last key
    /// unit, with it: a decoder that would not come back from the end of a stream gets them again instead, as often as it takes.
    [[nodiscard]] std::optional<Failure> drain(const std::function<void(AVFrame &)> &sink,
                                               std::span<const Unit> group = {});
    void flush();

    [[nodiscard]] const DirectRule &rule() const { return rule_; }
    /// The library that FFmpeg's decoder hands all work to, "rkmpp"; empty: none.
    [[nodiscard]] std::string_view wrapper() const { return wrapper_; }

    /// Of a frame's surfaces: grows when they are made anew, from 1. 0: FFmpeg says nothing of where the surface is from.
    [[nodiscard]] static std::uint64_t generation_of(const AVFrame &frame);
    /// Makes surfaces that a decoder has made by itself (rkmpp, at every change of format) the next generation after `last`, when their first
    /// picture comes: it is to be proved like any other's.
    static void name_generation(const AVFrame &frame, std::uint64_t &last);

    /// How a picture that is shown as it was decoded lies in memory.
    [[nodiscard]] std::optional<ImageLayout> layout(std::uint32_t fourcc, int width, int height) const;

private:
    struct FreeContext {
        void operator()(AVCodecContext *context) const { avcodec_free_context(&context); }
    };
    struct FreeFrame {
        void operator()(AVFrame *frame) const { av_frame_free(&frame); }
    };
    struct FreePacket {
        void operator()(AVPacket *packet) const { av_packet_free(&packet); }
    };

    static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags);
    static int get_surface(AVCodecContext *context, AVFrame *frame, int flags);
    static AVPixelFormat get_format(AVCodecContext *context, const AVPixelFormat *formats);
    [[nodiscard]] Status make_surfaces(AVCodecContext &context);
    static constexpr std::size_t kMostWithheld = 16; ///< as many surfaces as FFmpeg's rkmpp has
    void withhold(const AVFrame &frame);
    [[nodiscard]] bool give_back();
    void fill_packet(const Unit &unit);
    int send(const std::function<void(AVFrame &)> &sink, std::chrono::steady_clock::time_point deadline);
    int receive(const std::function<void(AVFrame &)> &sink);
    [[nodiscard]] bool holds_pictures() const;
    [[nodiscard]] std::optional<Failure> push_out(const std::function<void(AVFrame &)> &sink,
                                                  std::span<const Unit> group);
    [[nodiscard]] std::optional<Failure> judge(bool key, int error);

    const ipc::Open open_;
    FramePool &pool_;
    const Hardware *const hardware_;
    const std::span<const FormatSet::Entry> accepted_;
    const DirectRule rule_;
    std::string_view wrapper_; ///< of FFmpeg's, static
    std::unique_ptr<AVPacket, FreePacket> packet_;
    std::unique_ptr<AVFrame, FreeFrame> frame_;
    std::unique_ptr<AVCodecContext, FreeContext> context_; ///< last: its threads use the rest

    std::vector<std::uint8_t> extradata_; ///< as the guest has sent it
    unsigned pictures_ = 0;    ///< that came out of the current unit
    unsigned fruitless_ = 0;   ///< units since the last picture
    unsigned unsupported_ = 0; ///< of which FFmpeg has no code for
    bool seen_key_ = false;    ///< since start or flush
    bool ever_decoded_ = false;
    std::atomic<bool> too_large_ = false; ///< set by FFmpeg's threads
    std::atomic<bool> starved_ = false;
    std::uint64_t generation_ = 0;
    bool made_as_needed_ = false; ///< surfaces; else all at once
    bool pushed_out_ = false;     ///< a picture of what was only to push others out has come
    std::deque<std::shared_ptr<AVFrame>>
        withheld_; ///< pictures that have been given out, whose surfaces the device is not to have yet
    std::size_t most_withheld_ = kMostWithheld;
    std::multiset<std::int64_t> awaited_; ///< times of pictures, of units since the newest that has come
    std::string refused_; ///< why the device does not decode the stream
};

/// One line for each codec that this FFmpeg decodes: number, largest width, largest height (pixels).
[[nodiscard]] std::string list_codecs();

} // namespace spice_overlay
