// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>

namespace spice_overlay::test {
namespace {

std::int64_t now_ns()
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

wire::Hello client_hello()
{
    wire::Hello hello;
    hello.role = wire::Role::kClient;
    hello.name = "model client";
    hello.max_streams = 16;
    return hello;
}

} // namespace

ModelClient::ModelClient() : ModelClient(client_hello()) {}
ModelClient::ModelClient(wire::Hello hello) : handshake_(std::move(hello))
{
    std::signal(SIGPIPE, SIG_IGN); // the other end may just have gone
}

UniqueFd listen_unix(const std::string &path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    unlink(path.c_str());
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (bind(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || listen(fd.get(), 4) != 0)
        fd.reset();
    return fd;
}

bool ModelClient::accept(int listener)
{
    pollfd fd{listener, POLLIN, 0};
    if (poll(&fd, 1, 20'000) != 1)
        return false;
    use(UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)));
    return fd_.valid();
}

void ModelClient::use(UniqueFd fd)
{
    fd_ = std::move(fd);
    begin();
}

void ModelClient::begin()
{
    streams_.clear();
    const wire::Hello &question = handshake_.start(++nonce_);
    deframer_.reset(nonce_);
    send(question);
}

void ModelClient::hang_up()
{
    fd_.reset();
    streams_.clear();
}

void ModelClient::send(const wire::Message &message)
{
    std::vector<std::uint8_t> bytes;
    wire::encode(message, bytes);
    send_bytes(bytes);
}

void ModelClient::send_bytes(std::span<const std::uint8_t> bytes)
{
    if (write(fd_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) && errno != EPIPE)
        errors.push_back(std::string("writing to the port: ") + std::strerror(errno));
}

void ModelClient::give_credit(std::uint32_t stream)
{
    Stream &s = streams_[stream];
    s.bytes_granted = s.bytes + window;
    s.units_granted = s.whole + unit_window;
    send(wire::Credit{stream, s.bytes_granted, s.units_granted});
}

bool ModelClient::run_until(const std::function<bool()> &done, double seconds)
{
    std::int64_t end = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
    while (!done()) {
        std::int64_t left = end - now_ns();
        if (left <= 0)
            return false;
        pollfd fd{fd_.get(), POLLIN, 0};
        int wait =
            static_cast<int>(std::min<std::int64_t>(left / 1'000'000 + 1, 20)); // done() may look at other things
        if (poll(&fd, 1, wait) <= 0)
            continue;
        std::array<std::uint8_t, 65536> buffer;
        ssize_t got = read(fd_.get(), buffer.data(), buffer.size());
        if (got <= 0) {
            hang_up();
            continue;
        }
        deframer_.feed(std::span(buffer).first(static_cast<std::size_t>(got)),
                       [this](const wire::Message &message) { receive(message); });
        if (deframer_.state() == wire::Deframer::State::kBroken) {
            errors.push_back("malformed: " + deframer_.error());
            begin();
        }
    }
    return true;
}

void ModelClient::run_for(double seconds)
{
    (void)run_until([] { return false; }, seconds);
}

std::vector<ModelClient::Unit> ModelClient::units_of(std::uint32_t stream) const
{
    std::vector<Unit> found;
    for (const Unit &unit : units)
        if (unit.stream == stream)
            found.push_back(unit);
    return found;
}

void ModelClient::receive(const wire::Message &message)
{
    auto note = [this](const char *what, std::uint32_t stream) { order.push_back(what + std::to_string(stream)); };
    if (const auto *hello = std::get_if<wire::Hello>(&message)) {
        auto outcome = handshake_.receive(*hello);
        if (outcome.reset)
            streams_.clear();
        if (outcome.reply)
            send(handshake_.resend());
        established += outcome.established;
    } else if (!handshake_.established()) {
        errors.push_back("a message before the conversation was established");
    } else if (const auto *open = std::get_if<wire::StreamOpen>(&message)) {
        note("open ", open->stream);
        for (const wire::StreamOpen &earlier : opens)
            if (earlier.stream == open->stream)
                errors.push_back("a stream number was used again");
        opens.push_back(*open);
        streams_[open->stream];
        if (refuses_with != wire::Reason::kNone) {
            send(wire::StreamReject{open->stream, refuses_with});
            return;
        }
        send(wire::StreamAccept{open->stream});
        if (gives_credit)
            give_credit(open->stream);
    } else if (const auto *ping = std::get_if<wire::Ping>(&message)) {
        send(wire::Pong{ping->id, ping->sent, static_cast<std::uint64_t>(now_ns()),
                        static_cast<std::uint64_t>(now_ns())});
    } else if (const auto *geometry = std::get_if<wire::Geometry>(&message)) {
        note("geometry ", geometry->stream);
        geometries.push_back(*geometry);
    } else if (const auto *state = std::get_if<wire::PlayState>(&message)) {
        note("state ", state->stream);
        states.push_back(*state);
        streams_[state->stream].epoch = state->epoch;
    } else if (const auto *close = std::get_if<wire::StreamClose>(&message)) {
        note("close ", close->stream);
        closes.push_back(*close);
    } else if (const auto *pong = std::get_if<wire::Pong>(&message)) {
        pongs.push_back(*pong);
    } else if (const auto *unit = std::get_if<wire::AccessUnit>(&message)) {
        note("unit ", unit->stream);
        first(*unit);
    } else if (const auto *part = std::get_if<wire::AccessUnitChunk>(&message)) {
        note("chunk ", part->stream);
        chunk(*part);
    }
}

void ModelClient::first(const wire::AccessUnit &message)
{
    Stream &s = streams_[message.stream];
    wire::AccessUnit unit = message;
    if (unit.follows) {
        if (!wire::resolve(unit, s.reference))
            errors.push_back("a short form without a unit before");
    } else {
        s.reference = {true, unit.serial, unit.epoch, unit.pts};
    }
    if (s.current.data.size() < s.total && unit.epoch == s.current.epoch)
        errors.push_back("a unit begins before the last is whole");
    if (unit.serial != s.begun)
        errors.push_back("a serial is missing");
    if (unit.epoch != s.epoch)
        errors.push_back("a unit of an epoch that was not announced, or is over");
    if (++s.begun > s.units_granted)
        errors.push_back("more units than the credit allows");
    s.total = unit.total_size;
    s.current = {unit.stream, unit.serial, unit.epoch, unit.flags, unit.pts, 0, {unit.data.begin(), unit.data.end()}};
    took(unit.stream, unit.data.size());
}

void ModelClient::chunk(const wire::AccessUnitChunk &chunk)
{
    Stream &s = streams_[chunk.stream];
    if (chunk.serial != s.current.serial || chunk.offset != s.current.data.size())
        errors.push_back("a chunk out of order");
    s.current.data.insert(s.current.data.end(), chunk.data.begin(), chunk.data.end());
    took(chunk.stream, chunk.data.size());
}

void ModelClient::took(std::uint32_t stream, std::size_t bytes)
{
    Stream &s = streams_[stream];
    s.bytes += bytes;
    if (s.bytes > s.bytes_granted)
        errors.push_back("more bytes than the credit allows");
    if (s.current.data.size() > s.total)
        errors.push_back("a unit larger than it said");
    if (s.current.data.size() == s.total) {
        s.whole++;
        s.current.arrived = now_ns();
        units.push_back(s.current);
    }
    if (gives_credit)
        give_credit(stream);
}

// ---- the program

Program::Program(std::vector<std::string> words, int inherited, const char *program)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return;
    words.insert(words.begin(), program ? program : PLAY_PROGRAM);
    std::vector<char *> argv;
    for (std::string &word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
        dup2(pipe_ends[1], STDERR_FILENO);
        if (inherited >= 0)
            fcntl(inherited, F_SETFD, 0);
        execv(argv[0], argv.data());
        _exit(127);
    }
    close(pipe_ends[1]);
    stderr_.reset(pipe_ends[0]);
    fcntl(stderr_.get(), F_SETFL, O_NONBLOCK);
}

Program::~Program()
{
    if (running()) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
}

bool Program::running()
{
    if (pid_ < 0 || ended_)
        return false;
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = true;
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    }
    return !ended_;
}

int Program::wait(double seconds)
{
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (running() && std::chrono::steady_clock::now() < end) {
        pollfd fd{stderr_.get(), POLLIN, 0}; // closes when the program ends
        poll(&fd, 1, 100);
        (void)errors();
    }
    (void)errors();
    return running() ? -1 : status_;
}

void Program::signal(int number)
{
    if (running())
        kill(pid_, number);
}

std::string Program::errors()
{
    char buffer[4096];
    for (ssize_t got; (got = read(stderr_.get(), buffer, sizeof buffer)) > 0;)
        errors_.append(buffer, static_cast<std::size_t>(got));
    return errors_;
}

bool Program::wait_for_error(const std::string &text, double seconds)
{
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (errors().find(text) == std::string::npos) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        pollfd fd{stderr_.get(), POLLIN, 0};
        poll(&fd, 1, 100);
    }
    return true;
}

long Program::sleeps() const
{
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("voluntary_ctxt_switches:"))
            return std::stol(line.substr(line.find(':') + 1));
    return -1;
}

} // namespace spice_overlay::test
