// SPDX-License-Identifier: LGPL-2.1-or-later
// Enters the decoder's sandbox by the decoder's own calls and tries one thing that is none of its business. Exits with 100
// when that was let through, with 101 when it was not permitted and the process lived on, with 104 when it failed for another reason.
//
// usage: sandbox-probe ATTEMPT [device|mpp] [thread] [no-filter|filter-alone|unguarded], or --list
#include "dmabuf/allocator.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/decoder/log.h"
#include "dmabuf/decoder/sandbox.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/keyctl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

using namespace spice_overlay;

namespace {

// Made before the sandbox, to have something to misuse.
int own_memory = -1;
int inet_socket = -1;
int unix_socket = -1;
void *page = nullptr;
pid_t parent = 0;
sockaddr_in tcp_listener{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
sockaddr_un abstract_listener{};
socklen_t abstract_size = sizeof(sa_family_t); ///< of its address; the kernel finds a name

template <typename... Arguments>
long call(long number, Arguments... arguments)
{
    return ::syscall(number, arguments...);
}

long connect_abstract()
{
    return call(SYS_connect, unix_socket, &abstract_listener, abstract_size);
}

long connect_tcp()
{
    return call(SYS_connect, inet_socket, &tcp_listener, sizeof tcp_listener);
}

long message_elsewhere()
{
    char byte = 0;
    iovec vector{&byte, 1};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    return call(SYS_sendmsg, unix_socket, &header, MSG_NOSIGNAL);
}

long read_parent(long number)
{
    char bytes[8];
    iovec here{bytes, sizeof bytes};
    iovec there{page, sizeof bytes};
    return call(number, parent, &here, 1, &there, 1, 0);
}

struct Attempt {
    const char *name;
    const char *call; ///< what the filter is to name
    std::function<long()> run;
    bool of_device = true; ///< forbidden with any device as well
};

char *const kArguments[] = {const_cast<char *>("true"), nullptr};
char room[256] = {};
const sched_param kPriority{1};

const std::vector<Attempt> kAttempts = {
    {"open_a_file", "openat", [] { return call(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY); }},
    {"create_a_file", "openat", [] { return call(SYS_openat, AT_FDCWD, "/tmp/.probe", O_CREAT | O_RDWR, 0600); }},
    {"open_proc", "openat", [] { return call(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR); }},
    {"open_own_descriptor_anew", "openat", [] { return call(SYS_openat, AT_FDCWD, "/proc/self/fd/3", O_RDWR); }},
    {"openat2", "openat2", [] { return call(SYS_openat2, AT_FDCWD, "/etc/passwd", room, 24); }},
    {"unlink", "unlinkat", [] { return call(SYS_unlinkat, AT_FDCWD, "/tmp/.probe", 0); }},
    {"rename", "renameat2", [] { return call(SYS_renameat2, AT_FDCWD, "/tmp/.a", AT_FDCWD, "/tmp/.b", 0); }},
    {"change_mode", "fchmodat", [] { return call(SYS_fchmodat, AT_FDCWD, "/tmp/.probe", 0777); }},
    {"truncate_memory", "ftruncate", [] { return call(SYS_ftruncate, own_memory, 0); }},
    {"punch_a_hole", "fallocate",
     [] { return call(SYS_fallocate, own_memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096); }},
    {"write_to_standard_error", "write", [] { return call(SYS_write, 2, "", 1); }},
    {"write_into_a_file", "pwrite64", [] { return call(SYS_pwrite64, own_memory, "", 1, 0); }},
    {"read", "read", [] { return call(SYS_read, 0, room, 1); }},
    {"socket_inet", "socket", [] { return call(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
    {"socket_unix", "socket", [] { return call(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }},
    {"socket_netlink", "socket", [] { return call(SYS_socket, AF_NETLINK, SOCK_RAW, 0); }},
    {"connect_tcp", "connect", connect_tcp},
    {"connect_abstract_socket", "connect", connect_abstract},
    {"bind", "bind", [] { return call(SYS_bind, inet_socket, room, sizeof(sockaddr_in)); }},
    {"message_on_another_socket", "sendmsg", message_elsewhere},
    {"send", "sendto", [] { return call(SYS_sendto, 3, "", 1, 0, nullptr, 0); }},
    {"exec", "execve", [] { return call(SYS_execve, "/bin/true", kArguments, kArguments + 1); }},
    {"exec_of_memory", "execveat",
     [] { return call(SYS_execveat, own_memory, "", kArguments, kArguments + 1, AT_EMPTY_PATH); }},
    {"fork", "clone", [] { return call(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
    {"process_that_shares_memory", "clone",
     [] { return call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0); }},
    {"clone3", "clone3", [] { return call(SYS_clone3, room, 64); }, false},
    {"new_user_namespace", "unshare", [] { return call(SYS_unshare, CLONE_NEWUSER); }},
    {"join_a_namespace", "setns", [] { return call(SYS_setns, own_memory, 0); }},
    {"mount", "mount", [] { return call(SYS_mount, "none", "/tmp", "tmpfs", 0, ""); }},
    {"chroot", "chroot", [] { return call(SYS_chroot, "/tmp"); }},
    {"ptrace_parent", "ptrace", [] { return call(SYS_ptrace, PTRACE_SEIZE, parent, 0, 0); }},
    {"read_parent", "process_vm_readv", [] { return read_parent(SYS_process_vm_readv); }},
    {"write_parent", "process_vm_writev", [] { return read_parent(SYS_process_vm_writev); }},
    {"signal_parent", "kill", [] { return call(SYS_kill, parent, SIGCONT); }},
    {"signal_parents_thread", "tgkill", [] { return call(SYS_tgkill, parent, parent, SIGCONT); }},
    {"handle_of_parent", "pidfd_open", [] { return call(SYS_pidfd_open, parent, 0); }},
    {"descriptor_of_parent", "pidfd_getfd", [] { return call(SYS_pidfd_getfd, own_memory, 0, 0); }},
    {"limits_of_parent", "prlimit64", [] { return call(SYS_prlimit64, parent, RLIMIT_CORE, nullptr, room); }},
    {"make_memory_executable", "mprotect", [] { return call(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC); }},
    {"map_executable_memory", "mmap",
     [] { return call(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
    {"map_a_program", "mmap",
     [] { return call(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, own_memory, 0); }},
    {"move_code_over_code", "mremap",
     [] {
         return call(SYS_mremap, page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, static_cast<char *>(page) + 4096);
     }},
    {"keyring", "keyctl", [] { return call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0); }},
    {"add_a_key", "add_key", [] { return call(SYS_add_key, "user", "probe", room, 1, KEY_SPEC_PROCESS_KEYRING); }},
    {"io_uring", "io_uring_setup", [] { return call(SYS_io_uring_setup, 4, room); }},
    {"bpf", "bpf", [] { return call(SYS_bpf, 0, room, 64); }},
    {"userfaultfd", "userfaultfd", [] { return call(SYS_userfaultfd, 1); }},
    {"perf_events", "perf_event_open", [] { return call(SYS_perf_event_open, room, 0, -1, -1, 0); }},
    {"type_into_the_terminal", "ioctl", [] { return call(SYS_ioctl, 0, TIOCSTI, room); }},
    {"signals_for_a_descriptor", "fcntl", [] { return call(SYS_fcntl, 3, F_SETOWN, parent); }},
    {"older_way_to_a_filter", "prctl", [] { return call(SYS_prctl, PR_SET_SECCOMP, 1, 0, 0, 0); }},
    {"become_dumpable", "prctl", [] { return call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }},
    {"another_filter", "seccomp", [] { return call(SYS_seccomp, 1, 0, room); }},
    {"another_handler_of_sigsys", "rt_sigaction", [] { return call(SYS_rt_sigaction, SIGSYS, room, nullptr, 8); }},
    {"another_signal_stack", "sigaltstack", [] { return call(SYS_sigaltstack, room, nullptr); }},
    {"shared_memory_of_system_v", "shmget", [] { return call(SYS_shmget, 1, 4096, 0600); }},
    {"message_queue", "mq_open", [] { return call(SYS_mq_open, "probe", O_CREAT | O_RDWR, 0600, nullptr); }},
    {"watch_files", "inotify_init1", [] { return call(SYS_inotify_init1, 0); }},
    {"realtime_priority", "sched_setscheduler", [] { return call(SYS_sched_setscheduler, 0, SCHED_FIFO, &kPriority); }},
};

/// What decoding does. Nothing of it may end the process.
long decode()
{
    std::vector<char *> blocks;
    for (std::size_t size = 64; size < (32u << 20); size *= 2) {
        auto *block = static_cast<char *>(std::malloc(size));
        block = static_cast<char *>(std::realloc(block, 3 * size));
        std::memset(block, 1, 3 * size);
        blocks.push_back(block);
    }
    for (char *block : blocks)
        std::free(block);
    for (int i = 0; i < 3; ++i) {
        auto memory = allocate_frame(Allocator::kStandIn, -1, "probe", 8192);
        if (!memory)
            return -1;
        std::memset(memory->pixels.data(), 1, memory->pixels.size());
        pollfd poll{memory->dmabuf.get(), POLLOUT, 0};
        const timespec now{};
        ::ppoll(&poll, 1, &now, nullptr);
    }
    mmsghdr nothing{};
    ::recvmmsg(ipc::kSocketFd, &nothing, 1, MSG_DONTWAIT, nullptr);
    log_line("decoded");
    return 0;
}

void prepare()
{
    own_memory = ::memfd_create("probe", 0);
    static_cast<void>(!::ftruncate(own_memory, 8192));
    inet_socket = ::socket(AF_INET, SOCK_STREAM, 0);
    unix_socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    page = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    parent = ::getppid();
    static_cast<void>(::open("/tmp/.probe", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    socklen_t size = sizeof tcp_listener;
    const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto *address = reinterpret_cast<sockaddr *>(&tcp_listener);
    if (::bind(tcp, address, size) != 0 || ::listen(tcp, 1) != 0 || ::getsockname(tcp, address, &size) != 0)
        std::perror("sandbox-probe: a TCP socket");
    const int abstract = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    abstract_listener.sun_family = AF_UNIX;
    address = reinterpret_cast<sockaddr *>(&abstract_listener);
    size = sizeof abstract_listener;
    if (::bind(abstract, address, abstract_size) != 0 || ::listen(abstract, 1) != 0
        || ::getsockname(abstract, address, &size) != 0)
        std::perror("sandbox-probe: an abstract socket");
    abstract_size = size;
}

} // namespace

int main(int argc, char **argv)
{
    const std::vector<std::string_view> arguments(argv + 1, argv + argc);
    const auto given = [&](std::string_view word) {
        return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
    };
    if (arguments.empty() || given("--list")) {
        for (const Attempt &attempt : kAttempts)
            std::printf("%s %s %d\n", attempt.name, attempt.call, attempt.of_device ? 1 : 0);
        return 0;
    }
    ::mallopt(M_ARENA_MAX, 1); // as main.cpp
    ::alarm(15); // what is let through may not come back; an emulated processor takes seconds to get here
    prepare();
    const SandboxKind kind = given("device") ? SandboxKind::kDevice
                             : given("mpp")  ? SandboxKind::kMpp
                                             : SandboxKind::kSoftware;
    const bool unguarded = given("unguarded"); // to see that it is possible at all
    if (!unguarded && !given("filter-alone") && !give_up_rights())
        return 102;

    const auto attempt =
        std::find_if(kAttempts.begin(), kAttempts.end(), [&](const Attempt &a) { return arguments[0] == a.name; });
    const std::function<long()> run = attempt != kAttempts.end() ? attempt->run : decode;
    std::mutex mutex;
    std::condition_variable changed;
    enum { kWait, kGo, kDone } state = kWait;
    long result = 0;
    int error = 0;
    const auto try_it = [&] {
        result = run();
        error = errno;
    };
    std::thread early; // as FFmpeg's, between the two steps
    if (given("thread"))
        early = std::thread([&] {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return state == kGo; });
            try_it();
            state = kDone;
            changed.notify_all();
            changed.wait(lock, [] { return false; }); // FFmpeg's threads do not end either
        });
    log_to_viewer();
    if (!given("no-filter") && !unguarded && !enter_sandbox(kind).holds)
        return 103;
    if (early.joinable()) {
        std::unique_lock lock(mutex);
        state = kGo;
        changed.notify_all();
        changed.wait(lock, [&] { return state == kDone; });
    } else {
        try_it();
    }
    if (attempt == kAttempts.end())
        std::_Exit(result == 0 ? 0 : 1);
    std::_Exit(result >= 0 ? 100 : error == EACCES || error == EPERM ? 101 : 104);
}
