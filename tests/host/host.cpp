// SPDX-License-Identifier: LGPL-2.1-or-later
#include "host.h"

#include <glib-unix.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <random>
#include <sstream>

namespace spice_overlay::host {

namespace {

constexpr double kLongestTick = 0.1; // s: after a stall the scene goes on, it does not jump

std::string json_string(const std::string &text)
{
    std::ostringstream out;
    out << '"';
    for (char c : text) {
        if (c == '"' || c == '\\')
            out << '\\' << c;
        else if (static_cast<unsigned char>(c) < 0x20)
            out << "\\u" << std::hex << std::setw(4) << std::setfill('0') << static_cast<int>(c) << std::dec;
        else
            out << c;
    }
    out << '"';
    return out.str();
}

std::string json_rect(const Rect &rect)
{
    std::ostringstream out;
    out << '[' << rect.x << ',' << rect.y << ',' << rect.w << ',' << rect.h << ']';
    return out.str();
}

std::string json_video(const VideoView &view)
{
    static constexpr const char *kStates[] = {"closed", "playing", "paused"};
    std::ostringstream out;
    out << R"({"index":)" << view.index << R"(,"state":")" << kStates[static_cast<int>(view.state)] << R"(","target":)"
        << json_rect(view.target) << R"(,"visible":[)";
    for (std::size_t i = 0; i < view.visible.size() && view.display == 0; ++i)
        out << (i ? "," : "") << json_rect(view.visible[i]);
    out << R"(],"placeholder":")" << std::hex << std::uppercase << std::setw(6) << std::setfill('0') << view.placeholder
        << "\"}";
    return out.str();
}

} // namespace

Host::Host(Options options)
    : options_(std::move(options)), desktop_(options_.scene),
      player_(options_.scene, desktop_,
              {.video = [this](const Player::VideoCommand &command) { publisher_->command(command); },
               .step = [this](const std::string &name) {
                   pending_step_ = true;
                   step_name_ = name;
               },
               .end = [this] { pending_end_ = true; }})
{
}

Host::~Host()
{
    if (timer_source_ != 0)
        g_source_remove(timer_source_);
    on_channel_event(nullptr);
    if (initialised_)
        spice_server_vm_stop(server_);
    publisher_.reset(); // before the display, which it listens to
    if (server_ != nullptr)
        spice_server_destroy(server_); // before the devices: ends the thread that calls them
    if (initialised_ && !options_.unix_path.empty())
        unlink(options_.unix_path.c_str());
}

Status Host::start_server()
{
    server_ = spice_server_new();
    std::string where;
    if (!options_.unix_path.empty()) {
        where = "'" + options_.unix_path + "'";
        if (somebody_listens(options_.unix_path))
            return Error{"address in use: another program listens on " + where + "; stop it or choose another path"};
        spice_server_set_addr(server_, options_.unix_path.c_str(), SPICE_ADDR_FLAG_UNIX_ONLY);
    } else {
        where = options_.address + " port " + std::to_string(options_.port);
        spice_server_set_addr(server_, options_.address.c_str(), 0);
        spice_server_set_port(server_, options_.port);
    }
    spice_server_set_noauth(server_);
    spice_server_set_name(server_, "spice-overlay-host");
    // Exact pixels: no lossy image, no desktop area taken for a video.
    spice_server_set_streaming_video(server_, SPICE_STREAM_VIDEO_OFF);
    spice_server_set_image_compression(server_, options_.compression);
    spice_server_set_jpeg_compression(server_, SPICE_WAN_COMPRESSION_NEVER);
    spice_server_set_zlib_glz_compression(server_, SPICE_WAN_COMPRESSION_NEVER);
    on_channel_event([this](int event, int type) { channel_event(event, type); });
    if (spice_server_init(server_, core_interface()) != 0)
        return Error{"cannot serve SPICE on " + where +
                     ": the address is in use or not ours; stop the other program or choose another one"};
    initialised_ = true;
    return Success{};
}

