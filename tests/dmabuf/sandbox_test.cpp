// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/call_filter.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/decoder/sandbox.h"
#include "portclient/base/unique_fd.h"

#include <gtest/gtest.h>

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <sstream>

namespace spice_overlay {
namespace {

struct Outcome {
    int status = -1;  ///< of waitpid()
    std::string said; ///< the text of its last Failed or Log
};

std::string output_of(const std::string &command)
{
    std::string text;
    struct Close {
        void operator()(FILE *pipe) const { ::pclose(pipe); }
    };
    const std::unique_ptr<FILE, Close> pipe(::popen(command.c_str(), "r"));
    std::array<char, 4096> bytes;
    while (pipe && std::fgets(bytes.data(), bytes.size(), pipe.get()))
        text += bytes.data();
    return text;
}

/// Runs the probe with the socket where a decoder has it.
Outcome probe(const std::vector<std::string> &words)
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return {};
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), ipc::kSocketFd);
    std::vector<std::string> strings{SANDBOX_PROBE};
    strings.insert(strings.end(), words.begin(), words.end());
    std::vector<char *> arguments;
    arguments.reserve(strings.size() + 1);
    for (std::string &word : strings)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, SANDBOX_PROBE, &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    theirs.reset();
    Outcome outcome;
    if (error != 0)
        return outcome;
    for (;;) {
        pollfd poll{ours.get(), POLLIN, 0};
        std::array<char, 512> bytes{};
        ssize_t size = 0;
        if (::poll(&poll, 1, 20000) > 0)
            size = ::recv(ours.get(), bytes.data(), bytes.size() - 1, 0);
        if (size <= 0)
            break;
        ipc::Head head;
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.size == static_cast<std::uint32_t>(size))
            outcome.said = bytes.data()
                           + (head.kind == ipc::Kind::kFailed ? offsetof(ipc::Failed, text) : offsetof(ipc::Log, text));
    }
    ::kill(pid, SIGKILL); // what still runs after 20 seconds is a failure
    ::waitpid(pid, &outcome.status, 0);
    return outcome;
}

struct Attempt {
    std::string name, call;
    bool of_device = false;
};

std::vector<Attempt> attempts()
{
    std::vector<Attempt> list;
    std::istringstream lines(output_of(SANDBOX_PROBE " --list"));
    for (Attempt one; lines >> one.name >> one.call >> one.of_device;)
        list.push_back(one);
    return list;
}

#define NEED_FILTER()                                                                                                  \
    if (kSanitized || !have_call_filter())                                                                             \
    GTEST_SKIP() << "no filter of system calls in this build: a sanitizer, or no libseccomp"

/// Every forbidden thing in each of these ways.
class Forbidden : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(Forbidden, things_end_the_process_and_are_named)
{
    NEED_FILTER();
    const std::vector<Attempt> list = attempts();
    ASSERT_GE(list.size(), 30u);
    const bool device = !GetParam().empty() && GetParam()[0] == "device";
    unsigned denied = 0;
    unsigned let_through = 0;
    for (const Attempt &attempt : list) {
        if (device && !attempt.of_device)
            continue;
        std::vector<std::string> words{attempt.name};
        words.insert(words.end(), GetParam().begin(), GetParam().end());
        const Outcome outcome = probe(words);
        EXPECT_TRUE(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGSYS)
            << attempt.name << ": status " << outcome.status << (WIFEXITED(outcome.status) ? ", exited with " : ", ")
            << WEXITSTATUS(outcome.status);
        EXPECT_EQ(outcome.said, "its sandbox stopped it at the system call " + attempt.call) << attempt.name;
        const bool stopped = WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGSYS;
        denied += stopped ? 1 : 0;
        let_through += stopped ? 0 : 1;
        ASSERT_LT(let_through, 5u) << "and so on";
    }
    RecordProperty("denied", static_cast<int>(denied));
}

INSTANTIATE_TEST_SUITE_P(sandbox, Forbidden,
                         testing::Values(std::vector<std::string>{}, std::vector<std::string>{"device"},
                                         std::vector<std::string>{"thread"},
                                         std::vector<std::string>{"device", "thread"},
                                         std::vector<std::string>{"mpp", "thread"},
                                         std::vector<std::string>{"filter-alone"}),
                         [](const auto &test) {
                             std::string name = "software";
                             for (const std::string &word : test.param) {
                                 if (word == "device" || word == "mpp")
                                     name = word;
                                 else
                                     name += word == "thread" ? "_thread" : "_filter_alone";
                             }
                             return name;
                         });

TEST(Sandbox, what_decoding_takes_is_left)
{
    for (const char *kind : {"software", "device", "mpp"}) {
        for (const char *where : {"main", "thread"}) {
            const Outcome outcome =
                probe({"decode", kind, where, kSanitized || !have_call_filter() ? "no-filter" : "filter"});
            EXPECT_TRUE(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0)
                << kind << ' ' << where << ": status " << outcome.status << ", said: " << outcome.said;
            EXPECT_EQ(outcome.said, "decoded");
        }
    }
}

