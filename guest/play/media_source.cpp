// SPDX-License-Identifier: LGPL-2.1-or-later
#include "media_source.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
}

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr AVRational kNanoseconds{1, 1'000'000'000};
constexpr std::int64_t kLongestTime = 30LL * 24 * 3600 * kSecond; ///< beyond this a timestamp is taken for nonsense

struct CodecRow {
    AVCodecID id;
    wire::Codec codec;
    const char *filter; ///< what makes the packets whole access units
    bool keeps_extradata;
};

constexpr CodecRow kCodecs[] = {
    {AV_CODEC_ID_H264, wire::Codec::kH264, "h264_mp4toannexb", true},
    {AV_CODEC_ID_HEVC, wire::Codec::kHevc, "hevc_mp4toannexb", true},
    {AV_CODEC_ID_VP8, wire::Codec::kVp8, "null", false},
    {AV_CODEC_ID_VP9, wire::Codec::kVp9, "vp9_superframe", false},
    {AV_CODEC_ID_AV1, wire::Codec::kAv1, "null", true},
    {AV_CODEC_ID_MPEG2VIDEO, wire::Codec::kMpeg2, "null", true},
    {AV_CODEC_ID_MJPEG, wire::Codec::kMjpeg, "null", false},
};

const CodecRow *find_codec(AVCodecID id)
{
    auto row = std::find_if(std::begin(kCodecs), std::end(kCodecs), [id](const CodecRow &r) { return r.id == id; });
    return row == std::end(kCodecs) ? nullptr : row;
}

std::string error_text(int error)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(error, text, sizeof text);
    return text;
}

std::string seconds(std::int64_t ns)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / kSecond);
    return text;
}

/// Degrees clockwise, in steps of 90, that the container asks to turn the picture by.
std::uint16_t rotation_of(const AVStream *stream)
{
    const std::uint8_t *matrix = nullptr;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *data = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (data && data->size >= 9 * sizeof(std::int32_t))
        matrix = data->data;
#else
    std::size_t size = 0;
    const std::uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (data && size >= 9 * sizeof(std::int32_t))
        matrix = data;
#endif
    if (!matrix)
        return 0;
    std::int32_t values[9];
    std::memcpy(values, matrix, sizeof values);
    double counter_clockwise = av_display_rotation_get(values);
    if (!std::isfinite(counter_clockwise))
        return 0;
    int quarters = static_cast<int>(std::lround(-counter_clockwise / 90)) % 4;
    return static_cast<std::uint16_t>((quarters + 4) % 4 * 90);
}

wire::ColourDescription colour_of(const AVCodecParameters &parameters, wire::Codec codec)
{
    auto code_point = [](int value, bool zero_has_meaning) -> std::uint8_t {
        return value > 255 || value < 0 || (value == 0 && !zero_has_meaning) ? 2 : static_cast<std::uint8_t>(value);
    };
    wire::ColourDescription colour;
    colour.primaries = code_point(parameters.color_primaries, false);
    colour.transfer = code_point(parameters.color_trc, false);
    colour.matrix = code_point(parameters.color_space, true);
    // JPEG is full range unless somebody says otherwise.
    colour.full_range = parameters.color_range == AVCOL_RANGE_JPEG
                        || (codec == wire::Codec::kMjpeg && parameters.color_range != AVCOL_RANGE_MPEG);
    return colour;
}

Status check_file(const std::string &path)
{
    struct stat info;
    if (stat(path.c_str(), &info) != 0)
        return Error{path + ": " + (errno == ENOENT ? "no such file" : std::strerror(errno))};
    if (S_ISDIR(info.st_mode))
        return Error{path + ": is a directory; give a video file"};
    if (S_ISREG(info.st_mode) && info.st_size == 0)
        return Error{path + ": is an empty file"};
    return Success{};
}

} // namespace

void MediaSource::Free::operator()(AVFormatContext *context) const
{
    avformat_close_input(&context);
}

void MediaSource::Free::operator()(AVBSFContext *context) const
{
    av_bsf_free(&context);
}

void MediaSource::Free::operator()(AVPacket *packet) const
{
    av_packet_free(&packet);
}

MediaSource::~MediaSource() = default;

Result<std::unique_ptr<MediaSource>> MediaSource::open(const std::string &path)
{
    av_log_set_level(AV_LOG_QUIET); // what matters comes out as our own messages
    std::unique_ptr<MediaSource> source(new MediaSource);
    if (Status status = check_file(path); !status)
        return status.error();
    for (auto step :
         {&MediaSource::open_file, &MediaSource::choose_stream, &MediaSource::open_filter, &MediaSource::describe})
        if (Status status = (source.get()->*step)(path); !status)
            return status.error();
    return source;
}