Status Host::start()
{
    if (auto started = start_server(); !started)
        return started;
    display_ = std::make_unique<QxlDisplay>(server_, desktop_.width(), desktop_.height());
    if (options_.resizable) {
        display_->on_resize_wish([this](unsigned width, unsigned height) { resize(width, height); });
        agent_ = std::make_unique<AgentDevice>(server_);
    }
    inputs_ = std::make_unique<Inputs>(
        server_, options_.relative_pointer,
        Inputs::Handlers{.key =
                             [this](int code, bool down) {
                                 say(R"({"event":"key","code":)" + std::to_string(code) + R"(,"down":)"
                                     + (down ? "true}" : "false}"));
                             },
                         .pointer =
                             [this](int x, int y, unsigned buttons, int wheel) {
                                 if (options_.relative_pointer)
                                     display_->move_cursor(x, y);
                                 say(R"({"event":"pointer","x":)" + std::to_string(x) + R"(,"y":)" + std::to_string(y)
                                     + R"(,"buttons":)" + std::to_string(buttons)
                                     + (wheel ? R"(,"wheel":)" + std::to_string(wheel) : "") + "}");
                             }});
    inputs_->set_bounds(desktop_.width(), desktop_.height());
    port_ = std::make_unique<SpicePort>(server_, options_.port_name, [this](bool open) {
        say(open ? R"({"event":"port-opened"})" : R"({"event":"port-closed"})");
        start_scene();
    });
    if (!options_.wire_log.empty())
        if (auto logging = port_->log_to(options_.wire_log); !logging)
            return logging;
    if (!options_.port_socket.empty() || !options_.port_pty.empty()) {
        auto endpoint = options_.port_socket.empty() ? make_pty(options_.port_pty, *port_)
                                                     : listen_on_socket(options_.port_socket, *port_);
        if (!endpoint)
            return endpoint.error();
        port_->set_endpoint(std::move(endpoint).value());
    }
    if (!options_.geometry_socket.empty()) {
        auto listening = LineServer::listen(options_.geometry_socket, {
            .connected = [this](const LineServer::Reply &reply) { publisher_->replay(reply); }});
        if (!listening)
            return listening.error();
        geometry_ = std::move(listening).value();
    }
    if (!options_.control_socket.empty()) {
        auto listening = LineServer::listen(options_.control_socket, {
            .connected = [this](const LineServer::Reply &reply) {
                if (clients_ > 0)
                    reply(R"({"event":"client-connected"})");
                if (port_->open())
                    reply(R"({"event":"port-opened"})");
                if (!step_report_.empty())
                    reply(step_report_);
            },
            .received = [this](const std::string &line) { control(line); },
            .left = [this] {
                if (!control_->anybody())
                    go_on();
            }});
        if (!listening)
            return listening.error();
        control_ = std::move(listening).value();
    }
    publisher_ = std::make_unique<Publisher>(
        desktop_, *display_, options_.skew,
        [this](const std::string &line) {
            if (geometry_)
                geometry_->send(line);
        },
        [this] { settled(); });
    timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    timer_source_ = g_unix_fd_add(timer_.get(), G_IO_IN, [](int fd, GIOCondition, gpointer data) {
        std::uint64_t times = 0;
        if (::read(fd, &times, sizeof times) > 0)
            static_cast<Host *>(data)->tick();
        return static_cast<gboolean>(G_SOURCE_CONTINUE);
    }, this);
    spice_server_vm_start(server_);
    publisher_->publish(); // the desktop as it is before the scene starts
    start_scene();
    return Success{};
}

void Host::resize(unsigned width, unsigned height)
{
    int w = static_cast<int>(std::clamp(width, 64u, 8192u));
    int h = static_cast<int>(std::clamp(height, 64u, 8192u));
    if (!publisher_ || (w == desktop_.width() && h == desktop_.height()))
        return;
    publisher_->drop_pictures();
    desktop_.resize(w, h);
    display_->resize(w, h);
    inputs_->set_bounds(w, h);
    publisher_->publish();
    say(R"({"event":"resized","width":)" + std::to_string(w) + R"(,"height":)" + std::to_string(h) + "}");
}

void Host::channel_event(int event, int type)
{
    if (type != SPICE_CHANNEL_MAIN)
        return;
    if (event == SPICE_CHANNEL_EVENT_INITIALIZED) {
        ++clients_;
        ++connections_;
        say(R"({"event":"client-connected"})");
        start_scene();
    } else if (event == SPICE_CHANNEL_EVENT_DISCONNECTED) {
        clients_ = std::max(0, clients_ - 1);
        say(R"({"event":"client-disconnected"})");
    }
}

void Host::start_scene()
{
    bool ready = options_.start_on == StartOn::kNow ||
                 (clients_ > 0 && (options_.start_on == StartOn::kClient || (port_ && port_->open())));
    if (started_ || !ready || !publisher_)
        return;
    started_ = true;
    run_ticks(true);
}

void Host::run_ticks(bool run)
{
    if (run == ticking_)
        return;
    ticking_ = run;
    last_tick_ = g_get_monotonic_time();
    itimerspec period{};
    if (run) {
        period.it_interval.tv_nsec = 1'000'000'000 / options_.rate;
        if (options_.rate == 1)
            period.it_interval = {1, 0};
        period.it_value.tv_nsec = 1;
    }
    timerfd_settime(timer_.get(), 0, &period, nullptr);
}

