// SPDX-License-Identifier: LGPL-2.1-or-later
#include "x_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <sstream>

namespace spice_overlay::guest::testing_tools {

namespace {

constexpr int kDeadline = 20'000; // ms

} // namespace

Process::Process(const std::vector<std::string> &arguments, const std::vector<std::string> &environment, int inherited)
{
    std::vector<char *> argv;
    for (const std::string &a : arguments)
        argv.push_back(const_cast<char *>(a.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nowhere = open("/dev/null", O_RDWR);
    for (int fd : {0, 1, 2})
        dup2(nowhere, fd);
    if (inherited >= 0)
        dup2(inherited, 3);
    for (const std::string &e : environment)
        putenv(const_cast<char *>(e.c_str()));
    execvp(argv[0], argv.data());
    _exit(127);
}

void Process::stop()
{
    if (pid_ <= 0)
        return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

std::unique_ptr<XServer> XServer::start()
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return nullptr;
    UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    auto server = std::make_unique<XServer>();
    const std::string screen = std::to_string(kWidth) + "x" + std::to_string(kHeight) + "x24";
    server->process_ = std::make_unique<Process>(
        std::vector<std::string>{"Xvfb", "-displayfd", "3", "-screen", "0", screen, "-nolisten", "tcp", "-noreset"},
        std::vector<std::string>{}, out.get());
    out.reset();
    std::string number;
    for (;;) {
        pollfd p{in.get(), POLLIN, 0};
        char buffer[16];
        if (poll(&p, 1, kDeadline) <= 0)
            return nullptr;
        const ssize_t n = read(in.get(), buffer, sizeof buffer);
        if (n <= 0)
            return nullptr;
        number.append(buffer, static_cast<std::size_t>(n));
        if (number.back() == '\n')
            break;
    }
    server->display_ = ":" + number.substr(0, number.size() - 1);
    return server;
}

std::unique_ptr<Process> XServer::run(std::vector<std::string> arguments) const
{
    return std::make_unique<Process>(arguments, std::vector<std::string>{"DISPLAY=" + display_});
}

bool installed(const std::string &program)
{
    const char *path = std::getenv("PATH");
    std::istringstream folders(path ? path : "");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (access((folder + "/" + program).c_str(), X_OK) == 0)
            return true;
    return false;
}

} // namespace spice_overlay::guest::testing_tools
