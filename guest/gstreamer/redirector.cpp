// SPDX-License-Identifier: LGPL-2.1-or-later
// What comes from upstream, and the element's life. redirector_output.cpp has what goes downstream.
#include "redirector.h"

#include "agent_link.h"
#include "debug.h"
#include "portclient/base/clock.h"
#include "stream_format.h"

#include <gst/video/video.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#define GST_CAT_DEFAULT decoder_category

namespace spice_overlay::gst {
namespace {

/// An agent answers in a millisecond or two, after it has asked logind about a new player: on a busy machine that takes
/// tenths of a second. One that needs longer is not worth a player's waiting.
constexpr int kCheckMs = 1000;
/// Units go, and flat frames with them, this long before they are decoded in time; the library holds them for as long as it likes.
constexpr std::int64_t kLead = 120'000'000;
/// When it is time for one, those that are due so soon after it go along: each time costs wake-ups of all who pass them on.
constexpr std::int64_t kTogether = 80'000'000;
constexpr spice_overlay_codec kAll[] = {SPICE_OVERLAY_CODEC_H264, SPICE_OVERLAY_CODEC_HEVC, SPICE_OVERLAY_CODEC_VP8,
                                        SPICE_OVERLAY_CODEC_VP9,  SPICE_OVERLAY_CODEC_AV1,  SPICE_OVERLAY_CODEC_MPEG2};

} // namespace

Redirector::Redirector(GstBin *element, GstPad *sink, GstPad *src)
    : element_(element), sink_(sink), src_(src), forwarder_(*this), placeholder_(src)
{
    gst_segment_init(&segment_, GST_FORMAT_TIME);
}

Redirector::~Redirector()
{
    reset();
}

Status Redirector::check(const Settings &settings) const
{
    spice_overlay_guest *guest = agent_link(settings.socket);
    if (!guest)
        return Error{"no memory for a connection to the agent"};
    spice_overlay_reason first = SPICE_OVERLAY_REASON_NONE;
    for (spice_overlay_codec codec : kAll) {
        spice_overlay_reason reason =
            spice_overlay_guest_check(guest, codec, 0, 0, first == SPICE_OVERLAY_REASON_NONE ? kCheckMs : 0);
        if (reason == SPICE_OVERLAY_REASON_NONE)
            return Success{};
        if (first == SPICE_OVERLAY_REASON_NONE)
            first = reason;
    }
    return Error{spice_overlay_reason_text(first)};
}

Status Redirector::check_caps(const Settings &settings, const GstCaps *caps) const
{
    auto format = stream_format(caps);
    if (!format)
        return format.error();
    spice_overlay_reason reason =
        spice_overlay_guest_check(agent_link(settings.socket), format->codec, format->width, format->height, kCheckMs);
    if (reason != SPICE_OVERLAY_REASON_NONE)
        return Error{spice_overlay_reason_text(reason)};
    return Success{};
}

void Redirector::start(const Settings &settings)
{
    settings_ = settings;
    forwarder_.halt(false);
    flushing_ = false;
    running_ = true;
}

void Redirector::interrupt()
{
    running_ = false;
    flushing_ = true;
    forwarder_.interrupt();
    wake();
}

void Redirector::stop()
{
    // Pads that become inactive have waited for their own thread; follow_from_outside() is another one's.
    GST_PAD_STREAM_LOCK(sink_);
    reset();
    GST_PAD_STREAM_UNLOCK(sink_);
}

void Redirector::reset()
{
    interrupt();
    {
        std::lock_guard lock(flush_mutex_); // from here on, nothing makes it due
        refresh_due_ = false;
    }
    set_inner(nullptr);
    forwarder_.halt(true);
    forwarder_.end(ended_ ? SPICE_OVERLAY_REASON_END_OF_STREAM : SPICE_OVERLAY_REASON_CLOSED_BY_USER);
    placeholder_.forget();
    cache_.clear();
    gst_clear_buffer(&latest_);
    gst_clear_caps(&caps_);
    gst_clear_event(&stream_start_);
    gst_clear_event(&segment_event_);
    gst_segment_init(&segment_, GST_FORMAT_TIME);
    format_ = Error{"no stream"};
    segment_due_ = asked_ = linked_ = ended_ = not_found_ = catching_up_ = false;
    not_displayed_.clear();
    searching_since_ = reported_at_ = 0;
    last_pts_ = end_ = last_out_ = last_flat_ = GST_CLOCK_TIME_NONE;
    paused_at_ = INT64_MIN;
    seen_at_ = INT64_MIN;
    outputs_ = 0;
    local_ = local_anyway_ = told_ = turned_ = false;
}

void Redirector::play()
{
    if (GstClock *clock = gst_element_get_clock(GST_ELEMENT(element_))) {
        forwarder_.run(clock, gst_element_get_base_time(GST_ELEMENT(element_)));
        gst_object_unref(clock);
    }
    wake();
}

void Redirector::pause()
{
    seen_at_ = forwarder_.now().value_or(INT64_MIN);
    forwarder_.halt(true);
    wake();
}

/// After a flushing seek the pipeline gives its elements a new base time, without a word, once its sinks have a picture.
void Redirector::look_at_clock()
{
    if (forwarder_.runs() || GST_STATE(element_) != GST_STATE_PLAYING)
        return;
    if (gst_element_get_base_time(GST_ELEMENT(element_)) != forwarder_.base_time())
        play();
}

bool Redirector::sink_event(GstEvent *event)
{
    bool passed = true;
    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START:
        gst_event_replace(&stream_start_, event);
        ended_ = turned_ = false;
        if (auto decoder = inner())
            decoder->push_event(gst_event_ref(event));
        return gst_pad_push_event(src_, event);
    case GST_EVENT_CAPS: {
        GstCaps *caps;
        gst_event_parse_caps(event, &caps);
        passed = set_caps(caps);
        gst_event_unref(event);
        return passed;
    }
    case GST_EVENT_SEGMENT:
        passed = set_segment(event);
        gst_event_unref(event);
        return passed;
    case GST_EVENT_FLUSH_START:
        flushing_ = true;
        forwarder_.interrupt();
        wake();
        return gst_pad_push_event(src_, event);
    case GST_EVENT_FLUSH_STOP:
        flush_stop(event);
        flushing_ = false;
        return gst_pad_push_event(src_, event);
    case GST_EVENT_EOS:
        return end_of_stream(event);
    case GST_EVENT_GAP:
        if (auto decoder = inner())
            return decoder->push_event(event);
        if (!placeholder_.prepared() && negotiate() != GST_FLOW_OK) {
            gst_event_unref(event);
            return false;
        }
        return gst_pad_push_event(src_, event);
    case GST_EVENT_TAG: {
        GstTagList *tags;
        char *orientation = nullptr;
        gst_event_parse_tag(event, &tags);
        if (gst_tag_list_get_string(tags, GST_TAG_IMAGE_ORIENTATION, &orientation))
            turned_ = std::strcmp(orientation, "rotate-0") != 0; // by some sinks, and not by others
        g_free(orientation);
        return gst_pad_push_event(src_, event);
    }
    default:
        return gst_pad_push_event(src_, event);
    }
}

