// SPDX-License-Identifier: LGPL-2.1-or-later
#include "inner_decoder.h"

#include "debug.h"

#define GST_CAT_DEFAULT decoder_category

namespace spice_overlay::gst {
namespace {

InnerDecoder *owner_of(GstPad *pad)
{
    return static_cast<InnerDecoder *>(gst_pad_get_element_private(pad));
}

GstPad *make_pad(const char *name, GstPadDirection direction, InnerDecoder *owner)
{
    GstPad *pad = GST_PAD(gst_object_ref_sink(gst_pad_new(name, direction)));
    gst_pad_set_element_private(pad, owner);
    return pad;
}

/// Decoders for `caps`, best first, ours left out.
GList *candidates(GstCaps *caps)
{
    GList *all = gst_element_factory_list_get_elements(
        GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_VIDEO, GST_RANK_MARGINAL);
    GList *fit = gst_element_factory_list_filter(all, caps, GST_PAD_SINK, TRUE);
    gst_plugin_feature_list_free(all);
    fit = g_list_sort(fit, gst_plugin_feature_rank_compare_func);
    for (GList *at = fit; at;) {
        GList *next = at->next;
        const char *name = GST_OBJECT_NAME(at->data);
        if (g_str_has_prefix(name, "spiceoverlay")) {
            gst_object_unref(at->data);
            fit = g_list_delete_link(fit, at);
        }
        at = next;
    }
    return fit;
}

} // namespace

void InnerDecoder::load(GstCaps *caps)
{
    GList *factories = candidates(caps);
    if (factories)
        if (GstPluginFeature *loaded = gst_plugin_feature_load(GST_PLUGIN_FEATURE(factories->data)))
            gst_object_unref(loaded);
    gst_plugin_feature_list_free(factories);
}

Result<std::unique_ptr<InnerDecoder>> InnerDecoder::make(GstBin *bin, GstCaps *caps, const Output &output)
{
    std::unique_ptr<InnerDecoder> found;
    GList *factories = candidates(caps);
    for (GList *at = factories; at && !found; at = at->next) {
        auto *factory = GST_ELEMENT_FACTORY(at->data);
        GstElement *element = gst_element_factory_create(factory, nullptr);
        if (!element)
            continue;
        gst_element_set_locked_state(element, TRUE); // until it has started
        gst_bin_add(bin, element);
        std::unique_ptr<InnerDecoder> candidate(new InnerDecoder(bin, element, output));
        if (candidate->link(caps))
            found = std::move(candidate);
        else
            GST_INFO_OBJECT(bin, "%s does not start, the next one is tried", GST_OBJECT_NAME(factory));
    }
    gst_plugin_feature_list_free(factories);
    if (!found) {
        char *text = gst_caps_to_string(caps);
        Error error{std::string("no decoder for ") + text
                    + "; install one of gstreamer1.0-libav, gstreamer1.0-plugins-good or -bad"};
        g_free(text);
        return error;
    }
    return found;
}

bool InnerDecoder::starting(GstBin *bin, GstObject *source)
{
    bool locked = false;
    GstObject *parent = nullptr;
    for (GstObject *at = source ? GST_OBJECT(gst_object_ref(source)) : nullptr; at; at = parent) {
        parent = gst_object_get_parent(at);
        if (parent == GST_OBJECT(bin))
            locked = GST_IS_ELEMENT(at) && gst_element_is_locked_state(GST_ELEMENT(at));
        gst_object_unref(at);
    }
    return locked;
}

InnerDecoder::InnerDecoder(GstBin *bin, GstElement *decoder, Output output)
    : bin_(bin),
      decoder_(decoder),
      feed_(make_pad("feed", GST_PAD_SRC, this)),
      drain_(make_pad("drain", GST_PAD_SINK, this)),
      output_(std::move(output))
{
    gst_pad_set_query_function(feed_, [](GstPad *pad, GstObject *, GstQuery *query) -> gboolean {
        return owner_of(pad)->output_.upstream(query);
    });
    gst_pad_set_event_function(feed_, [](GstPad *pad, GstObject *, GstEvent *event) -> gboolean {
        return owner_of(pad)->output_.upstream_event(event);
    });
    gst_pad_set_chain_function(drain_, [](GstPad *pad, GstObject *, GstBuffer *buffer) -> GstFlowReturn {
        return owner_of(pad)->output_.buffer(buffer);
    });
    gst_pad_set_query_function(drain_, [](GstPad *pad, GstObject *, GstQuery *query) -> gboolean {
        return owner_of(pad)->output_.downstream(query);
    });
    gst_pad_set_event_function(drain_, [](GstPad *pad, GstObject *, GstEvent *event) -> gboolean {
        return owner_of(pad)->output_.event(event);
    });
}

bool InnerDecoder::link(GstCaps *caps)
{
    GstPad *sink = gst_element_get_static_pad(decoder_, "sink");
    GstPad *src = gst_element_get_static_pad(decoder_, "src");
    bool linked = sink && src && gst_pad_link_full(feed_, sink, GST_PAD_LINK_CHECK_NOTHING) == GST_PAD_LINK_OK
                  && gst_pad_link_full(src, drain_, GST_PAD_LINK_CHECK_NOTHING) == GST_PAD_LINK_OK;
    linked = linked && gst_element_set_state(decoder_, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE
             && gst_pad_query_accept_caps(sink, caps) && gst_pad_set_active(feed_, TRUE)
             && gst_pad_set_active(drain_, TRUE)
             && gst_element_set_state(decoder_, GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE;
    if (linked) {
        gst_element_set_locked_state(decoder_, FALSE);
        gst_element_sync_state_with_parent(decoder_);
    }
    gst_clear_object(&sink);
    gst_clear_object(&src);
    return linked;
}

InnerDecoder::~InnerDecoder()
{
    gst_pad_set_active(feed_, FALSE);
    gst_element_set_locked_state(decoder_, TRUE);
    gst_element_set_state(decoder_, GST_STATE_NULL);
    gst_pad_set_active(drain_, FALSE);
    gst_bin_remove(bin_, decoder_);
    gst_object_unref(feed_);
    gst_object_unref(drain_);
}

GstFlowReturn InnerDecoder::push(GstBuffer *buffer)
{
    return gst_pad_push(feed_, buffer);
}

bool InnerDecoder::push_event(GstEvent *event)
{
    return gst_pad_push_event(feed_, event);
}

bool InnerDecoder::send_upstream(GstEvent *event)
{
    return gst_pad_push_event(drain_, event);
}

bool InnerDecoder::query(GstQuery *query)
{
    return gst_pad_peer_query(drain_, query);
}

std::string InnerDecoder::name() const
{
    return GST_OBJECT_NAME(decoder_);
}

} // namespace spice_overlay::gst
