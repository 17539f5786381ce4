// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sandbox.h"

#include "call_filter.h"
#include "denial.h"
#include "dmabuf/formats.h"
#include "ipc.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr rlim_t kMemory = rlim_t{4} << 30; ///< bytes of addresses; frames are 1 GiB of them at most

Status limit(int resource, rlim_t value)
{
    const auto which = static_cast<__rlimit_resource_t>(resource);
    rlimit current = {};
    if (::getrlimit(which, &current) == 0 && current.rlim_max < value)
        value = current.rlim_max; // stricter already
    const rlimit wanted{value, value};
    if (::setrlimit(which, &wanted) != 0)
        return Error{std::string("cannot limit resources: ") + std::strerror(errno)};
    return Success{};
}

/// No limit of CPU time: a film may take any, and one that takes too much for a picture is late and dropped.
Status limit_resources()
{
    const struct {
        int resource;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        // Each frame may keep its dmabuf, for its fences, and a device's driver has some as well. Of all that are on their way in sockets,
        // of this account, there may be as many, or nobody may send another.
        {RLIMIT_NOFILE, 2 * ipc::kMaxDescriptors},
        {RLIMIT_FSIZE, kMaxBufferBytes + (rlim_t{1} << 20)}, // holds for shared memory too
        {RLIMIT_MEMLOCK, 0},
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_AS, kSanitized ? RLIM_INFINITY : kMemory}, // a sanitizer reserves terabytes
    };
    for (const auto &one : limits)
        if (Status status = limit(one.resource, one.value); !status)
            return status;
    return Success{};
}

Status drop_capabilities()
{
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capset, &header, none) != 0)
        return Error{std::string("cannot give up capabilities: ") + std::strerror(errno)};
    return Success{};
}

/// struct landlock_ruleset_attr as the newest kernel has it, and what there is to forbid: this system's header may be
/// older than its kernel.
struct Ruleset {
    std::uint64_t files = 0;
    std::uint64_t network = 0;
    std::uint64_t scoped = 0;
};

SandboxLayer landlock()
{
    SandboxLayer layer{"landlock", false, {}};
    if (kSanitized) {
        layer.detail = "left out in a build with a sanitizer";
        return layer;
    }
    constexpr unsigned kVersion = 1; // LANDLOCK_CREATE_RULESET_VERSION
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersion);
    if (abi < 1) {
        layer.detail = errno == EOPNOTSUPP ? "switched off: add landlock to lsm= on the kernel's command line"
                                           : "this kernel has none: it takes Linux 5.13 with CONFIG_SECURITY_LANDLOCK";
        return layer;
    }
    Ruleset rules;
    std::size_t size = sizeof rules.files;
    rules.files = (1u << 13) - 1; // version 1: execute, read, write, list, remove, make
    layer.detail = "version " + std::to_string(abi) + ": no path";
    if (abi >= 2)
        rules.files |= 1u << 13; // to link and rename across folders
    if (abi >= 3)
        rules.files |= 1u << 14; // to truncate
    if (abi >= 5)
        rules.files |= 1u << 15; // ioctl of devices opened from here on
    if (abi >= 4) {
        rules.network = 3; // bind and connect TCP
        size = offsetof(Ruleset, scoped);
        layer.detail += ", no TCP";
    }
    if (abi >= 6) {
        rules.scoped = 3; // abstract unix sockets and signals, of others
        size = sizeof rules;
        layer.detail += ", no signal or abstract socket of others";
    }
    const long fd = ::syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    const auto enforce = [fd](unsigned flags) { return ::syscall(SYS_landlock_restrict_self, fd, flags) == 0; };
    const unsigned every_thread = 1u << 3; // LANDLOCK_RESTRICT_SELF_TSYNC: for those that a driver has started, too
    if (fd >= 0 && abi >= 8 && enforce(every_thread)) {
        layer.holds = true;
        layer.detail += ", in every thread";
    } else {
        layer.holds = fd >= 0 && enforce(0);
    }
    if (!layer.holds)
        layer.detail = std::string("refused: ") + std::strerror(errno);
    if (fd >= 0)
        ::close(static_cast<int>(fd));
    return layer;
}

std::string line(const SandboxLayer &layer)
{
    return "layer " + layer.name + (layer.holds ? " holds " : " missing ") + layer.detail + "\n";
}

/// What a child says who enters the sandbox: its layers, and whether it lives on in there.
std::string try_out(SandboxKind kind)
{
    int ends[2];
    if (::pipe(ends) != 0)
        return {};
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO); // kept, for want of anything else to speak by
        std::string text;
        if (auto layers = give_up_rights()) {
            for (const SandboxLayer &layer : *layers)
                text += line(layer);
        } else {
            text = "layer rights missing " + layers.error().message + "\n";
        }
        static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
        // The last one can only be told of when it is missing.
        const SandboxLayer last = enter_sandbox(kind);
        if (!last.holds) {
            text = line(last);
            static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
        }
        ::_exit(last.holds ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text;
    char bytes[4096];
    for (ssize_t size = 0; (size = ::read(ends[0], bytes, sizeof bytes)) > 0;)
        text.append(bytes, static_cast<std::size_t>(size));
    ::close(ends[0]);
    int status = 0;
    if (child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        text += line({"system-calls", true, std::to_string(call_names(kind).size()) + " allowed"});
    return text;
}

} // namespace

Status give_up_privileges()
{
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return Error{std::string("cannot give up privileges: ") + std::strerror(errno)};
    return drop_capabilities();
}

Result<std::vector<SandboxLayer>> give_up_rights()
{
    if (Status status = give_up_privileges(); !status)
        return status.error();
    if (Status status = limit_resources(); !status)
        return status.error();
    SandboxLayer files = landlock();
    return std::vector<SandboxLayer>{{"no-new-privileges", true, "for good"},
                                     {"capabilities", true, "none left"},
                                     {"limits", true, "memory, descriptors, sizes of files; no core dump"},
                                     std::move(files)};
}

SandboxLayer enter_sandbox(SandboxKind kind)
{
    SandboxLayer layer{"system-calls", false, {}};
    if (kSanitized) {
        layer.detail = "left out in a build with a sanitizer";
        return layer;
    }
    // Of use where there is no filter, and to anyone but root.
    if (kind != SandboxKind::kDevice) // whose drivers start threads late
        static_cast<void>(limit(RLIMIT_NPROC, 0));
    report_denials();
    Status status = load_call_filter(kind);
    layer.holds = status.ok();
    layer.detail = status ? std::to_string(call_names(kind).size()) + " allowed" : status.error().message;
    return layer;
}

std::string sandbox_report()
{
    std::string text = try_out(SandboxKind::kSoftware);
    for (const auto &[kind, name] : {std::pair{SandboxKind::kSoftware, "software"},
                                     std::pair{SandboxKind::kDevice, "device"}, std::pair{SandboxKind::kMpp, "mpp"}}) {
        const std::vector<std::string> names = call_names(kind);
        text += std::string("calls ") + name + " " + std::to_string(names.size());
        for (const std::string &call : names)
            text += " " + call;
        text += "\n";
    }
    return text;
}

} // namespace spice_overlay
