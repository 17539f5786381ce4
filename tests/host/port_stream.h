// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "port_endpoint.h"

#include <functional>

namespace spice_overlay::host {

/// The watches on a descriptor that both kinds of endpoint share. The descriptor is borrowed and non-blocking.
class PortStream {
public:
    /// `hung_up`: the other end is gone and everything it wrote has been read; called from the main loop only.
    PortStream(PortEndpoint::Listener &listener, std::function<void()> hung_up);
    PortStream(const PortStream &) = delete;
    PortStream &operator=(const PortStream &) = delete;
    ~PortStream() { detach(); }

    void attach(int fd);
    void detach();
    std::size_t read(std::span<std::uint8_t> bytes);
    std::size_t write(std::span<const std::uint8_t> bytes);
    void want_read(bool wanted);

private:
    void watch_writable();
    void end_soon();

    PortEndpoint::Listener &listener_;
    std::function<void()> hung_up_;
    int fd_ = -1;
    bool wanted_ = true;
    unsigned read_source_ = 0;
    unsigned write_source_ = 0;
    unsigned end_source_ = 0;
};

} // namespace spice_overlay::host
