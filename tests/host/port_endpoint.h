// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace spice_overlay::host {

/// Where the program in the guest opens the port: as with a virtio port, one program at a time.
/// Runs on GLib's default main context; nothing blocks.
class PortEndpoint {
public:
    class Listener {
    public:
        virtual ~Listener() = default;
        virtual void opened() = 0;
        virtual void closed() = 0;
        virtual void readable() = 0; ///< read() may give bytes; only while wanted by want_read()
        virtual void writable() = 0; ///< after a write() that took less than it was given
    };

    virtual ~PortEndpoint() = default;

    /// Bytes read, 0 when there are none now or nobody has opened the port.
    virtual std::size_t read(std::span<std::uint8_t> bytes) = 0;

    /// Bytes taken. With nobody there everything is taken and forgotten.
    virtual std::size_t write(std::span<const std::uint8_t> bytes) = 0;

    virtual void want_read(bool wanted) = 0;
    virtual void disconnect() = 0; ///< puts the program out, where the kind of endpoint can; closed() follows
};

/// A unix stream socket at `path`: a connection is an open. A second one is closed at once.
Result<std::unique_ptr<PortEndpoint>> listen_on_socket(const std::string &path, PortEndpoint::Listener &listener);

/// A pseudo terminal in raw mode with a symbolic link to it at `link`, for programs that know nothing but device files.
/// A second program is not refused here (a terminal has no way that the host could undo): do not start one.
Result<std::unique_ptr<PortEndpoint>> make_pty(const std::string &link, PortEndpoint::Listener &listener);

} // namespace spice_overlay::host
