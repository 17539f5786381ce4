/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole player: shows an H.264 byte stream (ffmpeg -i FILM -an -c:v libx264 -bf 0 out.h264) at 25 pictures a second.
 *     cc example.c $(pkg-config --cflags --libs spice-overlay-guest) && ./a.out out.h264 1280 720 */
#include "spice-overlay-guest.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void state(void *data, spice_overlay_reason reason)
{
    const char *what = reason == SPICE_OVERLAY_REASON_NONE ? "paints the placeholder" : "shows the video itself";
    fprintf(stderr, "%s: %s (%s)\n", (const char *)data, what, spice_overlay_reason_text(reason));
}

/* The length of the access unit that `data` begins with: up to what may only stand at the beginning of the next one. */
static size_t unit_at(const uint8_t *data, size_t size, unsigned *flags)
{
    int slices = 0;
    *flags = 0;
    for (size_t i = 0; i + 4 < size; i++) {
        if (data[i] != 0 || data[i + 1] != 0 || data[i + 2] != 1)
            continue;
        int type = data[i + 3] & 0x1f, slice = type == 1 || type == 5;
        if (slices && ((slice && data[i + 4] & 0x80) || (type >= 6 && type <= 9)))
            return i > 0 && data[i - 1] == 0 ? i - 1 : i;
        slices += slice;
        *flags |= type == 5 ? SPICE_OVERLAY_UNIT_KEY : 0;
    }
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t data[64 << 20];
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    size_t size = file ? fread(data, 1, sizeof data, file) : 0, at = 0, length;
    spice_overlay_format format = SPICE_OVERLAY_FORMAT_INIT;
    spice_overlay_stream_events events = {.struct_size = sizeof events, .state = state};
    spice_overlay_guest *guest = spice_overlay_guest_new(NULL, "example 1");
    format.width = argc == 4 ? (uint32_t)atoi(argv[2]) : 0;
    format.height = argc == 4 ? (uint32_t)atoi(argv[3]) : 0;
    spice_overlay_stream *stream = spice_overlay_stream_new(guest, &format, &events, argv[0]);
    if (!size || !stream) {
        fprintf(stderr, "%s FILE WIDTH HEIGHT: %s\n", argv[0], size ? spice_overlay_guest_error() : "no such file");
        return 1;
    }
    spice_overlay_rect place = {100, 50, format.width, format.height};
    spice_overlay_stream_set_region(stream, 0, &place, &place, 1, spice_overlay_key_colour());
    struct timespec due;
    for (clock_gettime(CLOCK_MONOTONIC, &due); at < size; at += length) {
        unsigned flags;
        length = unit_at(data + at, size - at, &flags);
        spice_overlay_stream_submit(stream, data + at, length, due.tv_sec * 1000000000LL + due.tv_nsec, flags);
        due.tv_sec += (due.tv_nsec += 40000000) >= 1000000000;
        due.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    spice_overlay_stream_free(stream, SPICE_OVERLAY_REASON_END_OF_STREAM);
    spice_overlay_guest_free(guest);
}
