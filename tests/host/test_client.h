// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <spice-client.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace spice_overlay::host::testing_tools {

/// A bare SPICE client on spice-client-glib that keeps what the channels say. Needs GLib's default main context to run.
class Client {
public:
    explicit Client(const std::string &unix_path);
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;
    ~Client();

    /// The primary surface as received, 0xRRGGBB; empty before there is one.
    [[nodiscard]] std::vector<std::uint32_t> picture() const;
    void send_to_port(std::vector<std::uint8_t> bytes);

    SpiceSession *session = nullptr;
    SpiceMainChannel *main = nullptr;
    SpiceDisplayChannel *display = nullptr; ///< these belong to the session
    SpiceInputsChannel *inputs = nullptr;
    bool inputs_opened = false; ///< before that, keys and positions are dropped without a word
    SpicePortChannel *port = nullptr;
    SpiceCursorChannel *cursor = nullptr;
    int width = 0;
    int height = 0;
    int invalidations = 0;
    std::int64_t last_invalidation = 0; ///< µs, monotonic
    bool cursor_set = false;
    std::vector<std::uint8_t> port_data;
    std::string port_events;            ///< "OPENED " and "CLOSED " as they came
    bool port_write_failed = false;
    int port_writes_left = 0;
    int closed_channels = 0;            ///< by the server

private:
    const std::uint8_t *primary_ = nullptr;
    int stride_ = 0;
    std::deque<std::vector<std::uint8_t>> written_; ///< what a write borrows until it ends
};

} // namespace spice_overlay::host::testing_tools
