// SPDX-License-Identifier: LGPL-2.1-or-later
// What goes downstream: flat frames, or the inner decoder's; and how one follows the other.
#include "debug.h"
#include "display_check.h"
#include "portclient/base/clock.h"
#include "redirector.h"

#include <algorithm>

#define GST_CAT_DEFAULT decoder_category

namespace spice_overlay::gst {
namespace {

/// Flat frames look the same, and each costs the player (which may scale it), the X server, the window tracker and SPICE something.
/// Between them downstream is told that nothing has changed, and that need not be told for every picture.
constexpr GstClockTime kFlatFrames = GST_SECOND;
constexpr GstClockTime kFlatFramesWhenSeen =
    10 * GST_SECOND; ///< once one is on the screen: sinks repaint from what they have
constexpr GstClockTime kNothingNew = 100 * GST_MSECOND;
constexpr std::int64_t kLate = 20'000'000; ///< as sinks have it; running time, ns
/// A long group of pictures is seen to run while it is decoded, so that something is seen soon.
constexpr std::int64_t kCatchUpStep = 100'000'000;

} // namespace

std::shared_ptr<InnerDecoder> Redirector::inner() const
{
    std::lock_guard lock(mutex_);
    return inner_;
}

void Redirector::set_inner(std::shared_ptr<InnerDecoder> decoder)
{
    std::lock_guard lock(mutex_);
    std::swap(inner_, decoder);
}

std::string Redirector::reason() const
{
    std::lock_guard lock(mutex_);
    return reason_;
}

void Redirector::tell(const std::string &why_local)
{
    {
        std::lock_guard lock(mutex_);
        reason_ = why_local;
    }
    GST_INFO_OBJECT(element_, "%s", why_local.empty() ? "redirected" : ("decoded here: " + why_local).c_str());
    g_object_notify(G_OBJECT(element_), "redirected");
    g_object_notify(G_OBJECT(element_), "reason");
    gst_element_post_message(
        GST_ELEMENT(element_),
        gst_message_new_element(GST_OBJECT(element_), gst_structure_new("spice-overlay-redirection", "redirected",
                                                                        G_TYPE_BOOLEAN, why_local.empty(), "reason",
                                                                        G_TYPE_STRING, why_local.c_str(), nullptr)));
}

/// Players link what is behind a decoder when its first data come. An event that nobody knows makes them do it, and then
/// it can be seen what the pictures are for, before the first one goes.
void Redirector::await_link()
{
    if (linked_ && !GST_PAD_NEEDS_RECONFIGURE(src_))
        return;
    if (!linked_)
        gst_pad_push_event(src_, gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM,
                                                      gst_structure_new_empty("spice-overlay-await-link")));
    linked_ = true;
    std::string found = why_not_displayed(src_);
    if (found != not_displayed_)
        GST_INFO_OBJECT(element_, "downstream: %s", found.empty() ? "a sink that shows pictures" : found.c_str());
    not_displayed_ = std::move(found);
    if (inner())
        gst_pad_check_reconfigure(src_); // the decoder has been told of it
}

std::string Redirector::why_local()
{
    std::string anyway = !format_.ok()             ? format_.error().message
                         : segment_.rate < 0       ? "it is played backwards"
                         : !not_displayed_.empty() ? "nobody sees the pictures: " + not_displayed_
                         : turned_                 ? "the picture is turned for display"
                         : forwarder_.lost()       ? "the X display cannot be followed"
                         : not_found_              ? "the picture is not found on the screen"
                                                   : "";
    local_anyway_ = !anyway.empty();
    if (local_anyway_)
        return anyway;
    spice_overlay_reason reason = forwarder_.reason();
    return reason == SPICE_OVERLAY_REASON_NONE ? "" : spice_overlay_reason_text(reason);
}

bool Redirector::still() const
{
    return GST_STATE(element_) == GST_STATE_PAUSED && outputs_ > 0;
}

