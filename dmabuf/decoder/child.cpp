// SPDX-License-Identifier: LGPL-2.1-or-later
#include "child.h"

#include "portclient/base/unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

namespace spice_overlay {

namespace {

std::vector<std::string> child_environment()
{
    std::vector<std::string> environment{"LANG=C.UTF-8"};
    for (const char *name : {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"}) {
        if (const char *value = std::getenv(name))
            environment.push_back(std::string(name) + "=" + value);
    }
    // Which drivers there are, and which of them: libva's, and those of Vulkan's loader; and what Rockchip's MPP is to say of its work.
    for (char **entry = environ; *entry; ++entry)
        if (const std::string_view text = *entry;
            text.starts_with("LIBVA_") || text.starts_with("VK_") || text.starts_with("mpp_"))
            environment.emplace_back(*entry);
    return environment;
}

std::vector<char *> pointers(std::vector<std::string> &strings)
{
    std::vector<char *> list;
    list.reserve(strings.size() + 1);
    for (std::string &string : strings)
        list.push_back(string.data());
    list.push_back(nullptr);
    return list;
}

} // namespace

Result<pid_t> spawn(const std::string &program, const std::vector<std::string> &args, std::span<const int> fds,
                    int output)
{
    // Copies above every target number: a dup2 below must not overwrite a descriptor that is still to be handed over.
    std::vector<UniqueFd> copies;
    for (int fd : fds) {
        copies.emplace_back(fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 64));
        if (fd >= 0 && !copies.back().valid())
            return Error{"cannot start " + program + ": " + std::strerror(errno)};
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (output >= 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1);
    else
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    int target = 3;
    for (const UniqueFd &copy : copies) {
        if (copy.valid())
            posix_spawn_file_actions_adddup2(&actions, copy.get(), target);
        else
            posix_spawn_file_actions_addclose(&actions, target);
        ++target;
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, target);

    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);

    std::vector<std::string> argument_strings{program};
    argument_strings.insert(argument_strings.end(), args.begin(), args.end());
    std::vector<std::string> environment_strings = child_environment();
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, pointers(argument_strings).data(),
                                    pointers(environment_strings).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0)
        return Error{"cannot start " + program + ": " + std::strerror(error)};
    return pid;
}

std::optional<std::string> kill_and_reap(pid_t pid, std::chrono::milliseconds patience)
{
    if (pid <= 0) // which to kill() is many processes, or all
        return "ended";
    // A process that is already ending keeps the status it ends with.
    ::kill(pid, SIGKILL);
    if (patience.count() > 0) {
        const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        pollfd end{handle.get(), POLLIN, 0};
        if (handle.valid())
            ::poll(&end, 1, static_cast<int>(patience.count()));
    }
    int status = 0;
    const pid_t collected = ::waitpid(pid, &status, WNOHANG);
    if (collected == 0)
        return std::nullopt;
    if (collected < 0)
        return "ended";
    if (WIFSIGNALED(status)) {
        const char *name = ::sigabbrev_np(WTERMSIG(status));
        if (WTERMSIG(status) == SIGSYS)
            return "killed by its sandbox, SIGSYS";
        return std::string("killed by SIG") + (name ? name : "?");
    }
    return "exited with status " + std::to_string(WEXITSTATUS(status));
}

void kill_and_leave(pid_t pid)
{
    static std::mutex mutex;
    static std::vector<pid_t> left;
    const std::lock_guard lock(mutex);
    std::erase_if(left, [](pid_t one) { return kill_and_reap(one).has_value(); });
    if (kill_and_reap(pid))
        return;
    try {
        std::thread([pid] {
            while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
            }
        }).detach();
    } catch (const std::system_error &) {
        left.push_back(pid);
    }
}

} // namespace spice_overlay
