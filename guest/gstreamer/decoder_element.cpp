// SPDX-License-Identifier: LGPL-2.1-or-later
#include "debug.h"
#include "elements.h"
#include "redirector.h"
#include "stream_format.h"

#include <gst/video/video.h>

#include <mutex>
#include <new>

#define GST_CAT_DEFAULT decoder_category

using spice_overlay::Status;
using spice_overlay::gst::decoder_category;
using spice_overlay::gst::InnerDecoder;
using spice_overlay::gst::Redirector;

namespace {

enum { kAgentSocket = 1, kDisplayName, kKeyColour, kSearchTimeout, kRedirected, kReason };

struct GstSpiceOverlayDec {
    GstBin parent;
    Redirector *redirector;
    Redirector::Settings *settings; ///< guarded by the object lock
};

struct GstSpiceOverlayDecClass {
    GstBinClass parent_class;
};

G_DEFINE_TYPE(GstSpiceOverlayDec, spice_overlay_decoder, GST_TYPE_BIN)

GstSpiceOverlayDec *decoder_of(gpointer object)
{
    return static_cast<GstSpiceOverlayDec *>(object);
}

Redirector &redirector_of(gpointer object)
{
    return *decoder_of(object)->redirector;
}

Redirector::Settings settings_of(gpointer object)
{
    GST_OBJECT_LOCK(object);
    Redirector::Settings settings = *decoder_of(object)->settings;
    GST_OBJECT_UNLOCK(object);
    return settings;
}

gboolean sink_query(GstPad *pad, GstObject *parent, GstQuery *query)
{
    if (GST_QUERY_TYPE(query) != GST_QUERY_ACCEPT_CAPS)
        return gst_pad_query_default(pad, parent, query);
    GstCaps *caps;
    gst_query_parse_accept_caps(query, &caps);
    GstCaps *all = gst_pad_get_pad_template_caps(pad);
    bool accepted = gst_caps_is_subset(caps, all);
    gst_caps_unref(all);
    // Players ask in this state, and take another decoder when the answer is no. Later it would end the stream, which the
    // inner decoder can play after all.
    if (accepted && GST_STATE(parent) == GST_STATE_READY) {
        Status status = redirector_of(parent).check_caps(settings_of(parent), caps);
        accepted = status.ok();
        if (!accepted)
            GST_INFO_OBJECT(parent, "not redirected: %s", status.error().message.c_str());
    }
    gst_query_set_accept_caps_result(query, accepted);
    return TRUE;
}

GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    Redirector &redirector = redirector_of(element);
    switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
        if (Status status = redirector.check(settings_of(element)); !status) {
            GST_INFO_OBJECT(element, "not redirected: %s", status.error().message.c_str());
            return GST_STATE_CHANGE_FAILURE;
        }
        break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
        redirector.start(settings_of(element));
        break;
    case GST_STATE_CHANGE_PAUSED_TO_PLAYING:
    case GST_STATE_CHANGE_PLAYING_TO_PLAYING:
        redirector.play();
        break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED:
        redirector.pause();
        break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
        redirector.interrupt();
        break;
    default:
        break;
    }
    GstStateChangeReturn result =
        GST_ELEMENT_CLASS(spice_overlay_decoder_parent_class)->change_state(element, transition);
    if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
        redirector.stop();
    return result;
}

/// The error of a decoder that does not start would end the player, which is to have the next one.
void handle_message(GstBin *bin, GstMessage *message)
{
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR && InnerDecoder::starting(bin, GST_MESSAGE_SRC(message)))
        gst_message_unref(message);
    else
        GST_BIN_CLASS(spice_overlay_decoder_parent_class)->handle_message(bin, message);
}

