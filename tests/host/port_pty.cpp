// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port_endpoint.h"
#include "port_stream.h"
#include "portclient/base/unique_fd.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <termios.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace spice_overlay::host {

namespace {

/// The main side of a pty reports a hang-up while no program has the other side open; inotify tells when one opens it.
class PtyEndpoint : public PortEndpoint {
public:
    explicit PtyEndpoint(Listener &listener) : listener_(listener), stream_(listener, [this] { hang_up(); }) {}

    ~PtyEndpoint() override
    {
        if (notify_source_ != 0)
            g_source_remove(notify_source_);
        if (!link_.empty())
            unlink(link_.c_str());
    }

    Status start(const std::string &link)
    {
        main_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
        char name[128];
        if (!main_.valid() || grantpt(main_.get()) != 0 || unlockpt(main_.get()) != 0 ||
            ptsname_r(main_.get(), name, sizeof name) != 0)
            return Error{std::string("cannot make a pseudo terminal: ") + std::strerror(errno)};
        device_ = name;
        termios settings;
        if (tcgetattr(main_.get(), &settings) != 0)
            return Error{"cannot read the settings of '" + device_ + "': " + std::strerror(errno)};
        cfmakeraw(&settings);
        if (tcsetattr(main_.get(), TCSANOW, &settings) != 0)
            return Error{"cannot make '" + device_ + "' raw: " + std::strerror(errno)};
        notify_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        if (!notify_.valid() || inotify_add_watch(notify_.get(), name, IN_OPEN) < 0)
            return Error{"cannot watch '" + device_ + "': " + std::strerror(errno)};
        touch(); // opened and closed once, so that the hang-up shows
        struct stat status;
        if (lstat(link.c_str(), &status) == 0 && !S_ISLNK(status.st_mode))
            return Error{"'" + link + "' exists and is not a symbolic link: choose another path"};
        unlink(link.c_str());
        if (symlink(name, link.c_str()) != 0)
            return Error{"cannot link '" + link + "' to '" + device_ + "': " + std::strerror(errno)};
        link_ = link;
        notify_source_ = g_unix_fd_add(notify_.get(), G_IO_IN, [](int fd, GIOCondition, gpointer data) {
            alignas(inotify_event) char events[4096];
            while (::read(fd, events, sizeof events) > 0) {
            }
            static_cast<PtyEndpoint *>(data)->check();
            return static_cast<gboolean>(G_SOURCE_CONTINUE);
        }, this);
        return Success{};
    }

    std::size_t read(std::span<std::uint8_t> bytes) override { return stream_.read(bytes); }
    std::size_t write(std::span<const std::uint8_t> bytes) override { return stream_.write(bytes); }
    void want_read(bool wanted) override { stream_.want_read(wanted); }
    void disconnect() override {} // a terminal cannot put its program out

private:
    /// Opens the program's side for a moment, and forgets what nobody read there.
    void touch()
    {
        UniqueFd other(open(device_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
        if (other.valid())
            tcflush(other.get(), TCIFLUSH);
    }

    void check()
    {
        pollfd state{main_.get(), POLLIN, 0};
        poll(&state, 1, 0);
        // A program that opened, wrote and closed before this looked left a hang-up and bytes: it counts.
        if (open_ || ((state.revents & POLLHUP) && !(state.revents & POLLIN)))
            return;
        open_ = true;
        listener_.opened();
        stream_.attach(main_.get());
    }

    void hang_up()
    {
        stream_.detach();
        touch();
        open_ = false;
        listener_.closed();
        check();
    }

    Listener &listener_;
    UniqueFd main_;
    UniqueFd notify_;
    std::string device_;
    std::string link_;
    PortStream stream_;
    unsigned notify_source_ = 0;
    bool open_ = false;
};

} // namespace

Result<std::unique_ptr<PortEndpoint>> make_pty(const std::string &link, PortEndpoint::Listener &listener)
{
    auto endpoint = std::make_unique<PtyEndpoint>(listener);
    if (auto started = endpoint->start(link); !started)
        return started.error();
    return std::unique_ptr<PortEndpoint>(std::move(endpoint));
}

} // namespace spice_overlay::host
