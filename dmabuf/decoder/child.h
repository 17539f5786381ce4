// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <sys/types.h>

#include <chrono>
#include <optional>
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

/// Kills the child, and collects it when it is gone in `patience`. Returns how it ended, by itself or so, for people: "exited with status
/// 1", "killed by SIGSEGV". Nothing: it is not gone yet (it has much memory to give back, or its driver keeps it in the kernel), and is to
/// be asked for again, or left.
[[nodiscard]] std::optional<std::string> kill_and_reap(pid_t pid, std::chrono::milliseconds patience = {});

/// Kills the child and leaves it to a thread that collects it; where there is no thread to be had, to the next call.
void kill_and_leave(pid_t pid);

} // namespace spice_overlay
