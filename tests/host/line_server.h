// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "unix_listener.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace spice_overlay::host {

/// A unix socket that speaks lines: what is sent goes to everybody connected, what anybody sends comes line by line.
/// Runs on GLib's default main context. Somebody who does not read 1 MiB of lines is disconnected.
class LineServer {
public:
    using Reply = std::function<void(const std::string &line)>; ///< to one connection, during the call

    struct Handlers {
        std::function<void(const Reply &)> connected;     ///< somebody new; what he is told first. May be empty
        std::function<void(const std::string &)> received; ///< a line without its end. May be empty
        std::function<void()> left;                        ///< somebody has gone. May be empty
    };

    static Result<std::unique_ptr<LineServer>> listen(const std::string &path, Handlers handlers);
    LineServer(const LineServer &) = delete;
    LineServer &operator=(const LineServer &) = delete;
    ~LineServer();

    void send(const std::string &line); ///< `line` without its end
    [[nodiscard]] bool anybody() const { return !connections_.empty(); }

private:
    struct Connection;
    LineServer() = default;
    void accept(UniqueFd fd);
    void queue(Connection &connection, const std::string &line);
    static bool read(Connection &connection);
    static bool write(Connection &connection);
    void drop(Connection *connection);

    Handlers handlers_;
    UnixListener listener_;
    std::vector<std::unique_ptr<Connection>> connections_;
};

} // namespace spice_overlay::host
