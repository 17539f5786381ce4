// SPDX-License-Identifier: LGPL-2.1-or-later
#include "call_filter.h"
#include "dmabuf/dumb_buffer.h"
#include "ipc.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/kcmp.h>
#include <linux/udmabuf.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>

namespace spice_overlay {

namespace {

constexpr std::uint64_t kWord = 0xffffffff; ///< of what the kernel takes as an int, whatever the upper half holds
constexpr std::uint64_t kIoctlType = 0xff00;

constexpr std::uint64_t ioctl_type(char type)
{
    return static_cast<std::uint64_t>(type) << 8;
}

/// Threads share everything with the process; what shares less is a process.
constexpr std::uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

/// What decoding by processors takes. Measured with strace over every codec, and read in glibc: main.cpp keeps its
/// allocator from reading /proc. FFmpeg and dav1d start all their threads when they are opened, but nobody knows when
/// those have got to their work: hence the calls by which a thread begins.
const std::vector<AllowedCall> kSoftware = {
    {"recvmmsg", "what the viewer says", 0, kWord, ipc::kSocketFd},
    {"sendmsg", "what is said to the viewer", 0, kWord, ipc::kSocketFd},
    {"futex", "threads wait for each other"},
    {"clock_gettime", "time for decoding, where the vDSO has no clock"},
    {"mmap", "memory; never to be executed", 2, PROT_EXEC, 0},
    {"mprotect", "memory of the allocator; never to be executed", 2, PROT_EXEC, 0},
    {"munmap", "memory given back"},
    {"mremap", "large blocks grow; none is put over another", 3, kWord, MREMAP_MAYMOVE},
    {"brk", "memory of the allocator"},
    {"memfd_create", "memory for frames"},
    {"fallocate", "its size, and its pages at once", 1, kWord, 0},
    {"fcntl", "its seals", 1, kWord, F_ADD_SEALS},
    {"fcntl", "a second descriptor, of the tests' stand-in for dmabufs", 1, kWord, F_DUPFD_CLOEXEC},
    {"ioctl", "a dmabuf of such memory", 1, kWord, UDMABUF_CREATE},
    {"ioctl", "a dmabuf out of a dma-heap", 1, kWord, DMA_HEAP_IOCTL_ALLOC},
    {"ioctl", "memory of a display", 1, kWord, drm::kCreateDumb},
    {"ioctl", "a dmabuf of that", 1, kWord, drm::kHandleToFd},
    {"ioctl", "its number there, which is not wanted then", 1, kWord, drm::kDestroyDumb},
    {"ioctl", "the processor begins or ends writing a dmabuf", 1, kWord, DMA_BUF_IOCTL_SYNC},
    {"ppoll", "whether a device still reads a dmabuf"},
    {"close", "frames of another size, or no longer wanted"},
    {"set_robust_list", "a thread begins"},
    {"rseq", "a thread begins"},
    {"rt_sigprocmask", "a thread begins, and lets signals in"},
    {"prctl", "a thread begins, and gives itself a name", 0, kWord, PR_SET_NAME},
    {"exit_group", "the end"},
};

/// What drivers do besides, read in Mesa, libva and libdrm.
const std::vector<AllowedCall> kDeviceBesides = {
    {"ioctl", "of DRM", 1, kIoctlType, ioctl_type('d')},
    {"ioctl", "of dma-buf", 1, kIoctlType, ioctl_type('b')},
    {"ioctl", "of V4L2", 1, kIoctlType, ioctl_type('V')},
    {"ioctl", "of media requests", 1, kIoctlType, ioctl_type('|')},
    {"clone", "threads that drivers start late; clone3, whose arguments no filter sees, is said not to exist", 0,
     kThread, kThread},
    {"exit", "a thread ends"},
    {"madvise", "a thread ends, and gives its stack back"},
    {"restart_syscall", "a wait with an end goes on after SIGCONT"},
    {"sched_getaffinity", "how many threads are worth while"},
    {"poll", "waits for a device, on x86-64; arm64 has ppoll alone"},
    {"clock_nanosleep", "waits for a device"},
    {"kcmp", "whether two descriptors are the same device", 2, kWord, KCMP_FILE},
    {"sysinfo", "how much memory there is"},
    {"getpid", "whether the process was forked"},
    {"sched_yield", "waits that are short"},
    {"lseek", "a dmabuf's size"},
    {"fstatfs", "whether it is one"},
    {"fstat", "which one it is"},
    {"getrandom", "keys of hash tables"},
};

/// What Rockchip's MPP does besides, read in its source. Its threads start when it is opened: it gets no call to start another. Its buffers
/// come from a dma-heap, whose call software has as well, from a display's device, or, on kernels older than those, from ION.
const std::vector<AllowedCall> kMppBesides = {
    {"ioctl", "of the device itself, /dev/mpp_service", 1, kIoctlType, ioctl_type('v')},
    {"ioctl", "of dma-buf", 1, kIoctlType, ioctl_type('b')},
    {"ioctl", "of ION", 1, kIoctlType, ioctl_type('I')},
    {"ioctl", "where a display's memory is to be mapped", 1, kWord, drm::kMapDumb},
    {"fcntl", "whether a buffer may be written", 1, kWord, F_GETFL},
    {"exit", "a thread ends"},
    {"madvise", "a thread ends, and gives its stack back"},
    {"restart_syscall", "a wait with an end goes on after SIGCONT"},
    {"clock_nanosleep", "waits that are short"},
    {"sched_yield", "the same, by the watchdog's thread"},
    {"lseek", "a dmabuf's size"},
    {"fstatfs", "whether it is one"},
    {"fstat", "which one it is"},
    {"getpid", "names in what it says of its buffers"},
    {"gettid", "the same"},
};

std::vector<AllowedCall> joined(std::vector<AllowedCall> list, const std::vector<AllowedCall> &more)
{
    list.insert(list.end(), more.begin(), more.end());
    return list;
}

} // namespace

const std::vector<AllowedCall> &call_list(SandboxKind kind)
{
    static const std::vector<AllowedCall> device = joined(kSoftware, kDeviceBesides);
    static const std::vector<AllowedCall> mpp = joined(kSoftware, kMppBesides);
    switch (kind) {
    case SandboxKind::kSoftware:
        break;
    case SandboxKind::kDevice:
        return device;
    case SandboxKind::kMpp:
        return mpp;
    }
    return kSoftware;
}

std::vector<std::string> call_names(SandboxKind kind)
{
    std::vector<std::string> names;
    for (const AllowedCall &call : call_list(kind))
        if (std::find(names.begin(), names.end(), call.name) == names.end())
            names.emplace_back(call.name);
    return names;
}

} // namespace spice_overlay
