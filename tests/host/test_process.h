// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/unique_fd.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

/// For tests of the host: programs, sockets and waits, each with a deadline.
namespace spice_overlay::host::testing_tools {

inline constexpr std::chrono::seconds kDeadline{20};

/// Runs GLib's default main context until `done`, or the deadline passes: then false.
bool wait_until(const std::function<bool()> &done, std::chrono::milliseconds deadline = kDeadline);

/// Whether pseudo terminals can be had here: containers without devpts have none.
bool there_are_ptys();

/// The whole file; empty when it cannot be read.
std::string read_file(const std::string &path);

/// A directory under /tmp that goes away with this.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;
    ~TemporaryDirectory();
    [[nodiscard]] std::string path(const std::string &name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// A program whose output and errors go to one file. Killed at the end if it still runs.
class Program {
public:
    Program(std::vector<std::string> arguments, std::string output_file, std::vector<std::string> environment = {});
    Program(const Program &) = delete;
    Program &operator=(const Program &) = delete;
    ~Program();

    [[nodiscard]] std::string output() const;
    bool wait_for_output(const std::string &text);
    void signal(int number);
    /// The exit code, or 128 + the signal's number; nothing when it still runs at the deadline.
    std::optional<int> wait();
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
    std::optional<int> status_;
    std::string output_file_;
};

/// A connection to a unix socket, read without blocking.
class Peer {
public:
    explicit Peer(const std::string &path); ///< tries until the deadline
    explicit Peer(UniqueFd fd) : fd_(std::move(fd)) {}
    [[nodiscard]] bool connected() const { return fd_.valid(); }
    void send(const std::string &bytes);
    const std::string &received(); ///< everything so far
    bool wait_for(const std::string &text);
    /// The next line that contains `text`, after the one found last.
    std::optional<std::string> next_line(const std::string &text);
    [[nodiscard]] bool ended() const { return ended_; } ///< as of the last received()
    void close() { fd_.reset(); }
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    UniqueFd fd_;
    std::string received_;
    std::size_t looked_at_ = 0;
    bool ended_ = false;
};

/// The host on sockets of its own directory, started and waited for.
class HostProgram {
public:
    /// `scene` is a path, or a scene's text when it has more than one line.
    explicit HostProgram(const std::string &scene, std::vector<std::string> more = {});
    [[nodiscard]] bool ready() const { return ready_; }
    [[nodiscard]] std::string path(const std::string &name) const { return directory_.path(name); }
    [[nodiscard]] std::string spice() const { return path("spice"); }
    Program &program() { return *program_; }

    TemporaryDirectory directory_;
    std::optional<Program> program_;
    bool ready_ = false;
};

} // namespace spice_overlay::host::testing_tools
