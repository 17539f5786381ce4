// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <functional>
#include <string>

namespace spice_overlay::host {

/// Whether a program listens on the unix socket `path` now.
bool somebody_listens(const std::string &path);

/// Listens on a unix socket on GLib's default main context. A socket that a dead program left is taken over; the path
/// is removed at the end.
class UnixListener {
public:
    /// `accepted` gets each connection, non-blocking.
    static Result<UnixListener> listen(const std::string &path, std::function<void(UniqueFd)> accepted);
    UnixListener() = default;
    UnixListener(UnixListener &&other) noexcept { *this = std::move(other); }
    UnixListener &operator=(UnixListener &&other) noexcept;
    ~UnixListener();

private:
    struct State {
        UniqueFd fd;
        std::string path;
        std::function<void(UniqueFd)> accepted;
    };
    State *state_ = nullptr;
    unsigned source_ = 0;
};

} // namespace spice_overlay::host
