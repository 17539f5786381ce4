/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A C99 program that uses every name of the header, linked with the library alone. */
#include "abi.h"

#include <stdio.h>

static const spice_overlay_format format = SPICE_OVERLAY_FORMAT_INIT;

int main(void)
{
    spice_overlay_stream_events events = {sizeof(spice_overlay_stream_events), NULL, NULL, NULL, NULL};
    spice_overlay_guest *guest = spice_overlay_guest_new("/nonexistent/agent.sock", "abi test");
    spice_overlay_format asked = format;
    spice_overlay_rect rect = {0, 0, 16, 16};
    spice_overlay_stream *stream;
    int failures = guest == NULL;
    asked.width = asked.height = 16;
    spice_overlay_guest_on_change(guest, NULL, NULL);
    failures += spice_overlay_guest_check(guest, SPICE_OVERLAY_CODEC_VP9, 16, 16, 10000) != SPICE_OVERLAY_REASON_NO_AGENT;
    stream = spice_overlay_stream_new(guest, &asked, &events, NULL);
    failures += stream == NULL;
    failures += spice_overlay_stream_submit(stream, (const uint8_t *)"", 1, 0, SPICE_OVERLAY_UNIT_KEY) != 0;
    spice_overlay_stream_set_region(stream, 0, &rect, &rect, 1, spice_overlay_key_colour());
    spice_overlay_stream_set_paused(stream, 1);
    spice_overlay_stream_set_rate(stream, 0.5);
    spice_overlay_stream_flush(stream);
    failures += spice_overlay_stream_state(stream) == SPICE_OVERLAY_REASON_NONE;
    failures += spice_overlay_stream_follow_window(stream, ":123456", 1, 0, -1) == 0;
    failures += spice_overlay_stream_follow_colour(stream, ":123456", 0, 1) == 0;
    printf("%s; %s\n", spice_overlay_reason_text(spice_overlay_stream_state(stream)), spice_overlay_guest_error());
    spice_overlay_stream_free(stream, SPICE_OVERLAY_REASON_END_OF_STREAM);
    spice_overlay_guest_free(guest);
    return failures;
}
