// SPDX-License-Identifier: LGPL-2.1-or-later
// For a decoder as it is, but that FFmpeg strays at the third unit: opens a file, as one that a guest has taken over would.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct AVCodecContext;
struct AVPacket;

extern "C" int __real_avcodec_send_packet(AVCodecContext *context, const AVPacket *packet);
extern "C" int __wrap_avcodec_send_packet(AVCodecContext *context, const AVPacket *packet);

int __wrap_avcodec_send_packet(AVCodecContext *context, const AVPacket *packet)
{
    static int units = 0;
    if (++units == 3)
        ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
    return __real_avcodec_send_packet(context, packet);
}
