// SPDX-License-Identifier: LGPL-2.1-or-later
#include "unix_listener.h"

#include <glib-unix.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay::host {

namespace {

bool to_address(const std::string &path, sockaddr_un &address)
{
    address = {};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return false;
    std::memcpy(address.sun_path, path.data(), path.size());
    return true;
}

} // namespace

bool somebody_listens(const std::string &path)
{
    sockaddr_un address;
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return to_address(path, address) && fd.valid() &&
           (connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 || errno == EAGAIN);
}

Result<UnixListener> UnixListener::listen(const std::string &path, std::function<void(UniqueFd)> accepted)
{
    sockaddr_un address;
    if (!to_address(path, address))
        return Error{"socket path '" + path + "' is empty or too long: give one of at most 107 bytes"};
    if (somebody_listens(path))
        return Error{"address in use: another program listens on '" + path + "'; stop it or choose another path"};
    struct stat status;
    if (lstat(path.c_str(), &status) == 0) {
        if (!S_ISSOCK(status.st_mode))
            return Error{"'" + path + "' exists and is not a socket: choose another path"};
        unlink(path.c_str());
    }
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), 8) != 0)
        return Error{"cannot listen on '" + path + "': " + std::strerror(errno)};
    UnixListener listener;
    listener.state_ = new State{std::move(fd), path, std::move(accepted)};
    listener.source_ = g_unix_fd_add(listener.state_->fd.get(), G_IO_IN, [](int ready, GIOCondition, gpointer data) {
        UniqueFd connection(accept4(ready, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (connection.valid())
            static_cast<State *>(data)->accepted(std::move(connection));
        return static_cast<gboolean>(G_SOURCE_CONTINUE);
    }, listener.state_);
    return listener;
}

UnixListener &UnixListener::operator=(UnixListener &&other) noexcept
{
    std::swap(state_, other.state_);
    std::swap(source_, other.source_);
    return *this;
}

UnixListener::~UnixListener()
{
    if (state_ == nullptr)
        return;
    g_source_remove(source_);
    unlink(state_->path.c_str());
    delete state_;
}

} // namespace spice_overlay::host
