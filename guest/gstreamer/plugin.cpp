// SPDX-License-Identifier: LGPL-2.1-or-later
#include "debug.h"
#include "elements.h"

namespace spice_overlay::gst {

GstDebugCategory *stream_category;
GstDebugCategory *decoder_category;
GstDebugCategory *sink_category;

} // namespace spice_overlay::gst

namespace {

gboolean init_plugin(GstPlugin *plugin)
{
    using namespace spice_overlay::gst;
    GST_DEBUG_CATEGORY_INIT(stream_category, "spiceoverlay", 0, "Video redirection: the stream to the agent");
    GST_DEBUG_CATEGORY_INIT(decoder_category, "spiceoverlaydec", 0, "Video redirection: the forwarding decoder");
    GST_DEBUG_CATEGORY_INIT(sink_category, "spiceoverlaysink", 0, "Video redirection: the sink");
    // Above every decoder, those in hardware included: what is redirected need not be decoded at all.
    return gst_element_register(plugin, "spiceoverlaydec", GST_RANK_PRIMARY + 100, spice_overlay_decoder_type())
           && gst_element_register(plugin, "spiceoverlaysink", GST_RANK_NONE, spice_overlay_sink_type());
}

} // namespace

#define PACKAGE "spice-overlay"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, spiceoverlay, "Video redirection for SPICE desktops",
                  init_plugin, SPICE_OVERLAY_VERSION, "LGPL", "spice-overlay", "spice-overlay")
