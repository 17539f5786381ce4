// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gst/gst.h>

namespace spice_overlay::gst {

// GST_DEBUG categories: spiceoverlay (the stream to the agent), spiceoverlaydec, spiceoverlaysink (the elements).
extern GstDebugCategory *stream_category;
extern GstDebugCategory *decoder_category;
extern GstDebugCategory *sink_category;

} // namespace spice_overlay::gst
