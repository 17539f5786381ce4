// SPDX-License-Identifier: LGPL-2.1-or-later
// Decoders of H.264 that are preferred to all but ours, and do not start: one fails as it is opened, the other later.
#include <gst/gst.h>

#include <initializer_list>

namespace {

template <GstStateChange FailsAt>
GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    if (transition == FailsAt) {
        GST_ELEMENT_ERROR(element, RESOURCE, OPEN_READ_WRITE, ("this decoder does not start"), (nullptr));
        return GST_STATE_CHANGE_FAILURE;
    }
    return GST_ELEMENT_CLASS(g_type_class_peek(GST_TYPE_ELEMENT))->change_state(element, transition);
}

void add_template(GstElementClass *element, const char *name, GstPadDirection direction, const char *text)
{
    GstCaps *caps = gst_caps_from_string(text);
    gst_element_class_add_pad_template(element, gst_pad_template_new(name, direction, GST_PAD_ALWAYS, caps));
    gst_caps_unref(caps);
}

template <GstStateChange FailsAt>
void init_class(gpointer type, gpointer)
{
    auto *element = GST_ELEMENT_CLASS(type);
    element->change_state = change_state<FailsAt>;
    gst_element_class_set_static_metadata(element, "Broken decoder", "Codec/Decoder/Video", "Does not start",
                                          "The spice-overlay project");
    add_template(element, "sink", GST_PAD_SINK, "video/x-h264");
    add_template(element, "src", GST_PAD_SRC, "video/x-raw(ANY)");
}

void init(GTypeInstance *instance, gpointer type)
{
    auto *element = GST_ELEMENT(instance);
    for (const char *name : {"sink", "src"})
        gst_element_add_pad(element, gst_pad_new_from_template(
                                         gst_element_class_get_pad_template(GST_ELEMENT_CLASS(type), name), name));
}

template <GstStateChange FailsAt>
gboolean add(GstPlugin *plugin, const char *name, const char *type)
{
    GTypeInfo info{};
    info.class_size = sizeof(GstElementClass);
    info.instance_size = sizeof(GstElement);
    info.class_init = init_class<FailsAt>;
    info.instance_init = init;
    return gst_element_register(plugin, name, GST_RANK_PRIMARY + 50,
                                g_type_register_static(GST_TYPE_ELEMENT, type, &info, static_cast<GTypeFlags>(0)));
}

gboolean init_plugin(GstPlugin *plugin)
{
    return add<GST_STATE_CHANGE_NULL_TO_READY>(plugin, "closeddec", "ClosedDecoder")
           && add<GST_STATE_CHANGE_READY_TO_PAUSED>(plugin, "stuckdec", "StuckDecoder");
}

} // namespace

#define PACKAGE "spice-overlay"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, brokendecoders, "Decoders that do not start", init_plugin,
                  SPICE_OVERLAY_VERSION, "LGPL", "spice-overlay", "spice-overlay")
