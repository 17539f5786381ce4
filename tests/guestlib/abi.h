/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The binary interface, as it was when it was published: what is here may only grow. Compiled as C99 and as C++. */
#ifndef ABI_H
#define ABI_H

#include "guest/common/spice-overlay-guest.h"

#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]
#define AT(type, member, offset) HOLDS(type##_##member, offsetof(type, member) == offset)

#if defined(__LP64__)
AT(spice_overlay_format, codec, 8);
AT(spice_overlay_format, width, 20);
AT(spice_overlay_format, primaries, 36);
AT(spice_overlay_format, rotation, 40);
AT(spice_overlay_format, frame_rate_num, 44);
AT(spice_overlay_format, bit_rate, 52);
AT(spice_overlay_format, extradata, 56);
AT(spice_overlay_format, extradata_size, 64);
AT(spice_overlay_stream_events, state, 8);
AT(spice_overlay_stream_events, need_key, 16);
AT(spice_overlay_stream_events, feedback, 24);
AT(spice_overlay_stream_events, placed, 32);
HOLDS(sizes, sizeof(spice_overlay_format) >= 72 && sizeof(spice_overlay_stream_events) >= 40
                 && sizeof(spice_overlay_rect) == 16);
#endif
HOLDS(numbers, SPICE_OVERLAY_CODEC_H264 == 1 && SPICE_OVERLAY_CODEC_MJPEG == 7 && SPICE_OVERLAY_REASON_NONE == 0
                   && SPICE_OVERLAY_REASON_SESSION_INACTIVE == 14 && SPICE_OVERLAY_REASON_NO_AGENT == 0x10000
                   && SPICE_OVERLAY_REASON_PENDING == 0x10001 && SPICE_OVERLAY_UNIT_DROPPABLE == 4);

#endif