Status MediaSource::open_file(const std::string &path)
{
    AVFormatContext *context = nullptr;
    int error = avformat_open_input(&context, ("file:" + path).c_str(), nullptr, nullptr); // frees itself on failure
    if (error == AVERROR_INVALIDDATA)
        return Error{path + ": is not a media file, or too damaged to be read"};
    if (error < 0)
        return Error{path + ": cannot be opened: " + error_text(error)};
    format_.reset(context);
    error = avformat_find_stream_info(context, nullptr);
    if (error < 0)
        return Error{path + ": its streams cannot be read: " + error_text(error)};
    packet_.reset(av_packet_alloc());
    return Success{};
}

Status MediaSource::choose_stream(const std::string &path)
{
    std::string refused;
    std::string audio;
    int best = -1;
    for (unsigned i = 0; i < format_->nb_streams; i++) {
        AVStream *stream = format_->streams[i];
        std::string codec = avcodec_get_name(stream->codecpar->codec_id);
        stream->discard = AVDISCARD_ALL;
        if (stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO)
            audio = codec;
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO || (stream->disposition & AV_DISPOSITION_ATTACHED_PIC))
            continue;
        if (!find_codec(stream->codecpar->codec_id))
            refused = codec;
        else if (best < 0
                 || (stream->disposition & AV_DISPOSITION_DEFAULT
                     && !(format_->streams[best]->disposition & AV_DISPOSITION_DEFAULT)))
            best = static_cast<int>(i);
    }
    if (best < 0) {
        std::string why = !refused.empty()
                              ? "its codec is " + refused + "; H.264, HEVC, VP8, VP9, AV1, MPEG-2 and MJPEG can be"
                          : !audio.empty() ? "it holds audio only (" + audio + ")"
                                           : "it holds neither video nor audio";
        return Error{path + ": has no video that can be redirected: " + why};
    }
    stream_ = format_->streams[best];
    stream_->discard = AVDISCARD_DEFAULT;
    return Success{};
}

Status MediaSource::open_filter(const std::string &path)
{
    const CodecRow *row = find_codec(stream_->codecpar->codec_id);
    AVBSFContext *filter = nullptr;
    int error = av_bsf_list_parse_str(row->filter, &filter);
    filter_.reset(filter);
    if (error >= 0)
        error = avcodec_parameters_copy(filter->par_in, stream_->codecpar);
    if (error >= 0) {
        filter->time_base_in = stream_->time_base;
        error = av_bsf_init(filter);
    }
    if (error < 0)
        return Error{path + ": libavcodec's filter " + row->filter + " cannot be used: " + error_text(error)};
    return Success{};
}

Status MediaSource::describe(const std::string &path)
{
    const AVCodecParameters &in = *stream_->codecpar;
    const CodecRow *row = find_codec(in.codec_id);
    wire::StreamOpen &out = description_;
    out.codec = row->codec;
    out.profile = in.profile < 0 ? -1 : in.profile & 0xff; // above: FFmpeg's own flags
    out.level = in.level < 0 ? -1 : in.level;

    std::string size = std::to_string(in.width) + "x" + std::to_string(in.height);
    if (in.width <= 0 || in.height <= 0)
        return Error{path + ": has no video that can be redirected: its picture size is " + size};
    out.coded_width = static_cast<std::uint32_t>(in.width);
    out.coded_height = static_cast<std::uint32_t>(in.height);
    if (out.coded_width > wire::kMaxCodedSide || out.coded_height > wire::kMaxCodedSide
        || std::uint64_t{out.coded_width} * out.coded_height > wire::kMaxCodedArea)
        return Error{path + ": has no video that can be redirected: its picture size is " + size
                     + ", and at most 8192 a side and 32 million pixels can be"};

    AVRational aspect = av_guess_sample_aspect_ratio(format_.get(), stream_, nullptr);
    if (aspect.num > 0 && aspect.den > 0) {
        out.aspect_num = static_cast<std::uint32_t>(aspect.num);
        out.aspect_den = static_cast<std::uint32_t>(aspect.den);
    }
    out.colour = colour_of(in, row->codec);
    out.rotation = rotation_of(stream_);
    AVRational rate = av_guess_frame_rate(format_.get(), stream_, nullptr);
    if (rate.num > 0 && rate.den > 0) {
        out.frame_rate_num = static_cast<std::uint32_t>(rate.num);
        out.frame_rate_den = static_cast<std::uint32_t>(rate.den);
        unit_duration_ = std::max<std::int64_t>(av_rescale(kSecond, rate.den, rate.num), 1);
    } else {
        unit_duration_ = kSecond / 25;
    }
    std::int64_t bit_rate = in.bit_rate > 0 ? in.bit_rate : format_->bit_rate;
    out.bit_rate = static_cast<std::uint32_t>(std::clamp<std::int64_t>(bit_rate, 0, UINT32_MAX));

    const AVCodecParameters &filtered = *filter_->par_out;
    if (row->keeps_extradata && filtered.extradata_size > 0) {
        std::span<const std::uint8_t> extra(filtered.extradata, static_cast<std::size_t>(filtered.extradata_size));
        if (row->codec == wire::Codec::kAv1 && extra.size() >= 4 && extra[0] == 0x81)
            extra = extra.subspan(4); // av1C: the sequence header stands behind four bytes
        if (extra.size() <= wire::kMaxExtradata)
            out.extradata.assign(extra.begin(), extra.end());
    }
    inspector_.emplace(row->codec, out.extradata);

    start_ = stream_->start_time != AV_NOPTS_VALUE ? stream_->start_time : 0;
    if (stream_->duration > 0)
        duration_ = av_rescale_q(stream_->duration, stream_->time_base, kNanoseconds);
    else if (format_->duration > 0)
        duration_ = av_rescale(format_->duration, kSecond, AV_TIME_BASE);
    if (duration_ < 0 || duration_ > kLongestTime)
        duration_ = 0;
    return Success{};
}