/// What the report of `layer` says, or "" when it does not hold here.
std::string held(const std::string &layer)
{
    const std::string begin = "layer " + layer + " holds ";
    std::istringstream lines(output_of(SPICE_OVERLAY_DECODER " --sandbox-report"));
    for (std::string line; std::getline(lines, line);)
        if (line.compare(0, begin.size(), begin) == 0)
            return line.substr(begin.size());
    return {};
}

TEST(Sandbox, report_names_every_layer_and_every_call)
{
    const std::string report = output_of(SPICE_OVERLAY_DECODER " --sandbox-report");
    for (const char *layer : {"no-new-privileges", "capabilities", "limits", "landlock", "system-calls"})
        EXPECT_NE(report.find(std::string("layer ") + layer + " "), std::string::npos) << layer << '\n' << report;
    EXPECT_NE(report.find("calls software "), std::string::npos) << report;
    EXPECT_NE(report.find("calls device "), std::string::npos) << report;
    EXPECT_NE(report.find("calls mpp "), std::string::npos) << report;
    EXPECT_FALSE(held("no-new-privileges").empty()) << report;
    EXPECT_FALSE(held("capabilities").empty()) << report;
    // What this machine has is not to be missing.
    const bool landlock = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) > 0;
    EXPECT_EQ(held("landlock").empty(), !landlock || kSanitized) << report;
    EXPECT_EQ(held("system-calls").empty(), !have_call_filter() || kSanitized) << report;
}

/// Whether nothing but the sandbox keeps whoever runs this from it. Of mounting only root is told so: it is not tried.
bool is_possible(const std::string &attempt)
{
    if (attempt == "mount")
        return ::geteuid() == 0;
    const Outcome outcome = probe({attempt, "unguarded"});
    return WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == (attempt == "exec" ? 0 : 100);
}

/// Attempts that another layer stops when there is no filter: the layer, and what its detail has to say for it to.
TEST(Sandbox, layers_hold_without_the_filter)
{
    const struct {
        const char *attempt;
        const char *layer;
        const char *says;
    } cases[] = {
        {"open_a_file", "landlock", "no path"},
        {"create_a_file", "landlock", "no path"},
        {"open_proc", "landlock", "no path"},
        {"unlink", "landlock", "no path"},
        {"exec", "landlock", "no path"},
        {"connect_tcp", "landlock", "no TCP"},
        {"connect_abstract_socket", "landlock", "abstract socket"},
        {"signal_parent", "landlock", "no signal"},
        {"signal_parents_thread", "landlock", "no signal"},
        {"ptrace_parent", "landlock", "no path"},
        {"mount", "capabilities", "none"},
        {"chroot", "capabilities", "none"},
        {"realtime_priority", "capabilities", "none"},
    };
    unsigned by_landlock = 0;
    for (const auto &c : cases) {
        if (held(c.layer).find(c.says) == std::string::npos || !is_possible(c.attempt))
            continue;
        by_landlock += c.layer == std::string("landlock") ? 1 : 0;
        for (const char *where : {"main", "thread"}) {
            const Outcome outcome = probe({c.attempt, "no-filter", where});
            EXPECT_TRUE(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 101)
                << c.attempt << ", " << where << ": status " << outcome.status << " is not that of a refusal";
        }
    }
    if (!held("landlock").empty()) {
        EXPECT_GE(by_landlock, 5u); // what has a path is possible for anyone
    }
    RecordProperty("by_landlock", static_cast<int>(by_landlock));
    ::unlink("/tmp/.probe");
}

TEST(CallLists, are_as_short_as_promised_and_have_reasons)
{
    EXPECT_LE(call_names(SandboxKind::kSoftware).size(), 20u);
    EXPECT_LE(call_names(SandboxKind::kDevice).size(), 35u);
    EXPECT_LE(call_names(SandboxKind::kMpp).size(), 30u);
    for (const SandboxKind kind : {SandboxKind::kDevice, SandboxKind::kMpp})
        for (const AllowedCall &call : call_list(kind))
            EXPECT_GT(std::strlen(call.why), 5u) << call.name;
}

TEST(CallLists, become_a_filter_on_both_architectures)
{
    if (!have_call_filter())
        GTEST_SKIP() << "built without libseccomp";
    for (const char *architecture : {"x86_64", "aarch64"}) {
        for (const SandboxKind kind : {SandboxKind::kSoftware, SandboxKind::kDevice, SandboxKind::kMpp}) {
            auto text = print_call_filter(kind, architecture);
            ASSERT_TRUE(text) << architecture << ": " << text.error().message;
            EXPECT_NE(text->find("filter for arch " + std::string(architecture)), std::string::npos) << *text;
            for (const std::string &name : call_names(kind)) {
                const bool there = text->find("syscall \"" + name + "\"") != std::string::npos;
                EXPECT_EQ(there, name != "poll" || std::string(architecture) == "x86_64")
                    << architecture << ' ' << name;
            }
            EXPECT_NE(text->find("# default action\n  action TRAP;"), std::string::npos) << *text;
            EXPECT_NE(text->find("# invalid architecture action\naction KILL_PROCESS;"), std::string::npos) << *text;
            EXPECT_EQ(text->find("action ERRNO") != std::string::npos, kind == SandboxKind::kDevice);
        }
    }
}

} // namespace
} // namespace spice_overlay