GstFlowReturn Redirector::follow(bool &done)
{
    if (!local_ && !forwarder_.found() && settings_.search_ms > 0 && outputs_ > 0
        && GST_STATE(element_) == GST_STATE_PLAYING) {
        std::int64_t now = monotonic_now();
        if (searching_since_ == 0)
            searching_since_ = now;
        // A guest under load takes long to show anything: counted from the sink's first report on a frame that it has
        // shown. Some sinks make none.
        const std::int64_t patience = settings_.search_ms * 1'000'000LL;
        const std::int64_t reported = reported_at_;
        not_found_ = reported != 0 ? now - reported > patience : now - searching_since_ > 2 * patience;
    }
    std::string why = why_local();
    bool local = !why.empty();
    bool has_decoder = inner() != nullptr;
    // What is seen in a pause does not change by what is sent behind it: refresh() does that.
    if (local != has_decoder && still() && !refreshing_)
        return GST_FLOW_OK;
    local_ = local;
    if (!std::exchange(told_, true) || why != reason())
        tell(why);
    if (local == has_decoder)
        return GST_FLOW_OK;
    if (!local) {
        go_redirected();
        return GST_FLOW_OK;
    }
    done = true;
    return go_local();
}

GstFlowReturn Redirector::go_local()
{
    placeholder_.forget();
    InnerDecoder::Output output;
    output.buffer = [this](GstBuffer *buffer) { return decoded(buffer); };
    output.event = [this](GstEvent *event) { return decoder_event(event); };
    output.upstream = [this](GstQuery *query) { return gst_pad_peer_query(sink_, query); };
    output.downstream = [this](GstQuery *query) {
        if (gst_pad_peer_query(src_, query))
            return true;
        if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS)
            return false;
        GstCaps *any = gst_caps_new_any();
        gst_query_set_caps_result(query, any);
        gst_caps_unref(any);
        return true;
    };
    output.upstream_event = [this](GstEvent *event) { return gst_pad_push_event(sink_, event); };
    auto made = InnerDecoder::make(element_, caps_, output);
    if (!made) {
        GST_ELEMENT_ERROR(element_, STREAM, CODEC_NOT_FOUND, ("%s", made.error().message.c_str()), (nullptr));
        return GST_FLOW_ERROR;
    }
    std::shared_ptr<InnerDecoder> decoder = std::move(made).value();
    set_inner(decoder);
    GST_INFO_OBJECT(element_, "%s goes on with %zu units of the group of pictures", decoder->name().c_str(),
                    cache_.units().size());

    gst_clear_buffer(&latest_);
    catching_up_ = GST_CLOCK_TIME_IS_VALID(last_out_) || paused_at_ != INT64_MIN;
    last_shown_ = monotonic_now();
    if (stream_start_)
        decoder->push_event(gst_event_ref(stream_start_));
    decoder->push_event(gst_event_new_caps(caps_));
    if (segment_event_)
        decoder->push_event(gst_event_ref(segment_event_));
    GstFlowReturn flow = GST_FLOW_OK;
    for (auto at = cache_.units().begin(); at != cache_.units().end() && flow == GST_FLOW_OK; ++at)
        flow = feed(*decoder, gst_buffer_ref(*at));
    if (flow == GST_FLOW_OK && catching_up_ && latest_)
        flow = show_late(std::exchange(latest_, nullptr));
    return flow;
}

/// A decoder whose caps do not get through cannot know that it is for a flush, downstream of us.
GstFlowReturn Redirector::feed(InnerDecoder &decoder, GstBuffer *unit)
{
    GstFlowReturn flow = decoder.push(unit);
    return flow == GST_FLOW_NOT_NEGOTIATED && GST_PAD_IS_FLUSHING(src_) ? GST_FLOW_FLUSHING : flow;
}

void Redirector::go_redirected()
{
    set_inner(nullptr);
    gst_clear_buffer(&latest_);
    catching_up_ = false;
    placeholder_.forget();
    last_flat_ = GST_CLOCK_TIME_NONE;
    searching_since_ = reported_at_ = 0;
}

/// In running time.
std::int64_t Redirector::wanted_now()
{
    if (auto now = forwarder_.now())
        return *now;
    return paused_at_;
}