std::int64_t MediaSource::to_media(std::int64_t timestamp) const
{
    if (timestamp == AV_NOPTS_VALUE)
        return AV_NOPTS_VALUE;
    std::int64_t relative = 0;
    if (__builtin_sub_overflow(timestamp, start_, &relative))
        return AV_NOPTS_VALUE;
    std::int64_t media = av_rescale_q(relative, stream_->time_base, kNanoseconds);
    if (media < -kLongestTime || media > kLongestTime)
        return AV_NOPTS_VALUE;
    return media + shift_;
}

std::int64_t MediaSource::to_stream(std::int64_t media) const
{
    return av_rescale_q(std::clamp(media, -kLongestTime, kLongestTime), kNanoseconds, stream_->time_base) + start_;
}

/// Fills packet_ with the next packet behind the filter. False at the end.
bool MediaSource::read_packet()
{
    for (;;) {
        int error = av_bsf_receive_packet(filter_.get(), packet_.get());
        if (error == 0)
            return true;
        if (error != AVERROR(EAGAIN)) {
            if (draining_)
                return false;
            damaged_ = true; // one bad packet; the filter goes on with the next
        }
        if (draining_ && error == AVERROR(EAGAIN))
            return false;
        error = av_read_frame(format_.get(), packet_.get());
        if (error < 0) {
            end_of_file(error);
            draining_ = true;
            if (av_bsf_send_packet(filter_.get(), nullptr) < 0)
                return false;
            continue;
        }
        bool broken = packet_->flags & AV_PKT_FLAG_CORRUPT && format_->pb && avio_feof(format_->pb);
        if (packet_->stream_index != stream_->index || packet_->size == 0 || broken) {
            if (broken) {
                complaint_ = "is cut off: its last picture is not whole";
                damaged_ = true;
            }
            av_packet_unref(packet_.get());
            continue;
        }
        if (av_bsf_send_packet(filter_.get(), packet_.get()) < 0) {
            av_packet_unref(packet_.get());
            damaged_ = true;
        }
    }
}

void MediaSource::end_of_file(int error)
{
    if (!complaint_.empty())
        return;
    std::int64_t tolerance = std::max(kSecond, duration_ / 10); // the duration may be the audio's
    if (duration_ > 0 && furthest_ + tolerance < duration_)
        complaint_ = "is cut off: it ends after " + seconds(furthest_) + " of " + seconds(duration_);
    else if (error != AVERROR_EOF)
        complaint_ = "is cut off or damaged at " + seconds(furthest_) + ": " + error_text(error);
}

