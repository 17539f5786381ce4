// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace spice_overlay {
namespace {

/// Who may open it, and how to be one of them.
std::string permission_advice(const std::string &path)
{
    struct stat info;
    char group[1024];
    struct group entry, *found = nullptr;
    bool known =
        stat(path.c_str(), &info) == 0 && getgrgid_r(info.st_gid, &entry, group, sizeof group, &found) == 0 && found;
    if (known && info.st_gid != 0 && (info.st_mode & S_IRGRP) && (info.st_mode & S_IWGRP))
        return std::string("join its group: adduser USER ") + found->gr_name;
    return "run as root, or have it given to a group by a udev rule: "
           "SUBSYSTEM==\"virtio-ports\", ATTR{name}==\"NAME\", GROUP=\"GROUP\", MODE=\"0660\"";
}

std::string open_error(const std::string &path, int error)
{
    switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return path + ": there is no such port; see /dev/virtio-ports for those that this guest has";
    case EACCES:
    case EPERM:
        return path + ": no permission to open the port; " + permission_advice(path);
    case EBUSY:
        return path + ": another program has the port open; end that one first";
    default:
        return path + ": cannot open the port: " + std::strerror(error);
    }
}

std::string connect_error(const std::string &path, int error)
{
    switch (error) {
    case ECONNREFUSED:
        return path + ": cannot connect: nobody listens; start its server first";
    case EACCES:
    case EPERM:
        return path + ": no permission to connect; its owner and its group may (ls -l tells them)";
    default:
        return path + ": cannot connect: " + std::strerror(error) + "; start its server first";
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
        return Error{connect_error(path, errno)};
    return fd;
}

Result<std::string> find_port(const std::string &port, const std::string &ports, const std::string &devices)
{
    if (port.find('/') != std::string::npos)
        return port;
    std::error_code error;
    std::string names;
    for (const auto &entry : std::filesystem::directory_iterator(ports, error)) {
        std::string name;
        std::getline(std::ifstream(entry.path() / "name"), name);
        if (name == port)
            return devices + "/" + entry.path().filename().string();
        if (!name.empty())
            names += (names.empty() ? "" : ", ") + name;
    }
    return Error{port + ": there is no virtio port of this name; "
                 + (names.empty() ? "this machine has none: give the virtual machine one, "
                                    "with -device virtserialport,name="
                                        + port
                                  : "there are: " + names)};
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

bool Port::present() const
{
    pollfd state{fd_.get(), POLLIN, 0};
    return ends_ || poll(&state, 1, 0) < 0 || !(state.revents & POLLHUP);
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

} // namespace spice_overlay
