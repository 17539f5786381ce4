// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gst_tools.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay::guest {
namespace {

constexpr char kElementPrefix[] = "spiceoverlaydec"; ///< of the factories that redirect

} // namespace

bool is_redirecting(GstObject *object)
{
    GstElementFactory *factory = GST_IS_ELEMENT(object) ? gst_element_get_factory(GST_ELEMENT(object)) : nullptr;
    return factory && g_str_has_prefix(GST_OBJECT_NAME(factory), kElementPrefix);
}

GstElement *find_redirecting(GstElement *bin)
{
    GstElement *found = nullptr;
    GstIterator *elements = gst_bin_iterate_recurse(GST_BIN(bin));
    GValue item = G_VALUE_INIT;
    while (!found && gst_iterator_next(elements, &item) == GST_ITERATOR_OK) {
        if (is_redirecting(GST_OBJECT(g_value_get_object(&item))))
            found = GST_ELEMENT(g_value_dup_object(&item));
        g_value_reset(&item);
    }
    g_value_unset(&item);
    gst_iterator_free(elements);
    return found;
}

Result<std::string> uri_of(const std::string &item)
{
    if (gst_uri_is_valid(item.c_str()))
        return item;
    struct stat status;
    if (stat(item.c_str(), &status) != 0)
        return Error{item + ": " + std::strerror(errno)};
    if (S_ISDIR(status.st_mode))
        return Error{item + ": is a directory"};
    GError *error = nullptr;
    Text uri(gst_filename_to_uri(item.c_str(), &error));
    Failure failure(error);
    if (!uri)
        return Error{item + ": " + failure->message};
    return std::string(uri.get());
}

bool prepare_redirection(bool allowed)
{
    bool found = false;
    GList *decoders = gst_element_factory_list_get_elements(GST_ELEMENT_FACTORY_TYPE_DECODER, GST_RANK_NONE);
    for (GList *at = decoders; at; at = at->next) {
        if (!g_str_has_prefix(GST_OBJECT_NAME(at->data), kElementPrefix))
            continue;
        found = true;
        if (!allowed)
            gst_plugin_feature_set_rank(GST_PLUGIN_FEATURE(at->data), GST_RANK_NONE);
    }
    gst_plugin_feature_list_free(decoders);
    return found;
}

} // namespace spice_overlay::guest