void MediaSource::time_unit(Unit &unit)
{
    std::int64_t pts = to_media(packet_->pts);
    std::int64_t dts = to_media(packet_->dts);
    bool timed = pts != AV_NOPTS_VALUE || dts != AV_NOPTS_VALUE;
    std::int64_t expected = last_dts_ ? *last_dts_ + last_duration_ : pts != AV_NOPTS_VALUE ? pts : 0;
    if (dts == AV_NOPTS_VALUE)
        dts = pts != AV_NOPTS_VALUE ? std::min(pts, expected) : expected;
    if (pts == AV_NOPTS_VALUE)
        pts = dts;

    // A transport stream's clock may jump; playing goes on without a pause.
    bool jump = last_dts_ && (dts < *last_dts_ - kSecond || dts > *last_dts_ + 10 * kSecond);
    if (timed && jump && format_->iformat->flags & AVFMT_TS_DISCONT) {
        std::int64_t correction = expected - dts;
        shift_ += correction;
        dts += correction;
        pts += correction;
        unit.discontinuity = true;
    }
    if (last_dts_)
        dts = std::max(dts, *last_dts_);
    unit.dts = dts;
    unit.pts = std::max(pts, dts);
    std::int64_t duration = av_rescale_q(packet_->duration, stream_->time_base, kNanoseconds);
    unit.duration = duration > 0 && duration < 10 * kSecond ? duration : unit_duration_;
    last_dts_ = unit.dts;
    last_duration_ = unit.duration;
    furthest_ = std::max(furthest_, unit.pts + unit.duration);
}

Unit MediaSource::make_unit()
{
    Unit unit;
    std::span<const std::uint8_t> data(packet_->data, static_cast<std::size_t>(packet_->size));
    unit.key = packet_->flags & AV_PKT_FLAG_KEY;
    unit.droppable = inspector_->droppable(data);
    unit.discontinuity = std::exchange(damaged_, false);
    unit.data.assign(data.begin(), data.end());
    if (unit.key)
        if (auto at = inspector_->missing_parameter_sets(data))
            unit.data.insert(unit.data.begin() + static_cast<std::ptrdiff_t>(*at), description_.extradata.begin(),
                             description_.extradata.end());
    time_unit(unit);
    return unit;
}

std::optional<Unit> MediaSource::read()
{
    while (read_packet()) {
        bool usable = packet_->size > 0
                      && static_cast<std::uint32_t>(packet_->size) <= wire::kMaxAccessUnit - wire::kMaxExtradata;
        std::optional<Unit> unit;
        if (usable)
            unit = make_unit();
        else
            damaged_ = true;
        av_packet_unref(packet_.get());
        if (unit)
            return unit;
    }
    return {};
}

std::optional<Unit> MediaSource::next()
{
    return waiting_ ? std::exchange(waiting_, {}) : read();
}

bool MediaSource::seek_file(std::int64_t position, bool to_start)
{
    bool by_bytes =
        to_start && format_->iformat->flags & AVFMT_TS_DISCONT && !(format_->iformat->flags & AVFMT_NO_BYTE_SEEK);
    int error = by_bytes ? av_seek_frame(format_.get(), -1, 0, AVSEEK_FLAG_BYTE)
                         : av_seek_frame(format_.get(), stream_->index, to_stream(to_start ? 0 : position),
                                         AVSEEK_FLAG_BACKWARD);
    if (error < 0 && to_start) // the first picture may stand behind media time 0
        error = avformat_seek_file(format_.get(), stream_->index, INT64_MIN, start_, INT64_MAX, 0);
    av_bsf_flush(filter_.get());
    waiting_.reset();
    last_dts_.reset();
    shift_ = 0;
    draining_ = damaged_ = false;
    return error >= 0;
}

bool MediaSource::seek(std::int64_t position)
{
    // Containers without an index land anywhere near: go further back until a key unit stands before the position.
    static constexpr std::int64_t kBack[] = {0, kSecond, 4 * kSecond, 16 * kSecond, 64 * kSecond, kLongestTime};
    for (std::int64_t back : kBack) {
        bool to_start = position - back <= 0;
        if (!seek_file(position - back, to_start) && to_start)
            return false;
        std::optional<Unit> unit;
        do
            unit = read();
        while (unit && !unit->key);
        if (unit && (to_start || unit->pts <= position)) {
            unit->discontinuity = false;
            waiting_ = std::move(unit);
            return true;
        }
        if (to_start)
            break;
    }
    return false;
}

std::optional<std::int64_t> MediaSource::next_key_after(std::int64_t position) const
{
    const AVIndexEntry *entry = avformat_index_get_entry_from_timestamp(stream_, to_stream(position) + 1, 0);
    if (!entry || !(entry->flags & AVINDEX_KEYFRAME))
        return {};
    std::int64_t when = to_media(entry->timestamp);
    if (when == AV_NOPTS_VALUE || when <= position)
        return {};
    return when;
}

} // namespace spice_overlay::guest
