// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "agent_device.h"
#include "core_interface.h"
#include "desktop.h"
#include "inputs.h"
#include "line_server.h"
#include "player.h"
#include "publisher.h"
#include "qxl_display.h"
#include "scene.h"
#include "spice_port.h"

#include <memory>
#include <string>

namespace spice_overlay::host {

enum class StartOn { kNow, kClient, kPort };

struct Options {
    Scene scene;
    std::string scene_file;       ///< for logs
    std::string unix_path;        ///< SPICE on this unix socket; empty: TCP
    std::string address = "127.0.0.1";
    int port = 5930;
    std::string port_name;
    std::string port_socket;      ///< empty: none
    std::string port_pty;         ///< empty: none
    std::string geometry_socket;  ///< empty: none
    std::string control_socket;   ///< empty: none
    std::string dump;             ///< directory for step dumps; empty: none
    std::string wire_log;         ///< empty: none
    std::string stats;            ///< empty: none
    Skew skew;
    int rate = 60;                ///< scene ticks a second, at most
    StartOn start_on = StartOn::kClient;
    bool relative_pointer = false; ///< a mouse and no tablet
    bool resizable = false;       ///< the desktop takes the size that a client asks for
    SpiceImageCompression compression = SPICE_IMAGE_COMPRESSION_OFF;
};

/// The whole host: a SPICE server, a guest's desktop on it, the port, and the sockets that testers steer it with.
/// Runs on GLib's default main context; one per process.
class Host {
public:
    explicit Host(Options options);
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    ~Host();

    Status start();

    /// Asked to end, by a controller.
    void on_quit(std::function<void()> handler) { quit_ = std::move(handler); }

    /// Writes the counters as one JSON object.
    Status write_stats(const std::string &path) const;

private:
    Status start_server();
    void channel_event(int event, int type);
    void start_scene();
    void tick();
    void run_ticks(bool run);
    void settled();
    void finish_step();
    void go_on();
    Status dump(const std::string &path) const;
    void control(const std::string &line);
    void resize(unsigned width, unsigned height);
    void say(const std::string &json);
    [[nodiscard]] std::string stats() const; ///< members of a JSON object, without its braces

    Options options_;
    std::function<void()> quit_;
    SpiceServer *server_ = nullptr;
    bool initialised_ = false;
    Desktop desktop_;
    std::unique_ptr<QxlDisplay> display_;
    std::unique_ptr<Inputs> inputs_;
    std::unique_ptr<AgentDevice> agent_;
    std::unique_ptr<SpicePort> port_;
    std::unique_ptr<LineServer> geometry_;
    std::unique_ptr<LineServer> control_;
    std::unique_ptr<Publisher> publisher_;
    Player player_;
    UniqueFd timer_;
    unsigned timer_source_ = 0;
    bool ticking_ = false;
    std::int64_t last_tick_ = 0; ///< µs, monotonic
    bool started_ = false;
    bool pending_end_ = false;
    bool pending_step_ = false;  ///< the player stands at a step that is not reported yet
    std::string step_name_;
    int step_ = 0;
    std::string step_report_;    ///< of the step the player stands at, once reported
    int clients_ = 0;
    std::uint64_t connections_ = 0;
};

} // namespace spice_overlay::host