bool Redirector::set_caps(GstCaps *caps)
{
    if (caps_ && gst_caps_is_equal(caps_, caps))
        return true;
    GST_INFO_OBJECT(element_, "caps %" GST_PTR_FORMAT, static_cast<void *>(caps));
    auto format = stream_format(caps);
    // Parsers refine their caps as they read on; only what concerns the client makes another stream.
    bool same = format_.ok() && format.ok() && format_->codec == format->codec && format_->width == format->width
                && format_->height == format->height && format_->aspect_num == format->aspect_num
                && format_->aspect_den == format->aspect_den && format_->primaries == format->primaries
                && format_->transfer == format->transfer && format_->matrix == format->matrix
                && format_->full_range == format->full_range && format_->profile == format->profile;
    if (caps_ && codec_of(caps_) != codec_of(caps))
        set_inner(nullptr);
    gst_caps_replace(&caps_, caps);
    if (!same) {
        cache_.clear();
        parameter_sets_.begin(codec_of(caps));
        placeholder_.forget();
        format_ = std::move(format);
        forwarder_.end(SPICE_OVERLAY_REASON_END_OF_STREAM);
        asked_ = not_found_ = false;
        searching_since_ = reported_at_ = 0;
        if (format_.ok()) {
            Place place;
            place.display_name = settings_.display_name;
            if (key_colour_ < 0)
                key_colour_ = settings_.key_colour >= 0 ? settings_.key_colour : spice_overlay_key_colour();
            place.key_colour = key_colour_;
            forwarder_.begin(agent_link(settings_.socket), *format_, place);
            gst_element_call_async(
                GST_ELEMENT(element_), [](GstElement *, gpointer data) { InnerDecoder::load(GST_CAPS(data)); },
                gst_caps_ref(caps), [](gpointer data) { gst_caps_unref(GST_CAPS(data)); });
        }
    }
    if (auto decoder = inner())
        decoder->push_event(gst_event_new_caps(caps));
    return true;
}

