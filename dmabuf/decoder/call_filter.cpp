// SPDX-License-Identifier: LGPL-2.1-or-later
#include "call_filter.h"

#include "portclient/base/unique_fd.h"

#include <seccomp.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace spice_overlay {

namespace {

struct Release {
    void operator()(void *filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

Error filter_error(const std::string &what, int error)
{
    return Error{what + ": " + std::strerror(-error)};
}

/// By this machine's number: libseccomp finds another architecture's.
Status allow(scmp_filter_ctx filter, const AllowedCall &call, std::uint32_t architecture)
{
    if (seccomp_syscall_resolve_name_arch(architecture, call.name) < 0)
        return Success{}; // poll, on arm64
    const int number = seccomp_syscall_resolve_name(call.name);
    const scmp_arg_cmp condition{call.argument, SCMP_CMP_MASKED_EQ, call.mask, call.wanted};
    const int error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, call.mask != 0 ? 1 : 0, &condition);
    return error == 0 ? Status(Success{}) : filter_error(std::string("cannot allow ") + call.name, error);
}

/// For one architecture alone.
Result<Filter> make_filter(SandboxKind kind, std::uint32_t architecture)
{
    Filter filter(seccomp_init(SCMP_ACT_TRAP));
    if (!filter)
        return Error{"libseccomp makes no filter"};
    const bool other = architecture != seccomp_arch_native();
    int error = 0;
    if (other
        && ((error = seccomp_arch_add(filter.get(), architecture)) != 0
            || (error = seccomp_arch_remove(filter.get(), SCMP_ARCH_NATIVE)) != 0))
        return filter_error("libseccomp does not know the architecture", error);
    if ((error = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) != 0
        || (error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1)) != 0)
        return filter_error("libseccomp is too old", error);
    for (const AllowedCall &call : call_list(kind))
        if (Status status = allow(filter.get(), call, architecture); !status)
            return status.error();
    // glibc then takes clone, whose flags a filter sees.
    if (kind == SandboxKind::kDevice)
        error = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name("clone3"), 0);
    if (error != 0)
        return filter_error("cannot refuse clone3", error);
    return filter;
}

} // namespace

bool have_call_filter()
{
    return true;
}

Status load_call_filter(SandboxKind kind)
{
    auto filter = make_filter(kind, seccomp_arch_native());
    if (!filter)
        return filter.error();
    if (const int error = seccomp_load(filter->get()); error != 0)
        return filter_error("the kernel takes no filter of system calls (CONFIG_SECCOMP_FILTER)", error);
    return Success{};
}

Result<std::string> print_call_filter(SandboxKind kind, const char *architecture)
{
    auto filter = make_filter(kind, seccomp_arch_resolve_name(architecture));
    if (!filter)
        return filter.error();
    const UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
    if (const int error = seccomp_export_pfc(filter->get(), file.get()); error != 0)
        return filter_error("cannot print the filter", error);
    std::string text(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    if (::pread(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
        return Error{"cannot read the printed filter"};
    return text;
}

std::string call_name(int number)
{
    const std::unique_ptr<char, decltype(&std::free)> name(seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number),
                                                           &std::free);
    return name ? name.get() : "";
}

} // namespace spice_overlay
