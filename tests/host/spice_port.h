// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "port_endpoint.h"

#include <spice.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

namespace spice_overlay::host {

/// The SPICE port: a char device of subtype "port", joined to the endpoint that the guest's program opens.
/// The port is open for the client while a program has the endpoint open. Main thread.
class SpicePort : public PortEndpoint::Listener {
public:
    struct Counters {
        std::uint64_t to_client = 0;   ///< bytes handed to spice-server
        std::uint64_t to_guest = 0;    ///< bytes from spice-server that the program's endpoint took
        std::uint64_t pieces_to_client = 0;
        std::uint64_t pieces_to_guest = 0;
        std::uint64_t opened = 0;      ///< times that a program opened the port
        std::uint64_t discarded = 0;   ///< bytes thrown away, either way, because the other side was not there
    };

    /// `server` must be initialised. `changed` is told when a program has opened (true) or closed the port.
    SpicePort(SpiceServer *server, const std::string &name, std::function<void(bool open)> changed);
    SpicePort(const SpicePort &) = delete;
    SpicePort &operator=(const SpicePort &) = delete;
    ~SpicePort() override;

    void set_endpoint(std::unique_ptr<PortEndpoint> endpoint) { endpoint_ = std::move(endpoint); }

    /// Writes every byte handed to the client to `path` as well.
    Status log_to(const std::string &path);

    // Faults, as a tester injects them.
    void pause(bool paused);                    ///< nothing more reaches the client, until unpaused
    void force_closed(bool closed);             ///< the client sees the port closed, and what the program sends is lost
    void inject(std::vector<std::uint8_t> bytes); ///< put before what the program sends next
    void disconnect_program();

    [[nodiscard]] bool open() const { return program_; }
    [[nodiscard]] const Counters &counters() const { return counters_; }

    void opened() override;
    void closed() override;
    void readable() override;
    void writable() override;

private:
    struct Callbacks;
    struct Instance { // the instance first, so that a callback finds its way back here
        SpiceCharDeviceInstance spice{};
        SpicePort *port = nullptr;
    } instance_;

    int give(std::uint8_t *bytes, int room);       ///< spice-server reads
    int take(const std::uint8_t *bytes, int count); ///< spice-server writes
    void fill();
    void wake_soon();
    void announce();
    void end_program();

    std::string name_;
    std::function<void(bool)> changed_;
    std::unique_ptr<PortEndpoint> endpoint_;
    std::vector<std::uint8_t> pending_; ///< from the program, not yet taken by spice-server
    std::size_t pending_from_ = 0;      ///< where it begins in pending_
    Counters counters_;
    std::FILE *log_ = nullptr;
    bool program_ = false;   ///< a program has the endpoint open
    bool leaving_ = false;   ///< it has closed it, and pending_ is still to be taken
    bool announced_ = false; ///< what the client was told last
    bool client_ = false;
    bool paused_ = false;
    bool forced_closed_ = false;
    bool giving_ = false;    ///< inside give()
    std::int64_t last_wake_ = 0; ///< µs, monotonic
    unsigned wake_source_ = 0;
};

} // namespace spice_overlay::host