bool Redirector::set_segment(GstEvent *event)
{
    const GstSegment *segment;
    gst_event_parse_segment(event, &segment);
    if (segment->format != GST_FORMAT_TIME) {
        GST_ELEMENT_ERROR(element_, STREAM, FORMAT, (nullptr), ("a segment that is not in time"));
        return false;
    }
    segment_ = *segment;
    gst_event_replace(&segment_event_, event);
    segment_due_ = true;
    forwarder_.set_rate(segment->rate);
    start_ = running(segment->rate > 0 ? segment->start : segment->stop);
    forwarder_.set_start(start_);
    if (auto decoder = inner())
        decoder->push_event(gst_event_ref(event));
    return true;
}

void Redirector::flush_stop(GstEvent *event)
{
    gboolean reset_time;
    gst_event_parse_flush_stop(event, &reset_time);
    if (auto decoder = inner()) {
        decoder->push_event(gst_event_new_flush_start());
        decoder->push_event(gst_event_new_flush_stop(reset_time));
    }
    cache_.clear();
    gst_clear_buffer(&latest_);
    forwarder_.flush();
    if (reset_time)
        forwarder_.halt(false);
    gst_segment_init(&segment_, GST_FORMAT_TIME);
    catching_up_ = ended_ = not_found_ = false;
    searching_since_ = reported_at_ = 0;
    last_pts_ = end_ = last_out_ = last_flat_ = GST_CLOCK_TIME_NONE;
    paused_at_ = INT64_MIN;
    seen_at_ = INT64_MIN;
    outputs_ = 0;
}

bool Redirector::end_of_stream(GstEvent *event)
{
    ended_ = true;
    if (auto decoder = inner())
        return decoder->push_event(event);
    // Flat frames follow the decoding order; the last picture is seen later than that.
    if (caps_ && GST_CLOCK_TIME_IS_VALID(end_) && (outputs_ == 0 || end_ > last_out_))
        (void)show_placeholder(end_, 0, true);
    return gst_pad_push_event(src_, event);
}

std::int64_t Redirector::running(GstClockTime at) const
{
    guint64 time = 0;
    int sign = gst_segment_to_running_time_full(&segment_, GST_FORMAT_TIME, at, &time);
    return sign < 0 ? -static_cast<std::int64_t>(time) : static_cast<std::int64_t>(time);
}

/// Some sources leave out timestamps; pictures then follow each other.
GstClockTime Redirector::presentation(GstBuffer *buffer)
{
    GstClockTime pts = GST_BUFFER_PTS(buffer);
    if (!GST_CLOCK_TIME_IS_VALID(pts))
        pts = GST_BUFFER_DTS(buffer);
    GstClockTime step = GST_BUFFER_DURATION(buffer);
    if (!GST_CLOCK_TIME_IS_VALID(step))
        step = format_.ok() && format_->frame_rate_num ? gst_util_uint64_scale_int(
                   GST_SECOND, static_cast<int>(format_->frame_rate_den), static_cast<int>(format_->frame_rate_num))
                                                       : 40 * GST_MSECOND;
    if (!GST_CLOCK_TIME_IS_VALID(pts))
        pts = GST_CLOCK_TIME_IS_VALID(last_pts_) ? last_pts_ + step : segment_.start;
    last_pts_ = pts;
    if (!GST_CLOCK_TIME_IS_VALID(end_) || pts + step > end_)
        end_ = pts + step;
    return pts;
}

GstFlowReturn Redirector::unit(GstBuffer *buffer)
{
    GstFlowReturn flow = process(buffer);
    while (flow == GST_FLOW_FLUSHING && take_refresh()) // it was us who flushed
        flow = refresh();
    return flow;
}

