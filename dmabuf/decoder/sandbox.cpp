// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sandbox.h"

#include "dmabuf/formats.h"
#include "ipc.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace spice_overlay {

Status enter_sandbox()
{
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return Error{std::string("cannot give up privileges: ") + std::strerror(errno)};
    struct Limit {
        int resource;
        rlim_t value;
    };
    const Limit limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, 64 + ipc::kMaxSlots},                // each frame may keep its dmabuf, for its fences
        {RLIMIT_FSIZE, kMaxBufferBytes + (rlim_t{1} << 20)}, // holds for shared memory too
#ifndef __SANITIZE_ADDRESS__                                 // which reserves terabytes
        {RLIMIT_AS, rlim_t{6} << 30},
#endif
    };
    for (const Limit &limit : limits) {
        rlimit current = {};
        if (::getrlimit(static_cast<__rlimit_resource_t>(limit.resource), &current) != 0)
            continue;
        if (current.rlim_max != RLIM_INFINITY && current.rlim_max < limit.value)
            continue; // stricter already
        const rlimit wanted{limit.value, limit.value};
        if (::setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &wanted) != 0)
            return Error{std::string("cannot limit resources: ") + std::strerror(errno)};
    }
    return Success{};
}

} // namespace spice_overlay
