// SPDX-License-Identifier: LGPL-2.1-or-later
#include "display_check.h"

#include <cstring>

namespace spice_overlay::gst {
namespace {

const char *const kNotLinked = "not linked";
constexpr int kFarthest = 64; ///< elements in a row; no player comes near it

std::string factory_name(GstElement *element)
{
    GstElementFactory *factory = gst_element_get_factory(element);
    return factory ? GST_OBJECT_NAME(factory) : "";
}

bool has_class(GstElement *element, const char *word)
{
    const char *words = gst_element_get_metadata(element, GST_ELEMENT_METADATA_KLASS);
    return words && std::strstr(words, word);
}

/// A sink of its own, or inside a bin that is one (as those for toolkits often are).
bool shows(GstElement *sink)
{
    for (const char *blind : {"fakesink", "fakevideosink", "v4l2sink", "testsink", "videocodectestsink"})
        if (factory_name(sink) == blind)
            return false;
    bool shown = has_class(sink, "Sink/Video");
    GstObject *object = GST_OBJECT(gst_object_ref(sink));
    while (object && !shown) {
        GstObject *parent = gst_object_get_parent(object);
        gst_object_unref(object);
        object = parent;
        shown = object && GST_IS_ELEMENT(object) && has_class(GST_ELEMENT(object), "Sink/Video");
    }
    gst_clear_object(&object);
    return shown;
}

std::string look(GstPad *src, int depth);

/// What `sink`, a pad of an element in the middle, leads to.
std::string look_behind(GstPad *sink, int depth)
{
    std::string found = kNotLinked;
    GstIterator *pads = gst_pad_iterate_internal_links(sink);
    GValue item = G_VALUE_INIT;
    while (pads && gst_iterator_next(pads, &item) == GST_ITERATOR_OK) {
        std::string one = look(GST_PAD(g_value_get_object(&item)), depth + 1);
        g_value_reset(&item);
        if (one != kNotLinked)
            found = one;
        if (!found.empty() && found != kNotLinked)
            break;
    }
    g_value_unset(&item);
    g_clear_pointer(&pads, gst_iterator_free);
    return found;
}

std::string look(GstPad *src, int depth)
{
    if (depth > kFarthest)
        return "a pipeline without end";
    GstPad *peer = gst_pad_get_peer(src);
    if (!peer)
        return kNotLinked;
    GstObject *parent = gst_pad_get_parent(peer);
    std::string found = kNotLinked;
    if (GST_IS_PROXY_PAD(peer)) { // into a bin, or out of one
        if (GstProxyPad *beyond = gst_proxy_pad_get_internal(GST_PROXY_PAD(peer))) {
            found = look(GST_PAD(beyond), depth + 1);
            gst_object_unref(beyond);
        }
    } else if (GST_IS_ELEMENT(parent)) {
        GstElement *element = GST_ELEMENT(parent);
        if (GST_OBJECT_FLAG_IS_SET(element, GST_ELEMENT_FLAG_SINK))
            found = shows(element) ? "" : "the sink is " + factory_name(element);
        else if (has_class(element, "Encoder"))
            found = "the video is encoded again by " + factory_name(element);
        else
            found = look_behind(peer, depth);
    }
    gst_clear_object(&parent);
    gst_object_unref(peer);
    return found;
}

} // namespace

std::string why_not_displayed(GstPad *src)
{
    return look(src, 0);
}

} // namespace spice_overlay::gst
