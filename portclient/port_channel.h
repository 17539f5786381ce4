// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

typedef struct _SpiceSession SpiceSession;

namespace spice_overlay {

/// The bytes of one named SPICE port, on spice-client-glib. Watches a SpiceSession for port channels, before or after
/// it is connected; stays with the name through closing, reopening, and channels that go and come.
///
/// A port channel tells its name only once it is connected, so each one is connected to learn it. One of another name
/// is disconnected again, unless somebody else listens to it, and is then left alone.
///
/// Main thread only (that of the default main context), like spice-client-glib itself.
class PortChannel {
public:
    /// Called from the main loop, never from within the constructor. Must not destroy the PortChannel.
    class Listener {
    public:
        virtual ~Listener() = default;
        /// The guest has opened the port: it hears what is written from now on.
        virtual void opened() = 0;
        /// The guest, the channel or the connection has closed it. Comes once after each opened(), not on destruction.
        virtual void closed() = 0;
        /// Bytes from the guest, cut anywhere; borrowed for the call. Only between opened() and closed().
        virtual void data(std::span<const std::uint8_t> bytes) = 0;
    };

    static constexpr std::size_t kMaxQueued = 1u << 20; ///< bytes waiting to be written

    /// Holds a reference to `session`; `listener` outlives the object.
    PortChannel(SpiceSession *session, std::string name, Listener &listener);
    ~PortChannel();
    PortChannel(const PortChannel &) = delete;
    PortChannel &operator=(const PortChannel &) = delete;

    [[nodiscard]] bool is_open() const;
    /// Whether the server has a port of the name, open or not. Not known until its port channels have connected.
    [[nodiscard]] bool found() const;

    /// Queues a copy of `bytes` behind what was written before. False, with nothing queued: the port is not open, or
    /// more than kMaxQueued would wait since the guest does not read. What waits when the port closes is forgotten.
    bool write(std::span<const std::uint8_t> bytes);
    /// Bytes that were written here and wait for the connection to take them.
    [[nodiscard]] std::size_t queued() const;

private:
    struct Private;
    std::unique_ptr<Private> p_;
};

} // namespace spice_overlay
