// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/unique_fd.h"

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace spice_overlay::guest::testing_tools {

/// A program that ends with this.
class Process {
public:
    /// `inherited`: given to the program as descriptor 3. Output goes nowhere.
    Process(const std::vector<std::string> &arguments, const std::vector<std::string> &environment, int inherited = -1);
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    ~Process() { stop(); }
    void stop();

private:
    pid_t pid_ = -1;
};

/// An X server without a screen, on a number that it picks itself.
class XServer {
public:
    static constexpr int kWidth = 640;
    static constexpr int kHeight = 480;

    /// Null when it does not come up, which fails the test; skip before where `installed("Xvfb")` is false.
    [[nodiscard]] static std::unique_ptr<XServer> start();
    [[nodiscard]] const std::string &display() const { return display_; }
    void stop() { process_->stop(); }
    /// Starts a program on this server.
    [[nodiscard]] std::unique_ptr<Process> run(std::vector<std::string> arguments) const;

private:
    std::unique_ptr<Process> process_;
    std::string display_;
};

[[nodiscard]] bool installed(const std::string &program);

} // namespace spice_overlay::guest::testing_tools