GstFlowReturn Redirector::decoded(GstBuffer *buffer)
{
    if (catching_up_ && GST_BUFFER_PTS_IS_VALID(buffer)) {
        GstClockTime end = GST_BUFFER_PTS(buffer);
        if (GST_BUFFER_DURATION_IS_VALID(buffer))
            end += GST_BUFFER_DURATION(buffer);
        bool behind = GST_CLOCK_TIME_IS_VALID(last_out_) && GST_BUFFER_PTS(buffer) <= last_out_;
        if (running(end) <= wanted_now() || behind) {
            gst_clear_buffer(&latest_);
            if (monotonic_now() - last_shown_ >= kCatchUpStep)
                return show_late(buffer);
            latest_ = buffer;
            return GST_FLOW_OK;
        }
        catching_up_ = false;
        gst_clear_buffer(&latest_);
    }
    return output(buffer);
}

/// Shows a picture whose time has passed in place of the one that is not decoded yet.
GstFlowReturn Redirector::show_late(GstBuffer *buffer)
{
    last_shown_ = monotonic_now();
    buffer = gst_buffer_make_writable(buffer);
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
    if (forwarder_.now()) {
        GST_BUFFER_PTS(buffer) = GST_CLOCK_TIME_NONE; // sinks leave out what is late, and show at once what has no time
        return output(buffer);
    }
    GstClockTime at = GST_CLOCK_TIME_NONE;
    if (paused_at_ != INT64_MIN)
        at = gst_segment_position_from_running_time(&segment_, GST_FORMAT_TIME,
                                                    static_cast<guint64>(std::max<std::int64_t>(paused_at_, 0)));
    if (!GST_CLOCK_TIME_IS_VALID(at))
        at = GST_BUFFER_PTS(buffer);
    if (GST_CLOCK_TIME_IS_VALID(last_out_))
        at = std::max(at, last_out_ + 1);
    GST_BUFFER_PTS(buffer) = at;
    return output(buffer);
}

GstFlowReturn Redirector::output(GstBuffer *buffer)
{
    if (std::exchange(segment_due_, false))
        gst_pad_push_event(src_, gst_event_ref(segment_event_));
    if (GST_BUFFER_PTS_IS_VALID(buffer))
        last_out_ = GST_BUFFER_PTS(buffer);
    outputs_++;
    return gst_pad_push(src_, buffer);
}

bool Redirector::decoder_event(GstEvent *event)
{
    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START:
    case GST_EVENT_SEGMENT:
    case GST_EVENT_FLUSH_START:
    case GST_EVENT_FLUSH_STOP:
        gst_event_unref(event); // ours have gone, or go with the next picture
        return true;
    default:
        return gst_pad_push_event(src_, event);
    }
}

GstFlowReturn Redirector::negotiate()
{
    gst_pad_check_reconfigure(src_);
    auto caps = placeholder_.choose(caps_);
    Status ready = caps ? Status(Success{}) : Status(caps.error());
    if (caps) {
        GST_INFO_OBJECT(element_, "flat frames of %" GST_PTR_FORMAT, static_cast<void *>(*caps));
        gst_pad_push_event(src_, gst_event_new_caps(*caps));
        ready = placeholder_.prepare(*caps, static_cast<std::uint32_t>(key_colour_));
        gst_caps_unref(*caps);
    }
    if (!ready) {
        if (GST_PAD_IS_FLUSHING(src_))
            return GST_FLOW_FLUSHING;
        GST_ELEMENT_ERROR(element_, CORE, NEGOTIATION, (nullptr), ("%s", ready.error().message.c_str()));
        return GST_FLOW_NOT_NEGOTIATED;
    }
    if (segment_event_ && std::exchange(segment_due_, false))
        gst_pad_push_event(src_, gst_event_ref(segment_event_));
    return GST_FLOW_OK;
}