GstFlowReturn Redirector::process(GstBuffer *buffer)
{
    if (!caps_) {
        gst_buffer_unref(buffer);
        return GST_FLOW_NOT_NEGOTIATED;
    }
    buffer = parameter_sets_.complete(buffer);
    GstClockTime pts = presentation(buffer);
    GstClockTime dts = GST_BUFFER_DTS_IS_VALID(buffer) ? std::min(GST_BUFFER_DTS(buffer), pts) : pts;
    GstClockTime duration = GST_BUFFER_DURATION(buffer);
    cache_.add(buffer, is_key(codec_of(caps_), buffer)); // which has a reference of its own
    bool told = format_.ok() && !asked_;
    if (told) {
        forwarder_.unit(buffer, running(pts));
        if (forwarder_.open()) {
            asked_ = true;
            forwarder_.wait_for_answer(kCheckMs);
        }
    }
    await_link();

    bool done = false;
    GstFlowReturn flow = follow(done);
    while (!done && flow == GST_FLOW_OK && !inner()) {
        Pace pace = told ? Pace::kGo : wait_for_time(running(dts));
        if (pace == Pace::kGo)
            break;
        flow = pace == Pace::kChanged ? follow(done) : GST_FLOW_FLUSHING;
    }
    if (format_.ok() && !told)
        forwarder_.unit(buffer, running(pts));
    if (flow == GST_FLOW_OK && !done)
        if (auto decoder = inner())
            return feed(*decoder, buffer);
    gst_buffer_unref(buffer);
    return flow != GST_FLOW_OK || done ? flow : show_placeholder(dts, duration, false);
}

Redirector::Pace Redirector::wait_for_time(std::int64_t running_time)
{
    // When a pipeline tells nobody that its clock goes on again after a seek: how often it is looked at, and for how long.
    constexpr auto kLook = std::chrono::milliseconds(10);
    constexpr int kLooks = 100;
    std::uint64_t wakes = 0;
    for (int looks = 0;; looks++) {
        std::unique_lock lock(wake_mutex_);
        wakes = wakes_;
        lock.unlock();
        if (flushing_ || refresh_due_)
            return Pace::kFlushing;
        if (forwarder_.reason() != SPICE_OVERLAY_REASON_NONE && !still())
            return Pace::kChanged;
        bool playing = GST_STATE(element_) == GST_STATE_PLAYING;
        look_at_clock();
        if (playing && !forwarder_.runs() && looks >= kLooks)
            play();
        auto now = forwarder_.now();
        // The clock runs only once the sink has a picture: the inner decoder may have taken the first units, and been given
        // up before it put out anything.
        if (outputs_ == 0 || running_time <= start_ || (playing && !now && !GST_ELEMENT_CLOCK(element_)))
            return Pace::kGo;
        if (now && running_time - kLead <= *now) {
            together_from_ = running_time;
            return Pace::kGo;
        }
        if (now && running_time >= together_from_ && running_time - together_from_ <= kTogether)
            return Pace::kGo;
        lock.lock();
        auto woken = [&] { return wakes_ != wakes; };
        if (now)
            wake_.wait_for(lock, std::chrono::nanoseconds(running_time - kLead - *now), woken);
        else if (playing)
            wake_.wait_for(lock, kLook, woken);
        else
            wake_.wait(lock, woken);
    }
}

void Redirector::wake()
{
    {
        std::lock_guard lock(wake_mutex_);
        wakes_++;
    }
    wake_.notify_all();
}

bool Redirector::src_event(GstEvent *event)
{
    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_QOS:
        if (reported_at_ == 0)
            reported_at_ = monotonic_now();
        [[fallthrough]];
    case GST_EVENT_RECONFIGURE:
        if (auto decoder = inner())
            return decoder->send_upstream(event);
        gst_event_unref(event);
        return true;
    case GST_EVENT_LATENCY: {
        GstClockTime latency;
        gst_event_parse_latency(event, &latency);
        forwarder_.set_latency(latency);
        return gst_pad_push_event(sink_, event);
    }
    default:
        return gst_pad_push_event(sink_, event);
    }
}

bool Redirector::src_query(GstQuery *query)
{
    if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY) {
        if (auto decoder = inner())
            return decoder->query(query);
        return gst_pad_peer_query(sink_, query);
    }
    return gst_pad_query_default(src_, GST_OBJECT(element_), query);
}

void Redirector::key_unit_wanted()
{
    gst_element_call_async(
        GST_ELEMENT(element_),
        [](GstElement *, gpointer data) {
            GstEvent *event = gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0);
            gst_pad_push_event(static_cast<Redirector *>(data)->sink_, event);
        },
        this, nullptr);
}

void Redirector::redirection_changed()
{
    wake();
    gst_element_call_async(
        GST_ELEMENT(element_),
        [](GstElement *, gpointer data) { static_cast<Redirector *>(data)->follow_from_outside(); }, this, nullptr);
}

} // namespace spice_overlay::gst
