// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent_link.h"
#include "debug.h"
#include "elements.h"
#include "forwarder.h"
#include "stream_format.h"
#include "unit.h"

#include <gst/base/gstbasesink.h>

#include <cstdio>

#define GST_CAT_DEFAULT sink_category

using namespace spice_overlay;
using spice_overlay::gst::agent_link;
using spice_overlay::gst::Forwarder;
using spice_overlay::gst::Place;
using spice_overlay::gst::sink_category;

namespace {

constexpr int kCheckMs = 2000;
/// Units go this much before they are to be seen.
constexpr GstClockTimeDiff kLead = 100 * GST_MSECOND;

enum { kAgentSocket = 1, kDisplayName, kWindow, kRegion, kMonitor, kKeyColour, kRedirected, kReason };

struct GstSpiceOverlaySink {
    GstBaseSink parent;
    class Stream *stream;
};

struct GstSpiceOverlaySinkClass {
    GstBaseSinkClass parent_class;
};

class Stream : public Forwarder::Events {
public:
    explicit Stream(GstElement *sink) : sink_(sink) {}
    void redirection_changed() override
    {
        gst_element_call_async(
            sink_, [](GstElement *, gpointer data) { static_cast<Stream *>(data)->tell(); }, this, nullptr);
    }
    void key_unit_wanted() override {}
    void tell()
    {
        spice_overlay_reason reason = forwarder.reason();
        const char *text = reason == SPICE_OVERLAY_REASON_NONE ? "" : spice_overlay_reason_text(reason);
        g_object_notify(G_OBJECT(sink_), "redirected");
        g_object_notify(G_OBJECT(sink_), "reason");
        gst_element_post_message(
            sink_, gst_message_new_element(GST_OBJECT(sink_),
                                           gst_structure_new("spice-overlay-redirection", "redirected", G_TYPE_BOOLEAN,
                                                             reason == SPICE_OVERLAY_REASON_NONE, "reason",
                                                             G_TYPE_STRING, text, nullptr)));
    }

