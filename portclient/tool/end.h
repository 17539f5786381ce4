// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace spice_overlay::tool {

/// One end of a port: bytes in both directions, for as long as somebody is at the other end. Survives its absence, and
/// that of the port or the connection itself. One thread.
class End {
public:
    class Listener {
    public:
        virtual ~Listener() = default;
        virtual void opened() = 0;                                  ///< what is written from now on is heard
        virtual void closed() = 0;                                  ///< once after each opened()
        virtual void data(std::span<const std::uint8_t> bytes) = 0; ///< cut anywhere; borrowed for the call
    };

    virtual ~End() = default;

    /// Sleeps until something has happened at this end, until one of the descriptors `others` is readable, or until
    /// `until` (ns of CLOCK_MONOTONIC); with `to_write`, also until there may be room for it. The listener is called
    /// from within. An Error says that this end will never work.
    [[nodiscard]] virtual Status wait(std::int64_t until, bool to_write, std::span<const int> others,
                                      Listener &listener) = 0;
    /// How many bytes were taken, at once; 0 when it is not open.
    virtual std::size_t write(std::span<const std::uint8_t> bytes) = 0;
    [[nodiscard]] virtual bool open() const = 0;
    /// Bytes taken that have not left this process.
    [[nodiscard]] virtual std::size_t unsent() const = 0;
    /// What has to happen for it to open, for people; without a full stop.
    [[nodiscard]] virtual std::string missing() const = 0;
    /// "guest" or "client".
    [[nodiscard]] virtual const char *side() const = 0;
};

/// The guest's end: a virtio port by path or by name, or a pty or unix socket in its stead.
[[nodiscard]] Result<std::unique_ptr<End>> open_guest_end(const std::string &port);

/// The client's end of the port `name`: `target` is a SPICE URI or a connection file. An Error where this is not built.
[[nodiscard]] Result<std::unique_ptr<End>> open_client_end(const std::string &target, const std::string &name);
[[nodiscard]] bool has_client_end();

} // namespace spice_overlay::tool
