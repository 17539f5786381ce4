// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

namespace spice_overlay {

/// A line for people, kMaxLogLines of them at most: a hostile stream must not fill the journal. Goes to standard error, and after
/// log_to_viewer() to the viewer as an ipc::Log. Any thread.
void log_line(const std::string &text);

/// In the sandbox nothing else can be written to.
void log_to_viewer();

} // namespace spice_overlay
