// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace spice_overlay {

/// The guest's end of the port, never blocking: a virtio port, or what stands for one: a pty or a unix socket.
class Port {
public:
    /// The error's message starts with `path` and says what to do.
    [[nodiscard]] static Result<Port> open(const std::string &path);

    /// Whether a virtio port has somebody on the other side; true of all others.
    [[nodiscard]] bool present() const;

    enum class Outcome {
        kDone,   ///< some bytes were moved
        kLater,  ///< nothing now: poll
        kAbsent, ///< a virtio port that nobody has open on the other side. Its poll() never sleeps: try again by timer
        kLost,   ///< the port is gone: open it anew
    };
    /// `bytes`: how many were moved, when kDone.
    [[nodiscard]] Outcome read(std::span<std::uint8_t> buffer, std::size_t &bytes);
    [[nodiscard]] Outcome write(std::span<const std::uint8_t> data, std::size_t &bytes);

    [[nodiscard]] int fd() const { return fd_.get(); } ///< for poll()

private:
    Port(UniqueFd fd, bool ends) : fd_(std::move(fd)), ends_(ends) {}

    UniqueFd fd_;
    bool ends_; ///< reading nothing means that the other end is gone for good
};

/// The path of a port: `port` itself when it has a slash; else it is a virtio port's name, which need not have a
/// link in /dev/virtio-ports. The error tells the names that there are. `ports`, `devices`: where Linux has them.
[[nodiscard]] Result<std::string> find_port(const std::string &port,
                                            const std::string &ports = "/sys/class/virtio-ports",
                                            const std::string &devices = "/dev");

/// A connected unix stream socket.
[[nodiscard]] Result<UniqueFd> connect_unix(const std::string &path, bool non_blocking);

} // namespace spice_overlay
