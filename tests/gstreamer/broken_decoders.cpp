// SPDX-License-Identifier: LGPL-2.1-or-later
// Decoders of H.264 that are preferred to all but ours, and do not start: one fails as it is opened, the other later.
#include <gst/gst.h>

#include <initializer_list>

namespace {

struct Decoder {
    GstElement parent;
};

struct DecoderClass {
    GstElementClass parent_class;
    GstStateChange fails_at;
};

G_DEFINE_TYPE(Decoder, broken_decoder, GST_TYPE_ELEMENT)

GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    if (transition == reinterpret_cast<DecoderClass *>(G_OBJECT_GET_CLASS(element))->fails_at) {
        GST_ELEMENT_ERROR(element, RESOURCE, OPEN_READ_WRITE, ("this decoder does not start"), (nullptr));
        return GST_STATE_CHANGE_FAILURE;
    }
    return GST_ELEMENT_CLASS(broken_decoder_parent_class)->change_state(element, transition);
}

void broken_decoder_init(Decoder *decoder)
{
    for (const char *name : {"sink", "src"}) {
        GstPadTemplate *made = gst_element_get_pad_template(GST_ELEMENT(decoder), name);
        gst_element_add_pad(GST_ELEMENT(decoder), gst_pad_new_from_template(made, name));
    }
}

void add_template(GstElementClass *element, const char *name, GstPadDirection direction, const char *text)
{
    GstCaps *caps = gst_caps_from_string(text);
    gst_element_class_add_pad_template(element, gst_pad_template_new(name, direction, GST_PAD_ALWAYS, caps));
    gst_caps_unref(caps);
}

void broken_decoder_class_init(DecoderClass *type)
{
    auto *element = GST_ELEMENT_CLASS(type);
    element->change_state = change_state;
    gst_element_class_set_static_metadata(element, "Broken decoder", "Codec/Decoder/Video", "Does not start",
                                          "The spice-overlay project");
    add_template(element, "sink", GST_PAD_SINK, "video/x-h264");
    add_template(element, "src", GST_PAD_SRC, "video/x-raw(ANY)");
}

template <GstStateChange When>
GType broken_at(const char *name)
{
    GTypeInfo info{};
    info.class_size = sizeof(DecoderClass);
    info.instance_size = sizeof(Decoder);
    info.class_init = [](gpointer type, gpointer) { static_cast<DecoderClass *>(type)->fails_at = When; };
    return g_type_register_static(broken_decoder_get_type(), name, &info, static_cast<GTypeFlags>(0));
}

gboolean plugin_init(GstPlugin *plugin)
{
    constexpr guint kRank = GST_RANK_PRIMARY + 50;
    return gst_element_register(plugin, "closeddec", kRank, broken_at<GST_STATE_CHANGE_NULL_TO_READY>("ClosedDecoder"))
           && gst_element_register(plugin, "stuckdec", kRank,
                                   broken_at<GST_STATE_CHANGE_READY_TO_PAUSED>("StuckDecoder"));
}

} // namespace

#define PACKAGE "spice-overlay"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, brokendecoders, "Decoders that do not start", plugin_init,
                  SPICE_OVERLAY_VERSION, "LGPL", "spice-overlay", "spice-overlay")