void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    Redirector::Settings &settings = *decoder_of(object)->settings;
    const char *string = G_VALUE_HOLDS_STRING(value) ? g_value_get_string(value) : nullptr;
    GST_OBJECT_LOCK(object);
    switch (id) {
    case kAgentSocket:
        settings.socket = string ? string : "";
        break;
    case kDisplayName:
        settings.display_name = string ? string : "";
        break;
    case kKeyColour:
        settings.key_colour = g_value_get_int(value);
        break;
    case kSearchTimeout:
        settings.search_ms = g_value_get_int(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(object);
}

void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    Redirector::Settings settings = settings_of(object);
    switch (id) {
    case kAgentSocket:
        g_value_set_string(value, settings.socket.c_str());
        break;
    case kDisplayName:
        g_value_set_string(value, settings.display_name.c_str());
        break;
    case kKeyColour:
        g_value_set_int(value, settings.key_colour);
        break;
    case kSearchTimeout:
        g_value_set_int(value, settings.search_ms);
        break;
    case kRedirected:
        g_value_set_boolean(value, redirector_of(object).redirected());
        break;
    case kReason:
        g_value_set_string(value, redirector_of(object).reason().c_str());
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

void finalize(GObject *object)
{
    delete decoder_of(object)->redirector;
    delete decoder_of(object)->settings;
    G_OBJECT_CLASS(spice_overlay_decoder_parent_class)->finalize(object);
}

void spice_overlay_decoder_init(GstSpiceOverlayDec *decoder)
{
    auto *element = GST_ELEMENT(decoder);
    GstPad *sink = gst_pad_new_from_template(gst_element_get_pad_template(element, "sink"), "sink");
    GstPad *src = gst_pad_new_from_template(gst_element_get_pad_template(element, "src"), "src");
    gst_pad_set_chain_function(sink, [](GstPad *, GstObject *parent, GstBuffer *buffer) -> GstFlowReturn {
        return redirector_of(parent).unit(buffer);
    });
    gst_pad_set_event_function(sink, [](GstPad *, GstObject *parent, GstEvent *event) -> gboolean {
        return redirector_of(parent).sink_event(event);
    });
    gst_pad_set_query_function(sink, sink_query);
    gst_pad_set_event_function(src, [](GstPad *, GstObject *parent, GstEvent *event) -> gboolean {
        return redirector_of(parent).src_event(event);
    });
    gst_pad_set_query_function(src, [](GstPad *, GstObject *parent, GstQuery *query) -> gboolean {
        return redirector_of(parent).src_query(query);
    });
    gst_element_add_pad(element, sink);
    gst_element_add_pad(element, src);
    decoder->settings = new Redirector::Settings;
    decoder->redirector = new Redirector(GST_BIN(decoder), sink, src);
}

void add_template(GstElementClass *element, const char *name, GstPadDirection direction, const char *text)
{
    GstCaps *caps = gst_caps_from_string(text);
    gst_element_class_add_pad_template(element, gst_pad_template_new(name, direction, GST_PAD_ALWAYS, caps));
    gst_caps_unref(caps);
}

void spice_overlay_decoder_class_init(GstSpiceOverlayDecClass *type)
{
    auto *object = G_OBJECT_CLASS(type);
    auto *element = GST_ELEMENT_CLASS(type);
    object->set_property = set_property;
    object->get_property = get_property;
    object->finalize = finalize;
    element->change_state = change_state;
    GST_BIN_CLASS(type)->handle_message = handle_message;

    auto ready = static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY);
    auto told = static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_property(
        object, kAgentSocket,
        g_param_spec_string(
            "agent-socket", "Agent socket",
            "Unix socket of spice-overlay-agentd; empty: $SPICE_OVERLAY_AGENT, or " SPICE_OVERLAY_AGENT_SOCKET, "",
            ready));
    g_object_class_install_property(object, kDisplayName,
                                    g_param_spec_string("display-name", "Display name",
                                                        "X display on which the picture is looked for; empty: $DISPLAY",
                                                        "", ready));
    g_object_class_install_property(
        object, kKeyColour,
        g_param_spec_int(
            "key-colour", "Key colour",
            "Colour of the placeholder, 0xRRGGBB, by which the picture is found on the screen; -1: one that is rare",
            -1, 0xffffff, -1, ready));
    g_object_class_install_property(
        object, kSearchTimeout,
        g_param_spec_int(
            "search-timeout", "Search timeout",
            "Milliseconds of playing after which the video is decoded here when the placeholder has not been "
            "found on the screen; 0: never",
            0, 3'600'000, 10000, ready));
    g_object_class_install_property(
        object, kRedirected,
        g_param_spec_boolean("redirected", "Redirected", "Whether the client shows the video now", FALSE, told));
    g_object_class_install_property(
        object, kReason, g_param_spec_string("reason", "Reason", "Why the video is decoded here, or empty", "", told));

    gst_element_class_set_static_metadata(element, "SPICE video redirection", "Codec/Decoder/Video",
                                          "Sends compressed video to the SPICE client, which decodes it and shows it "
                                          "in place of the flat frames that this element "
                                          "puts out; decodes it here by another decoder while there is no client",
                                          "The spice-overlay project");
    add_template(element, "sink", GST_PAD_SINK, spice_overlay::gst::kEncodedCaps);
    add_template(element, "src", GST_PAD_SRC, "video/x-raw(ANY)");
}

} // namespace

GType spice_overlay_decoder_type()
{
    return spice_overlay_decoder_get_type();
}
