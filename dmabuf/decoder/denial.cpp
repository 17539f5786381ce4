// SPDX-License-Identifier: LGPL-2.1-or-later
#include "denial.h"

#include "call_filter.h"
#include "ipc.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <array>
#include <csignal>
#include <cstring>

// The filter could kill at once, but then nobody knows for which call: the kernel tells the parent SIGSYS and no more,
// and the audit log is for root. So it raises SIGSYS, and the handler tells. Nothing can go on after that, not even a
// decoder that somebody has taken over: the call was not made; the handler is straight-line code without a call, a
// branch or a lock, in pages that nobody can write or replace (nothing may be mapped executable, nothing moved over
// another mapping); it cannot be changed or returned from, for want of rt_sigaction and rt_sigreturn; where SIGSYS is
// masked, by rt_sigprocmask, the kernel kills without it; and a signal frame without room for it is SIGSEGV.

namespace spice_overlay {

namespace {

constexpr std::size_t kNumbers = 512; ///< the kernel's last is below 480
constexpr std::size_t kNameSize = 32;
constexpr char kText[] = "its sandbox stopped it at the system call ";

struct Beginning {
    ipc::Head head{ipc::kVersion, ipc::Kind::kFailed, sizeof(ipc::Failed)};
    std::uint32_t reason = static_cast<std::uint32_t>(wire::Reason::kDecoderFailed);
    std::uint32_t reserved = 0;
    char text[sizeof kText - 1] = {};
};
static_assert(offsetof(Beginning, text) == offsetof(ipc::Failed, text));

std::array<char[kNameSize], kNumbers + 1> names; ///< the last: of all other numbers
std::array<char, sizeof(ipc::Failed)> message_beginning;
constexpr std::size_t kBeginning = offsetof(Beginning, text) + sizeof kText - 1;
std::array<char, sizeof(ipc::Failed) - kBeginning - kNameSize> message_end;

/// A system call without libc: nothing of a library's, no errno.
[[gnu::always_inline]] inline long call(long number, long a, long b, long c)
{
#if defined(__x86_64__)
    long result = number;
    asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 asm("x8") = number;
    register long x0 asm("x0") = a;
    register long x1 asm("x1") = b;
    register long x2 asm("x2") = c;
    asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#else
    return ::syscall(number, a, b, c);
#endif
}

[[noreturn]] void tell_and_die(int, siginfo_t *info, void *)
{
    const auto number = static_cast<std::size_t>(static_cast<unsigned>(info->si_syscall));
    char *const name = names[number < kNumbers ? number : kNumbers];
    iovec parts[3];
    parts[0] = {message_beginning.data(), kBeginning};
    parts[1] = {name, kNameSize};
    parts[2] = {message_end.data(), message_end.size()};
    msghdr header;
    header.msg_name = nullptr;
    header.msg_namelen = 0;
    header.msg_iov = parts;
    header.msg_iovlen = 3;
    header.msg_control = nullptr;
    header.msg_controllen = 0;
    header.msg_flags = 0;
    call(SYS_sendmsg, ipc::kSocketFd, reinterpret_cast<long>(&header), MSG_DONTWAIT | MSG_NOSIGNAL);
    // Denied in its turn, and SIGSYS is masked while it is handled: then it kills.
    call(SYS_kill, 0, 0, 0);
    for (;;)
        call(SYS_exit_group, 1, 0, 0);
}

} // namespace

void report_denials()
{
    Beginning beginning;
    std::memcpy(beginning.text, kText, sizeof beginning.text);
    std::memcpy(message_beginning.data(), &beginning, kBeginning);
    for (std::size_t i = 0; i <= kNumbers; ++i) {
        const std::string name = i < kNumbers ? call_name(static_cast<int>(i)) : std::string();
        std::snprintf(names[i], kNameSize, "%s", name.empty() ? "that has no name" : name.c_str());
    }
    struct sigaction action = {};
    action.sa_sigaction = &tell_and_die;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    ::sigaction(SIGSYS, &action, nullptr);
}

} // namespace spice_overlay
