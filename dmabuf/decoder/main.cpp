// SPDX-License-Identifier: LGPL-2.1-or-later
#include "log.h"
#include "sandbox.h"
#include "service.h"

extern "C" {
#include <libavutil/log.h>
}

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

constexpr char kUsage[] =
    "Usage: spice-overlay-decoder [--codecs | --sandbox-report | --help | --version]\n"
    "\n"
    "Decodes one video stream for spice-overlay-viewer, which starts it with a socket as descriptor 3\n"
    "and the memory of access units as descriptor 4. Not started by hand, except to ask it something:\n"
    "\n"
    "  --codecs          list what this FFmpeg decodes: codec number on the wire, largest width and height, name\n"
    "  --sandbox-report  say which layers of the sandbox hold here, and which system calls it leaves\n"
    "  --help            show this text\n"
    "  --version         show the version\n"
    "\n"
    "The viewer's --no-sandbox becomes --no-sandbox here.\n";

void log_ffmpeg(void *context, int level, const char *format, va_list arguments)
{
    if (level > AV_LOG_ERROR)
        return;
    char text[512];
    int prefix = 1;
    av_log_format_line2(context, level, format, arguments, text, sizeof text, &prefix);
    text[std::strcspn(text, "\n")] = '\0';
    spice_overlay::log_line(std::string("ffmpeg: ") + text);
}

/// Before the viewer, or anything else of the person's: the memory that files of memory take counts for nobody.
void be_the_first_to_go_without_memory()
{
    const spice_overlay::UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    constexpr std::string_view kMost = "1000";
    if (!file.valid() || ::write(file.get(), kMost.data(), kMost.size()) != static_cast<ssize_t>(kMost.size()))
        spice_overlay::log_line(std::string("is not the kernel's first choice when memory runs out: ")
                                + std::strerror(errno));
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
    bool sandboxed = true;
    if (argc > 1) {
        const std::string_view option = argv[1];
        if (argc == 2 && option == "--help")
            std::fputs(kUsage, stdout);
        else if (argc == 2 && option == "--version")
            std::puts("spice-overlay-decoder " SPICE_OVERLAY_VERSION);
        else if (argc == 2 && option == "--codecs")
            std::fputs(spice_overlay::list_codecs().c_str(), stdout);
        else if (argc == 2 && option == "--sandbox-report")
            std::fputs(spice_overlay::sandbox_report().c_str(), stdout);
        else if (argc == 2 && option == "--no-sandbox")
            sandboxed = false;
        else {
            std::fprintf(stderr, "spice-overlay-decoder: unknown arguments beginning with '%s'; see --help\n", argv[1]);
            return 2;
        }
        if (sandboxed)
            return 0;
    }
    if (!started_by_viewer()) {
        std::fputs("spice-overlay-decoder: is started by spice-overlay-viewer, not by hand; see --help\n", stderr);
        return 2;
    }
    // The socket tells us too when the viewer is gone, but not in the middle of a picture.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_the_first_to_go_without_memory();
    ::close_range(spice_overlay::ipc::kRenderNodeFd + 1, ~0U, 0);
    // One arena: when others shrink, or grow many, glibc reads /proc and asks for processors, which the sandbox denies.
    ::mallopt(M_ARENA_MAX, 1);
    av_log_set_level(AV_LOG_ERROR);
    av_log_set_callback(&log_ffmpeg);
    // Leaves at once: FFmpeg's threads may still be at work on frames.
    std::_Exit(spice_overlay::Service(sandboxed).run());
}
