// SPDX-License-Identifier: LGPL-2.1-or-later
#include "test_process.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace spice_overlay::host::testing_tools {

using Clock = std::chrono::steady_clock;

bool wait_until(const std::function<bool()> &done, std::chrono::milliseconds deadline)
{
    auto end = Clock::now() + deadline;
    while (!done()) {
        if (Clock::now() > end)
            return false;
        for (int i = 0; i < 100 && g_main_context_iteration(nullptr, FALSE); ++i) {
        }
        if (!done())
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

bool there_are_ptys()
{
    UniqueFd main(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!main.valid() || grantpt(main.get()) != 0 || unlockpt(main.get()) != 0)
        return false;
    const char *name = ptsname(main.get());
    return name != nullptr && UniqueFd(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)).valid();
}

std::string read_file(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

TemporaryDirectory::TemporaryDirectory()
{
    char name[] = "/tmp/spice-overlay-test-XXXXXX";
    path_ = mkdtemp(name) != nullptr ? name : "/nonexistent";
}

TemporaryDirectory::~TemporaryDirectory()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

Program::Program(std::vector<std::string> arguments, std::string output_file, std::vector<std::string> environment)
    : output_file_(std::move(output_file))
{
    std::vector<char *> words;
    for (std::string &argument : arguments)
        words.push_back(argument.data());
    words.push_back(nullptr);
    UniqueFd output(open(output_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    pid_ = fork();
    if (pid_ == 0) {
        dup2(output.get(), 1);
        dup2(output.get(), 2);
        for (std::string &setting : environment)
            putenv(setting.data());
        execvp(words[0], words.data());
        _exit(127);
    }
}

Program::~Program()
{
    if (!status_ && pid_ > 0) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
}

std::string Program::output() const
{
    return read_file(output_file_);
}

bool Program::wait_for_output(const std::string &text)
{
    return wait_until([&] { return output().find(text) != std::string::npos; });
}

void Program::signal(int number)
{
    kill(pid_, number);
}

std::optional<int> Program::wait()
{
    wait_until([&] {
        int status = 0;
        if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_)
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return status_.has_value();
    });
    return status_;
}

Peer::Peer(const std::string &path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    wait_until([&] {
        fd_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return connect(fd_.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) == 0;
    });
}

void Peer::send(const std::string &bytes)
{
    if (write(fd_.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        ended_ = true;
}

const std::string &Peer::received()
{
    char bytes[65536];
    pollfd state{fd_.get(), POLLIN, 0};
    while (fd_.valid() && !ended_ && poll(&state, 1, 0) > 0) {
        ssize_t count = read(fd_.get(), bytes, sizeof bytes);
        if (count <= 0)
            ended_ = true;
        else
            received_.append(bytes, static_cast<std::size_t>(count));
    }
    return received_;
}

bool Peer::wait_for(const std::string &text)
{
    return wait_until([&] { return received().find(text) != std::string::npos; });
}

std::optional<std::string> Peer::next_line(const std::string &text)
{
    std::optional<std::string> line;
    wait_until([&] {
        received();
        std::size_t end = 0;
        while (!line && (end = received_.find('\n', looked_at_)) != std::string::npos) {
            std::string candidate = received_.substr(looked_at_, end - looked_at_);
            looked_at_ = end + 1;
            if (candidate.find(text) != std::string::npos)
                line = candidate;
        }
        return line.has_value() || ended_;
    });
    return line;
}

HostProgram::HostProgram(const std::string &scene, std::vector<std::string> more)
{
    std::string file = scene;
    if (scene.find('\n') != std::string::npos) {
        file = path("test.scene");
        std::ofstream(file) << scene;
    }
    std::vector<std::string> arguments = {HOST,
                                          "--scene", file,
                                          "--unix", spice(),
                                          "--control-socket", path("control"),
                                          "--geometry-socket", path("geometry"),
                                          "--dump", path("dump"),
                                          "--stats", path("stats.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    program_.emplace(std::move(arguments), path("host.log"));
    ready_ = program_->wait_for_output("ready on");
}

} // namespace spice_overlay::host::testing_tools
