// SPDX-License-Identifier: LGPL-2.1-or-later
#include "viewer.h"

#include <sys/resource.h>

#include <cstdio>

using namespace spice_overlay;

namespace {

/// Frames of 16 streams may come in more descriptors than the usual 1,024, and libwayland ends the connection when there is none left for it.
void take_all_descriptors()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

int main(int argc, char **argv)
{
    auto fail = [](const Error &error, int code) {
        std::fprintf(stderr, "spice-overlay-viewer: %s\n", error.message.c_str());
        return code;
    };
    auto options = parse_options(argc, argv);
    if (!options)
        return fail(options.error(), 2);
    if (!*options)
        return 0;
    take_all_descriptors();
    // GTK paints a black rectangle and a title bar here; a GL context for that costs 100 MB and a second.
    g_setenv("GSK_RENDERER", "cairo", FALSE);
    if (!gtk_init_check())
        return fail({"there is no display to show anything on: start it in a Wayland session, or set WAYLAND_DISPLAY"}, 1);
    Viewer viewer(**options);
    if (Status started = viewer.start(); !started)
        return fail(started.error(), 1);
    return viewer.run();
}
