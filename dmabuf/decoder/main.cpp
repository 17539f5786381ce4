// SPDX-License-Identifier: LGPL-2.1-or-later
#include "service.h"

extern "C" {
#include <libavutil/log.h>
}

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

constexpr char kUsage[] =
    "Usage: spice-overlay-decoder [--codecs | --help | --version]\n"
    "\n"
    "Decodes one video stream for spice-overlay-viewer, which starts it with a socket as descriptor 3\n"
    "and the memory of access units as descriptor 4. Not started by hand, except to ask it something:\n"
    "\n"
    "  --codecs   list what this FFmpeg decodes: codec number on the wire, largest width and height, name\n"
    "  --help     show this text\n"
    "  --version  show the version\n";

constexpr unsigned kMaxLogLines = 20; ///< a hostile stream must not fill the journal

void log_ffmpeg(void *context, int level, const char *format, va_list arguments)
{
    static std::atomic<unsigned> lines = 0;
    if (level > AV_LOG_ERROR)
        return;
    const unsigned line = lines.fetch_add(1);
    if (line > kMaxLogLines)
        return;
    char text[512];
    int prefix = 1;
    av_log_format_line2(context, level, format, arguments, text, sizeof text, &prefix);
    text[std::strcspn(text, "\n")] = '\0';
    std::fprintf(stderr, "spice-overlay-decoder: ffmpeg: %s\n",
                 line == kMaxLogLines ? "(further messages are left out)" : text);
}

bool started_by_viewer()
{
    int type = 0;
    socklen_t size = sizeof type;
    struct stat units = {};
    return ::getsockopt(spice_overlay::ipc::kSocketFd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET
           && ::fstat(spice_overlay::ipc::kUnitsFd, &units) == 0 && S_ISREG(units.st_mode)
           && static_cast<std::uint64_t>(units.st_size) == spice_overlay::ipc::kUnitsSize;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc > 1) {
        const std::string_view option = argv[1];
        if (argc == 2 && option == "--help")
            std::fputs(kUsage, stdout);
        else if (argc == 2 && option == "--version")
            std::puts("spice-overlay-decoder " SPICE_OVERLAY_VERSION);
        else if (argc == 2 && option == "--codecs")
            std::fputs(spice_overlay::list_codecs().c_str(), stdout);
        else {
            std::fprintf(stderr, "spice-overlay-decoder: unknown arguments beginning with '%s'; see --help\n", argv[1]);
            return 2;
        }
        return 0;
    }
    if (!started_by_viewer()) {
        std::fputs("spice-overlay-decoder: is started by spice-overlay-viewer, not by hand; see --help\n", stderr);
        return 2;
    }
    // The socket tells us too when the viewer is gone, but not in the middle of a picture.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close_range(spice_overlay::ipc::kDeviceFd + 1, ~0U, 0);
    av_log_set_level(AV_LOG_ERROR);
    av_log_set_callback(&log_ffmpeg);
    // Leaves at once: FFmpeg's threads may still be at work on frames.
    std::_Exit(spice_overlay::Service().run());
}
