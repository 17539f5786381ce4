// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay::guest {
namespace {

std::string open_error(const std::string &path, int error)
{
    switch (error) {
    case ENOENT:
        return path + ": there is no such port; see /dev/virtio-ports for those that this guest has";
    case EACCES:
    case EPERM:
        return path + ": no permission to open the port; run as its owner, or add a udev rule for it";
    case EBUSY:
        return path + ": another program has the port open; end that one first";
    default:
        return path + ": cannot open the port: " + std::strerror(error);
    }
}

} // namespace

Result<UniqueFd> connect_unix(const std::string &path, bool non_blocking)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return Error{path + ": too long for a socket's path"};
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (non_blocking ? SOCK_NONBLOCK : 0), 0));
    if (!fd.valid() || connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0)
        return Error{path + ": cannot connect: " + (errno == ECONNREFUSED ? "nobody listens" : std::strerror(errno))
                     + "; start its server first"};
    return fd;
}

Result<Port> Port::open(const std::string &path)
{
    struct stat info;
    if (stat(path.c_str(), &info) != 0)
        return Error{open_error(path, errno)};
    if (S_ISSOCK(info.st_mode)) {
        auto fd = connect_unix(path, true);
        if (!fd)
            return fd.error();
        return Port(std::move(fd.value()), true);
    }
    if (!S_ISCHR(info.st_mode))
        return Error{path + ": is not a port; give a character device or a unix socket"};

    UniqueFd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd.valid())
        return Error{open_error(path, errno)};
    termios settings;
    bool terminal = tcgetattr(fd.get(), &settings) == 0;
    if (terminal) {
        cfmakeraw(&settings);
        if (tcsetattr(fd.get(), TCSANOW, &settings) != 0)
            return Error{open_error(path, errno)};
    }
    return Port(std::move(fd), terminal);
}

Port::Outcome Port::read(std::span<std::uint8_t> buffer, std::size_t &bytes)
{
    ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got > 0) {
        bytes = static_cast<std::size_t>(got);
        return Outcome::kDone;
    }
    if (got == 0)
        return ends_ ? Outcome::kLost : Outcome::kAbsent;
    return errno == EAGAIN || errno == EINTR ? Outcome::kLater : Outcome::kLost;
}

Port::Outcome Port::write(std::span<const std::uint8_t> data, std::size_t &bytes)
{
    ssize_t put = ::write(fd_.get(), data.data(), data.size());
    if (put > 0) {
        bytes = static_cast<std::size_t>(put);
        return Outcome::kDone;
    }
    return put == 0 || errno == EAGAIN || errno == EINTR ? Outcome::kLater : Outcome::kLost;
}

} // namespace spice_overlay::guest
