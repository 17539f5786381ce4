// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "sandbox.h"

#include <cstdint>
#include <string>
#include <vector>

namespace spice_overlay {

/// A system call that the decoder keeps, and what for. With several entries of one name, any of their conditions lets it
/// pass.
struct AllowedCall {
    const char *name;
    const char *why;
    /// On one argument: (value & mask) == wanted. No mask: any value.
    unsigned argument = 0;
    std::uint64_t mask = 0;
    std::uint64_t wanted = 0;
};

[[nodiscard]] const std::vector<AllowedCall> &call_list(SandboxKind kind);

/// Names of the list, each once.
[[nodiscard]] std::vector<std::string> call_names(SandboxKind kind);

/// Whether this build has libseccomp.
[[nodiscard]] bool have_call_filter();

/// Puts the filter up, for all threads. What it does not let pass raises SIGSYS; calls of another architecture kill.
[[nodiscard]] Status load_call_filter(SandboxKind kind);

/// The filter as libseccomp prints it (pseudo filter code), for "x86_64" or "aarch64", whatever this machine is: for
/// tests and reviewers.
[[nodiscard]] Result<std::string> print_call_filter(SandboxKind kind, const char *architecture);

/// The name of a system call of this machine, or "".
[[nodiscard]] std::string call_name(int number);

} // namespace spice_overlay