    Forwarder forwarder{*this};
    std::string socket;
    std::string region_text;
    Place place;
    spice_overlay::gst::ParameterSets parameter_sets;
    GstBuffer *prerolled = nullptr; ///< borrowed, only compared
    bool ended = false;

private:
    GstElement *sink_;
};

G_DEFINE_TYPE(GstSpiceOverlaySink, spice_overlay_sink, GST_TYPE_BASE_SINK)

Stream &stream_of(gpointer sink)
{
    return *static_cast<GstSpiceOverlaySink *>(sink)->stream;
}

std::int64_t running_time(GstBaseSink *sink, GstBuffer *buffer)
{
    guint64 time = 0;
    GstClockTime pts = GST_BUFFER_PTS_IS_VALID(buffer) ? GST_BUFFER_PTS(buffer) : GST_BUFFER_DTS(buffer);
    int sign = gst_segment_to_running_time_full(&sink->segment, GST_FORMAT_TIME, pts, &time);
    return sign < 0 ? -static_cast<std::int64_t>(time) : static_cast<std::int64_t>(time);
}

gboolean start(GstBaseSink *sink)
{
    Stream &stream = stream_of(sink);
    spice_overlay_reason reason =
        spice_overlay_guest_check(agent_link(stream.socket), SPICE_OVERLAY_CODEC_H264, 0, 0, kCheckMs);
    if (reason == SPICE_OVERLAY_REASON_NONE || reason == SPICE_OVERLAY_REASON_UNSUPPORTED_CODEC)
        return TRUE;
    GST_ELEMENT_ERROR(
        sink, RESOURCE, NOT_FOUND, ("Video cannot be redirected: %s", spice_overlay_reason_text(reason)),
        ("spice-overlay-agentd has to run in this guest, and spice-overlay-viewer has to be connected to it"));
    return FALSE;
}

gboolean set_caps(GstBaseSink *sink, GstCaps *caps)
{
    Stream &stream = stream_of(sink);
    auto format = spice_overlay::gst::stream_format(caps);
    std::string why = format ? "" : format.error().message;
    if (format) {
        spice_overlay_reason reason = spice_overlay_guest_check(agent_link(stream.socket), format->codec, format->width,
                                                                format->height, kCheckMs);
        if (reason != SPICE_OVERLAY_REASON_NONE)
            why = spice_overlay_reason_text(reason);
    }
    if (!why.empty()) {
        GST_ELEMENT_ERROR(sink, STREAM, FORMAT, ("Video cannot be redirected: %s", why.c_str()),
                          ("caps %" GST_PTR_FORMAT, static_cast<void *>(caps)));
        return FALSE;
    }
    if (!stream.region_text.empty()) {
        spice_overlay_rect rect{};
        char rest;
        if (std::sscanf(stream.region_text.c_str(), "%d,%d,%u,%u%c", &rect.x, &rect.y, &rect.width, &rect.height, &rest)
            != 4) {
            GST_ELEMENT_ERROR(sink, RESOURCE, SETTINGS,
                              ("The region '%s' is not X,Y,WIDTH,HEIGHT", stream.region_text.c_str()), (nullptr));
            return FALSE;
        }
        stream.place.region = rect;
    }
    stream.forwarder.end(SPICE_OVERLAY_REASON_END_OF_STREAM);
    stream.parameter_sets.begin(format->codec);
    stream.forwarder.begin(agent_link(stream.socket), *format, stream.place);
    return TRUE;
}

void forward(GstBaseSink *sink, GstBuffer *buffer)
{
    Stream &stream = stream_of(sink);
    GstBuffer *unit = stream.parameter_sets.complete(gst_buffer_ref(buffer));
    stream.forwarder.unit(unit, running_time(sink, buffer));
    gst_buffer_unref(unit);
}

GstFlowReturn send(GstBaseSink *sink, GstBuffer *buffer)
{
    if (std::exchange(stream_of(sink).prerolled, nullptr) != buffer)
        forward(sink, buffer);
    return GST_FLOW_OK;
}

GstFlowReturn preroll(GstBaseSink *sink, GstBuffer *buffer)
{
    if (std::exchange(stream_of(sink).prerolled, buffer) != buffer)
        forward(sink, buffer);
    return GST_FLOW_OK;
}

gboolean sink_event(GstBaseSink *sink, GstEvent *event)
{
    Stream &stream = stream_of(sink);
    gboolean result;
    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_SEGMENT: {
        const GstSegment *segment;
        gst_event_parse_segment(event, &segment);
        guint64 time = 0;
        if (segment->format == GST_FORMAT_TIME) {
            int sign = gst_segment_to_running_time_full(segment, GST_FORMAT_TIME, segment->start, &time);
            stream.forwarder.set_start(sign < 0 ? -static_cast<std::int64_t>(time) : static_cast<std::int64_t>(time));
            stream.forwarder.set_rate(segment->rate);
        }
        break;
    }
    case GST_EVENT_FLUSH_STOP: {
        gboolean reset;
        gst_event_parse_flush_stop(event, &reset);
        stream.prerolled = nullptr;
        stream.forwarder.flush();
        if (reset)
            stream.forwarder.halt(false);
        break;
    }
    case GST_EVENT_EOS:
        stream.ended = true;
        break;
    default:
        break;
    }
    result = GST_BASE_SINK_CLASS(spice_overlay_sink_parent_class)->event(sink, event);
    return result;
}

GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    Stream &stream = stream_of(element);
    if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING || transition == GST_STATE_CHANGE_PLAYING_TO_PLAYING) {
        if (GstClock *clock = gst_element_get_clock(element)) {
            stream.forwarder.set_latency(gst_base_sink_get_latency(GST_BASE_SINK(element)));
            stream.forwarder.run(clock, gst_element_get_base_time(element));
            gst_object_unref(clock);
        }
    } else if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED) {
        stream.forwarder.halt(true);
    }
    GstStateChangeReturn result = GST_ELEMENT_CLASS(spice_overlay_sink_parent_class)->change_state(element, transition);
    if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
        stream.forwarder.halt(true);
        stream.forwarder.end(std::exchange(stream.ended, false) ? SPICE_OVERLAY_REASON_END_OF_STREAM
                                                                : SPICE_OVERLAY_REASON_CLOSED_BY_USER);
        stream.prerolled = nullptr;
    }
    return result;
}

