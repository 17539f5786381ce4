// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <sys/types.h>

#include <chrono>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay {

/// Starts `program` with `args` in a session of its own, so that no key pressed in a terminal reaches it. It gets the
/// borrowed `fds` as descriptors 3, 4 ... (-1: that one stays closed), `output` as standard output (-1: none), our standard error, and nothing
/// else: no other descriptor, no blocked or ignored signal, and an environment without anything of ours but sanitizer,
/// library and libva settings.
[[nodiscard]] Result<pid_t> spawn(const std::string &program, const std::vector<std::string> &args,
                                  std::span<const int> fds, int output = -1);

/// Kills the child and collects it. Returns how it ended, for people: "exited with status 1", "killed by SIGSEGV". One that does
/// not end in `patience` (its driver keeps it in the kernel) is left to a thread that waits for it.
std::string kill_and_reap(pid_t pid, std::chrono::milliseconds patience = std::chrono::milliseconds(500));

} // namespace spice_overlay
