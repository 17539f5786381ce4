// SPDX-License-Identifier: LGPL-2.1-or-later
// spice-overlay-play: sends the compressed video of files through a SPICE port, the guest's side of docs/protocol.md.

#include "geometry_feed.h"
#include "media_source.h"
#include "player.h"
#include "portclient/base/command_line.h"
#include "portclient/device/port.h"
#include "statistics.h"
#include "window_player.h"

#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

using namespace spice_overlay;
using namespace spice_overlay::guest;

namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2, kRefused = 3;
constexpr char kProgram[] = "spice-overlay-play";

constexpr char kHelp[] =
    "usage: spice-overlay-play FILE|URL... [OPTION]...\n"
    "       spice-overlay-play FILE... --port PATH [OPTION]...\n"
    "Plays videos in a window. Where the guest's agent has a SPICE client that can, the client decodes and shows\n"
    "them; otherwise they are decoded here. With --port there is no window and no sound: the compressed video of\n"
    "each FILE is sent straight through a port.\n"
    "\n"
    "In a window:\n"
    "  --local                decode here in any case\n"
    "  --fullscreen           begin in full screen\n"
    "  --no-sound\n"
    "  --agent SOCKET         the agent's socket (default: $SPICE_OVERLAY_AGENT, or /run/spice-overlay/agent.sock)\n"
    "Keys, in the window or the terminal: space pauses, left and right go 10 s, down and up 60 s, f full screen,\n"
    "9 and 0 volume, m mutes, q quits.\n"
    "\n"
    "Through a port:\n"
    "  --port PATH            the port: a virtio port, a pty, or a unix socket to connect to\n"
    "  --geometry-from FD|SOCKET\n"
    "                         take places, and open, close, pause, resume and seek, as lines from an\n"
    "                         open descriptor or a unix socket\n"
    "  --rect X,Y,W,H         show it there, in guest pixels (default: at 0,0 in its own size)\n"
    "\n"
    "Both:\n"
    "  --loop                 begin anew at the end\n"
    "  --stats FILE           write counters to FILE at the end, as JSON\n"
    "  --quiet                no status line\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 played or ended by a signal, 1 failed, 2 wrong usage, 3 refused by the client.\n";

struct Arguments {
    std::vector<std::string> files;
    std::string port;
    std::string geometry_from;
    std::optional<wire::Rect> rect;
    std::string stats;
    bool loop = false;
    bool quiet = false;
    // In a window.
    std::string agent;
    bool local = false;
    bool fullscreen = false;
    bool sound = true;
};

int fail(int status, const std::string &message)
{
    std::fprintf(stderr, "%s: %s\n", kProgram, message.c_str());
    return status;
}

/// Nothing when the command line asked for words alone.
Result<std::optional<Arguments>> parse(int argc, char **argv)
{
    Arguments arguments;
    CommandLine line(kProgram, SPICE_OVERLAY_VERSION, kHelp);
    line.value("port", arguments.port);
    line.value("geometry-from", arguments.geometry_from);
    line.value("rect", [&](const std::string &text) -> Status {
        auto rect = parse_rect(text);
        if (!rect)
            return rect.error();
        arguments.rect = rect.value();
        return Success{};
    });
    line.flag("loop", arguments.loop);
    line.value("stats", arguments.stats);
    line.flag("quiet", arguments.quiet);
    line.flag("local", arguments.local);
    line.flag("fullscreen", arguments.fullscreen);
    line.flag("no-sound", arguments.sound, false);
    line.value("agent", arguments.agent);
    auto files = line.parse(argc, argv);
    if (!files)
        return files.error();
    if (!*files)
        return std::optional<Arguments>();
    arguments.files = **files;
    if (arguments.files.empty())
        return wrong_usage("no FILE given");
    bool places = arguments.rect || !arguments.geometry_from.empty();
    if (arguments.port.empty() && places)
        return wrong_usage("--rect and --geometry-from go with --port");
    bool windowed = arguments.local || arguments.fullscreen || !arguments.sound || !arguments.agent.empty();
    if (!arguments.port.empty() && windowed)
        return wrong_usage("--local, --fullscreen, --no-sound and --agent do not go with --port");
    if (arguments.rect && !arguments.geometry_from.empty())
        return wrong_usage("--rect and --geometry-from exclude each other");
    return std::optional(arguments);
}