void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    Stream &stream = stream_of(object);
    const char *string = G_VALUE_HOLDS_STRING(value) ? g_value_get_string(value) : nullptr;
    switch (id) {
    case kAgentSocket:
        stream.socket = string ? string : "";
        break;
    case kDisplayName:
        stream.place.display_name = string ? string : "";
        break;
    case kWindow:
        stream.place.window = g_value_get_uint(value);
        break;
    case kRegion:
        stream.region_text = string ? string : "";
        break;
    case kMonitor:
        stream.place.monitor = g_value_get_uint(value);
        break;
    case kKeyColour:
        stream.place.key_colour = g_value_get_int(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    Stream &stream = stream_of(object);
    spice_overlay_reason reason = stream.forwarder.reason();
    switch (id) {
    case kAgentSocket:
        g_value_set_string(value, stream.socket.c_str());
        break;
    case kDisplayName:
        g_value_set_string(value, stream.place.display_name.c_str());
        break;
    case kWindow:
        g_value_set_uint(value, stream.place.window);
        break;
    case kRegion:
        g_value_set_string(value, stream.region_text.c_str());
        break;
    case kMonitor:
        g_value_set_uint(value, stream.place.monitor);
        break;
    case kKeyColour:
        g_value_set_int(value, stream.place.key_colour);
        break;
    case kRedirected:
        g_value_set_boolean(value, reason == SPICE_OVERLAY_REASON_NONE);
        break;
    case kReason:
        g_value_set_string(value, reason == SPICE_OVERLAY_REASON_NONE ? "" : spice_overlay_reason_text(reason));
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

void finalize(GObject *object)
{
    delete static_cast<GstSpiceOverlaySink *>(static_cast<gpointer>(object))->stream;
    G_OBJECT_CLASS(spice_overlay_sink_parent_class)->finalize(object);
}

void spice_overlay_sink_init(GstSpiceOverlaySink *sink)
{
    sink->stream = new Stream(GST_ELEMENT(sink));
    gst_base_sink_set_ts_offset(GST_BASE_SINK(sink), -kLead);
}

void spice_overlay_sink_class_init(GstSpiceOverlaySinkClass *type)
{
    auto *object = G_OBJECT_CLASS(type);
    auto *element = GST_ELEMENT_CLASS(type);
    auto *base = GST_BASE_SINK_CLASS(type);
    object->set_property = set_property;
    object->get_property = get_property;
    object->finalize = finalize;
    element->change_state = change_state;
    base->start = start;
    base->set_caps = set_caps;
    base->render = send;
    base->preroll = preroll;
    base->event = sink_event;

    auto ready = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY);
    auto told = static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_property(
        object, kAgentSocket,
        g_param_spec_string(
            "agent-socket", "Agent socket",
            "Unix socket of spice-overlay-agentd; empty: $SPICE_OVERLAY_AGENT, or " SPICE_OVERLAY_AGENT_SOCKET, "",
            ready));
    g_object_class_install_property(
        object, kDisplayName,
        g_param_spec_string("display-name", "Display name", "X display of the window; empty: $DISPLAY", "", ready));
    g_object_class_install_property(object, kWindow,
                                    g_param_spec_uint("window", "Window",
                                                      "X window that the picture fills, its aspect kept; 0: none", 0,
                                                      G_MAXUINT, 0, ready));
    g_object_class_install_property(
        object, kRegion,
        g_param_spec_string(
            "region", "Region",
            "Where the picture is, as X,Y,WIDTH,HEIGHT in pixels of the monitor, when there is no window", "", ready));
    g_object_class_install_property(
        object, kMonitor, g_param_spec_uint("monitor", "Monitor", "Monitor of the region, from 0", 0, 255, 0, ready));
    g_object_class_install_property(
        object, kKeyColour,
        g_param_spec_int("key-colour", "Key colour",
                         "Colour, 0xRRGGBB, that is painted where the picture belongs: only where the screen shows it "
                         "is the picture seen; "
                         "without window and region it is looked for on the screen; -1: none",
                         -1, 0xffffff, -1, ready));
    g_object_class_install_property(
        object, kRedirected,
        g_param_spec_boolean("redirected", "Redirected", "Whether the client shows the video now", FALSE, told));
    g_object_class_install_property(
        object, kReason,
        g_param_spec_string("reason", "Reason", "Why the client does not show the video, or empty", "", told));

    gst_element_class_set_static_metadata(element, "SPICE video redirection sink", "Sink/Video",
                                          "Sends compressed video to the SPICE client, which decodes it and shows it "
                                          "in a window or region of the desktop",
                                          "The spice-overlay project");
    GstCaps *caps = gst_caps_from_string(spice_overlay::gst::kEncodedCaps);
    gst_element_class_add_pad_template(element, gst_pad_template_new("sink", GST_PAD_SINK, GST_PAD_ALWAYS, caps));
    gst_caps_unref(caps);
}

} // namespace

GType spice_overlay_sink_type()
{
    return spice_overlay_sink_get_type();
}
