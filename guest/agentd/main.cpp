// SPDX-License-Identifier: LGPL-2.1-or-later
// spice-overlay-agentd: owns the guest's end of the SPICE port and shares it among players (docs/protocol.md, "Relays").

#include "agent.h"
#include "log.h"
#include "portclient/base/command_line.h"
#include "portclient/device/port.h"
#include "session_watch.h"

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

using namespace spice_overlay;
using namespace spice_overlay::guest;

namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;
constexpr char kProgram[] = "spice-overlay-agentd";
constexpr char kDefaultSocket[] = "/run/spice-overlay/agent.sock";

constexpr char kHelp[] =
    "usage: spice-overlay-agentd [OPTION]...\n"
    "Owns the guest's end of a SPICE port and shares it among the players that connect to its socket.\n"
    "\n"
    "  --port NAME|PATH   the port: a virtio port's name, or a device, pty or unix socket\n"
    "                     (default: org.spice-overlay.video.0)\n"
    "  --socket PATH      where players connect (default: what systemd hands over, or else\n"
    "                     /run/spice-overlay/agent.sock)\n"
    "  --sessions HOW     whose video may be shown: logind (of the active, unlocked session), any, or\n"
    "                     auto (default: logind where it runs)\n"
    "  --stats FILE       write figures to FILE, as JSON, on SIGUSR1 and at the end\n"
    "  --verbose          say what becomes of each stream (in the journal it always stands)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 ended by a signal, 1 failed, 2 wrong usage.\n";

struct Arguments {
    std::string port = wire::kDefaultPortName;
    std::string socket;
    std::string sessions = "auto";
    std::string stats;
};

int fail(int status, const std::string &message)
{
    log(Level::kError, message);
    return status;
}

/// Nothing when the command line asked for words alone.
Result<std::optional<Arguments>> parse(int argc, char **argv)
{
    Arguments arguments;
    CommandLine line(kProgram, SPICE_OVERLAY_VERSION, kHelp);
    line.value("port", arguments.port);
    line.value("socket", arguments.socket);
    line.value("sessions", [&](const std::string &how) -> Status {
        arguments.sessions = how;
        if (how != "logind" && how != "any" && how != "auto")
            return Error{"it is logind, any or auto"};
        return Success{};
    });
    line.value("stats", arguments.stats);
    line.flag("verbose", log_verbosely);
    auto others = line.parse(argc, argv);
    if (!others)
        return others.error();
    if (!*others)
        return std::optional<Arguments>();
    if (!(*others)->empty())
        return wrong_usage("unexpected argument " + (*others)->front());
    return std::optional(arguments);
}

std::string socket_error(const std::string &path, int error)
{
    std::string text = path + ": cannot make the socket: " + std::strerror(error);
    if (error == EACCES || error == EPERM || error == ENOENT || error == EROFS)
        text += "; start the agent by its unit (systemctl start spice-overlay-agentd.socket), or give another --socket";
    return text;
}

/// The socket that players connect to: the one that systemd hands over, or a new one.
Result<UniqueFd> open_listener(const Arguments &arguments)
{
    if (arguments.socket.empty() && sd_listen_fds(1) > 0) {
        UniqueFd fd(SD_LISTEN_FDS_START);
        if (sd_is_socket(fd.get(), AF_UNIX, SOCK_STREAM, 1) <= 0)
            return Error{"what the service manager handed over is not a listening unix stream socket; see the unit's "
                         "ListenStream="};
        return fd;
    }
    std::string path = arguments.socket.empty() ? kDefaultSocket : arguments.socket;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return Error{path + ": too long for a socket's path"};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    struct stat info;
    if (lstat(path.c_str(), &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return Error{path + ": is there and is not a socket"};
        if (connect_unix(path, true).ok())
            return Error{path + ": another agent listens there; end that one first"};
        unlink(path.c_str()); // left behind
    }
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
        return Error{socket_error(path, errno)};
    // Every user's players may connect; whose video is shown is decided by sessions.
    if (chmod(path.c_str(), 0666) != 0 || listen(fd.get(), 32) != 0)
        return Error{socket_error(path, errno)};
    return fd;
}

UniqueFd take_signals()
{
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
        sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int serve(const Arguments &arguments)
{
    UniqueFd signals = take_signals();
    Agent::Options options;
    options.port = arguments.port;
    options.stats = arguments.stats;
    bool logind = arguments.sessions == "logind" || (arguments.sessions == "auto" && has_logind());
    if (logind) {
        auto sessions = watch_logind();
        if (!sessions)
            return fail(kFailed, sessions.error().message);
        options.sessions = std::move(sessions).value();
    } else {
        if (arguments.sessions == "auto")
            log(Level::kWarning, "logind does not run here: the video of every session is shown");
        options.sessions = allow_all_sessions();
    }
    auto listener = open_listener(arguments);
    if (!listener)
        return fail(kFailed, listener.error().message);
    options.listener = std::move(listener).value();

    Agent agent(std::move(options));
    if (Status status = agent.open(); !status)
        return fail(kFailed, status.error().message);
    sd_notify(0, "READY=1");
    if (Status status = agent.run(signals.get()); !status)
        return fail(kFailed, status.error().message);
    return kOk;
}

} // namespace

int main(int argc, char **argv)
{
    auto arguments = parse(argc, argv);
    if (!arguments)
        return fail(kUsage, arguments.error().message);
    return *arguments ? serve(**arguments) : kOk;
}