Result<UniqueFd> open_geometry(const std::string &from)
{
    int number = -1;
    auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), number);
    if (error != std::errc{} || end != from.data() + from.size()) {
        auto fd = connect_unix(from, false);
        if (!fd)
            return Error{"--geometry-from: " + fd.error().message};
        return fd;
    }
    UniqueFd fd(number < 0 ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!fd.valid())
        return Error{"--geometry-from: " + from + " is not an open descriptor"};
    return fd;
}

/// Where a picture goes that nobody has placed: at the origin, in its own size, turned and with square pixels.
wire::Rect natural_rect(const wire::StreamOpen &video)
{
    std::uint64_t width = std::uint64_t{video.coded_width} * video.aspect_num / video.aspect_den;
    std::uint64_t height = video.coded_height;
    if (video.rotation % 180 == 90)
        std::swap(width, height);
    auto fit = [](std::uint64_t side) {
        return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(side, 1, wire::kMaxCoordinate));
    };
    return {0, 0, fit(width), fit(height)};
}

UniqueFd take_signals()
{
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int play_files(const Arguments &arguments)
{
    std::vector<std::unique_ptr<MediaSource>> sources;
    for (const std::string &file : arguments.files) {
        auto source = MediaSource::open(file);
        if (!source)
            return fail(kFailed, source.error().message);
        sources.push_back(std::move(source).value());
    }

    Player::Options options;
    options.port = arguments.port;
    options.loop = arguments.loop;
    options.status_line = !arguments.quiet && isatty(STDERR_FILENO);
    if (!arguments.geometry_from.empty()) {
        auto geometry = open_geometry(arguments.geometry_from);
        if (!geometry)
            return fail(kFailed, geometry.error().message);
        options.geometry = std::move(geometry).value();
    }
    bool placed_by_others = options.geometry.has_value();

    Player player(std::move(options));
    for (std::size_t i = 0; i < sources.size(); i++) {
        std::optional<wire::Rect> place;
        if (!placed_by_others)
            place = arguments.rect ? *arguments.rect : natural_rect(sources[i]->description());
        player.add(arguments.files[i], std::move(sources[i]), place);
    }
    if (Status status = player.open(); !status)
        return fail(kFailed, status.error().message);

    UniqueFd signals = take_signals();
    Player::End end = player.run(signals.get());
    if (!arguments.stats.empty())
        if (Status status = write_file(arguments.stats, statistics_json(player)); !status)
            return fail(kFailed, status.error().message);
    switch (end) {
    case Player::End::kDone:
        return kOk;
    case Player::End::kRefused:
        return kRefused;
    case Player::End::kFailed:
        return fail(kFailed, arguments.port + ": the port and the geometry's source are gone");
    }
    return kFailed;
}

int play_in_window(const Arguments &arguments)
{
    if (!arguments.agent.empty())
        setenv("SPICE_OVERLAY_AGENT", arguments.agent.c_str(), 1);
    WindowPlayer::Options options;
    options.items = arguments.files;
    options.local = arguments.local;
    options.sound = arguments.sound;
    options.loop = arguments.loop;
    options.fullscreen = arguments.fullscreen;
    options.status_line = !arguments.quiet && isatty(STDERR_FILENO);
    auto player = WindowPlayer::open(std::move(options));
    if (!player)
        return fail(kFailed, player.error().message);
    bool played = player.value()->run();
    if (!arguments.stats.empty())
        if (Status status = write_file(arguments.stats, player.value()->statistics_json()); !status)
            return fail(kFailed, status.error().message);
    return played ? kOk : kFailed;
}

} // namespace

int main(int argc, char **argv)
{
    auto parsed = parse(argc, argv);
    if (!parsed)
        return fail(kUsage, parsed.error().message);
    if (!*parsed)
        return kOk;
    const Arguments &arguments = **parsed;
    return arguments.port.empty() ? play_in_window(arguments) : play_files(arguments);
}