void Host::tick()
{
    std::int64_t now = g_get_monotonic_time();
    double seconds = std::min(static_cast<double>(now - last_tick_) / 1e6, kLongestTick);
    last_tick_ = now;
    player_.advance(seconds);
    publisher_->publish();
    if (!player_.busy() && publisher_->settled())
        run_ticks(false);
    settled();
}

/// Something may have come to rest: a step or the end can be reported.
void Host::settled()
{
    if (!publisher_->settled())
        return;
    if (pending_step_) {
        pending_step_ = false;
        finish_step();
    }
    if (pending_end_) {
        pending_end_ = false;
        say(R"({"event":"end"})");
    }
    if (!player_.busy())
        run_ticks(false);
}

void Host::finish_step()
{
    ++step_;
    std::ostringstream report;
    report << R"({"event":"step","name":)" << json_string(step_name_) << R"(,"index":)" << step_;
    if (!options_.dump.empty()) {
        std::ostringstream path;
        path << options_.dump << "/step-" << std::setw(2) << std::setfill('0') << step_ << '-' << step_name_ << ".ppm";
        if (auto dumped = dump(path.str()); dumped)
            report << R"(,"framebuffer":)" << json_string(path.str());
        else
            g_printerr("spice-overlay-host: %s\n", dumped.error().message.c_str());
    }
    report << R"(,"videos":[)";
    for (std::size_t i = 0; i < desktop_.videos().size(); ++i)
        report << (i ? "," : "") << json_video(desktop_.videos()[i]);
    report << "]}";
    step_report_ = report.str();
    say(step_report_);
    if (!control_ || !control_->anybody())
        go_on();
}

void Host::go_on()
{
    if (step_report_.empty())
        return;
    step_report_.clear();
    player_.resume();
    run_ticks(true);
}

Status Host::dump(const std::string &path) const
{
    std::ofstream out(path, std::ios::binary);
    out << "P6\n" << desktop_.width() << ' ' << desktop_.height() << "\n255\n";
    std::string bytes;
    bytes.reserve(desktop_.pixels().size() * 3);
    for (std::uint32_t pixel : desktop_.pixels())
        for (int shift : {16, 8, 0})
            bytes.push_back(static_cast<char>(pixel >> shift & 255));
    out << bytes << std::flush;
    if (!out)
        return Error{"cannot write '" + path + "': check that the directory exists and has room"};
    return Success{};
}

void Host::say(const std::string &json)
{
    if (control_)
        control_->send(json);
}

void Host::control(const std::string &line)
{
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "continue") {
        go_on();
    } else if (verb == "quit") {
        quit_();
    } else if (verb == "stats") {
        say("{\"event\":\"stats\"," + stats() + "}");
    } else if (verb == "pause-port") {
        port_->pause(true);
    } else if (verb == "resume-port") {
        port_->pause(false);
    } else if (verb == "close-port") {
        port_->force_closed(true);
    } else if (verb == "open-port") {
        port_->pause(false);
        port_->force_closed(false);
    } else if (verb == "kick-port") {
        port_->disconnect_program();
    } else if (std::size_t count = 0; verb == "garbage-port" && words >> count && count <= 1u << 20) {
        std::vector<std::uint8_t> bytes(count);
        std::mt19937 random(static_cast<unsigned>(count));
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
        port_->inject(std::move(bytes));
    } else if (!verb.empty()) {
        say(R"({"event":"error","message":)" + json_string("unknown command '" + line + "'") + "}");
    }
}

std::string Host::stats() const
{
    if (!port_ || !publisher_)
        return {};
    const SpicePort::Counters &port = port_->counters();
    std::ostringstream out;
    out << "\"scene\":" << json_string(options_.scene_file) << ",\"steps\":" << step_ << ",\"client_connections\":"
        << connections_ << ",\"draw_commands\":" << display_->commands() << ",\"drawn_pixels\":"
        << display_->drawn_pixels() << ",\"geometry_lines\":" << publisher_->geometry_lines()
        << ",\"port\":{\"opened\":" << port.opened << ",\"bytes_to_client\":" << port.to_client
        << ",\"pieces_to_client\":" << port.pieces_to_client << ",\"bytes_to_guest\":" << port.to_guest
        << ",\"pieces_to_guest\":" << port.pieces_to_guest << ",\"bytes_discarded\":" << port.discarded << '}';
    return out.str();
}

Status Host::write_stats(const std::string &path) const
{
    std::ofstream out(path);
    out << '{' << stats() << "}\n" << std::flush;
    if (!out)
        return Error{"cannot write '" + path + "': check that the directory exists and has room"};
    return Success{};
}

} // namespace spice_overlay::host
