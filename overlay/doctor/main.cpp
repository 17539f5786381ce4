// SPDX-License-Identifier: LGPL-2.1-or-later
// spice-overlay-doctor: what this machine makes of redirected video, and what would make it better.

#include "compositor.h"
#include "machine.h"
#include "portclient/base/command_line.h"
#include "report.h"
#include "trial.h"

#include <unistd.h>
#include <wayland-client.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

using namespace spice_overlay;
using namespace spice_overlay::doctor;

namespace {

constexpr int kUsage = 64;

constexpr char kHelp[] =
    "Usage: spice-overlay-doctor [--json] [--no-play] [--decoder PATH]\n"
    "\n"
    "Says how redirected videos get to the screen here, why not in a better way, and what helps. Plays\n"
    "half-second clips in a window, by the viewer's own means: about ten seconds in all.\n"
    "\n"
    "  --json          the report as one JSON object (docs/doctor.schema.json)\n"
    "  --no-play       play nothing, open no window\n"
    "  --decoder PATH  the spice-overlay-decoder to run\n"
    "  --help          show this text\n"
    "  --version       show the version\n"
    "\n"
    "Exit status: 0 zero copy, 1 no copy by a processor, 2 works, 3 does not work (or was not tried), 64 wrong "
    "usage.\n";

struct Options {
    bool json = false;
    bool play = true;
    std::string decoder;
};

/// The decoder of this build when the program runs from its build folder, else the installed one.
std::string find_decoder()
{
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    const auto built = self.parent_path() / "../../dmabuf/decoder/spice-overlay-decoder";
    return ::access(built.c_str(), X_OK) == 0 ? built.lexically_normal().string() : DECODER_INSTALLED;
}

struct Disconnect {
    void operator()(wl_display *display) const { wl_display_disconnect(display); }
};

void examine_display(Report &report, const Options &options, DmabufUse dmabufs, HardwareSettings hardware)
{
    const std::unique_ptr<wl_display, Disconnect> display(wl_display_connect(nullptr));
    if (!display) {
        const char *wanted = std::getenv("WAYLAND_DISPLAY");
        report.why_no_compositor = std::string("there is no Wayland session (") + (wanted ? wanted : "wayland-0") + ": "
                                   + std::strerror(errno)
                                   + "): run this in one, or set WAYLAND_DISPLAY and XDG_RUNTIME_DIR";
        climb(report, nullptr, nullptr, options.decoder);
        return;
    }
    auto connection = WaylandConnection::connect(display.get(), dmabufs);
    report.compositor = examine_compositor(display.get(), connection ? connection->get() : nullptr);
    if (!connection) {
        report.why_no_compositor = connection.error().message;
        climb(report, nullptr, nullptr, options.decoder);
        return;
    }
    (*connection)->transport().set_hardware(std::move(hardware));
    std::unique_ptr<Theatre> theatre;
    if (options.play) {
        auto opened = Theatre::open(display.get(), **connection);
        if (opened)
            theatre = std::move(*opened);
        else
            report.why_no_compositor = opened.error().message;
    }
    climb(report, connection->get(), theatre.get(), options.decoder);
}

} // namespace

int main(int argc, char **argv)
{
    Options options;
    CommandLine line("spice-overlay-doctor", SPICE_OVERLAY_VERSION, kHelp);
    line.flag("json", options.json);
    line.flag("no-play", options.play, false);
    line.value("decoder", options.decoder);
    auto arguments = line.parse(argc, argv);
    auto dmabufs = dmabuf_use_from(std::getenv("SPICE_OVERLAY_DMABUF"));
    const auto fail = [](const Error &error) {
        std::fprintf(stderr, "spice-overlay-doctor: %s\n", error.message.c_str());
        return kUsage;
    };
    if (!arguments)
        return fail(arguments.error());
    if (!*arguments)
        return 0;
    if (!(*arguments)->empty())
        return fail(wrong_usage("unexpected argument " + (*arguments)->front()));
    if (!dmabufs)
        return fail(dmabufs.error());
    auto hardware =
        hardware_settings_from(std::getenv("SPICE_OVERLAY_HARDWARE"), std::getenv("SPICE_OVERLAY_RENDER_NODE"));
    if (!hardware)
        return fail(hardware.error());
    if (options.decoder.empty())
        options.decoder = find_decoder();
    std::signal(SIGPIPE, SIG_IGN); // a compositor that ends is something to report

    Report report;
    report.machine = examine_machine(options.decoder);
    examine_display(report, options, *dmabufs, std::move(*hardware));
    std::fputs((options.json ? as_json(report) : as_text(report)).c_str(), stdout);
    return static_cast<int>(report.verdict);
}
