// SPDX-License-Identifier: LGPL-2.1-or-later
// Of a build without libseccomp, by -Dseccomp=disabled.
#include "call_filter.h"

namespace spice_overlay {

namespace {

Error missing()
{
    return Error{"spice-overlay was built without libseccomp (-Dseccomp=disabled)"};
}

} // namespace

bool have_call_filter()
{
    return false;
}

Status load_call_filter(SandboxKind)
{
    return missing();
}

Result<std::string> print_call_filter(SandboxKind, const char *)
{
    return missing();
}

std::string call_name(int)
{
    return {};
}

} // namespace spice_overlay
