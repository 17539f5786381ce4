// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gst/gst.h>

/// spiceoverlaydec: a decoder that players pick by themselves.
GType spice_overlay_decoder_type();

/// spiceoverlaysink: a sink for encoded video, for pipelines that one builds.
GType spice_overlay_sink_type();