GstFlowReturn Redirector::show_placeholder(GstClockTime at, GstClockTime duration, bool always)
{
    if (GST_CLOCK_TIME_IS_VALID(segment_.start))
        at = std::max(at, segment_.start);
    if (GST_CLOCK_TIME_IS_VALID(last_out_))
        at = std::max(at, last_out_);
    bool again = placeholder_.prepared() && !GST_PAD_NEEDS_RECONFIGURE(src_);
    const GstClockTime every = forwarder_.seen() ? kFlatFramesWhenSeen : kFlatFrames;
    if (again && !always && GST_CLOCK_TIME_IS_VALID(last_flat_) && at < last_flat_ + every) {
        if (GST_PAD_IS_FLUSHING(src_))
            return GST_FLOW_FLUSHING;
        if (at >= last_out_ + kNothingNew) {
            last_out_ = at;
            gst_pad_push_event(src_, gst_event_new_gap(at, duration));
        }
        return GST_FLOW_OK;
    }
    if (!again)
        if (GstFlowReturn flow = negotiate(); flow != GST_FLOW_OK)
            return flow;
    GstFlowReturn flow;
    GstBuffer *buffer = placeholder_.frame(flow);
    if (!buffer)
        return flow;
    // A player that was stopped is late with everything for a while, and its picture would stand still where the client's is to be:
    // sinks leave out what is late, and show at once what has no time.
    auto now = forwarder_.now();
    GST_BUFFER_PTS(buffer) = now && running(at) + kLate < *now ? GST_CLOCK_TIME_NONE : at;
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
    GST_BUFFER_DURATION(buffer) = duration;
    last_flat_ = at;
    return output(buffer);
}

/// Downstream was flushed so that what is seen can be another picture.
GstFlowReturn Redirector::refresh()
{
    gst_pad_push_event(src_, gst_event_new_flush_stop(FALSE));
    segment_due_ = true;
    last_out_ = last_flat_ = GST_CLOCK_TIME_NONE;
    placeholder_.forget();
    bool done = false;
    refreshing_ = true;
    GstFlowReturn flow = follow(done);
    refreshing_ = false;
    if (!done && !inner()) {
        GstClockTime at = gst_segment_position_from_running_time(
            &segment_, GST_FORMAT_TIME, static_cast<guint64>(std::max<std::int64_t>(paused_at_, 0)));
        flow = show_placeholder(GST_CLOCK_TIME_IS_VALID(at) ? at : segment_.start, GST_CLOCK_TIME_NONE, true);
    }
    paused_at_ = INT64_MIN;
    if (ended_ && flow == GST_FLOW_OK) {
        if (auto decoder = inner())
            decoder->push_event(gst_event_new_eos());
        else
            gst_pad_push_event(src_, gst_event_new_eos());
    }
    return flow;
}

bool Redirector::take_refresh()
{
    std::lock_guard lock(flush_mutex_); // what comes back as flushed is to wait until all of downstream is
    return refresh_due_.exchange(false);
}

/// While data flow, unit() does it; when they do not (paused, or the source is slow), it is done here.
void Redirector::follow_from_outside()
{
    constexpr int kTries = 500;
    constexpr gulong kPause = 5'000; // us
    for (int tries = 0; tries < kTries && running_; tries++, g_usleep(kPause)) {
        bool local = local_anyway_ || forwarder_.reason() != SPICE_OVERLAY_REASON_NONE;
        if (local == local_ && !refresh_due_)
            return;
        if (still() && GST_STATE_PENDING(element_) == GST_STATE_VOID_PENDING && !refresh_due_) {
            std::lock_guard lock(flush_mutex_);
            if (!running_)
                return; // stop() has been here, or waits
            // A player is told of another place, where the last flat frame stands; what the client showed is known better.
            std::int64_t seen = seen_at_;
            paused_at_ = seen == INT64_MIN ? start_ : seen;
            GST_INFO_OBJECT(element_, "the picture seen in the pause is to be another one");
            gst_pad_push_event(src_, gst_event_new_flush_start());
            refresh_due_ = true;
            wake();
        }
        if (GST_PAD_STREAM_TRYLOCK(sink_)) {
            bool done;
            if (running_ && take_refresh())
                (void)refresh();
            else if (running_ && !ended_ && caps_ && outputs_ > 0)
                (void)follow(done);
            GST_PAD_STREAM_UNLOCK(sink_);
        }
    }
}

} // namespace spice_overlay::gst
