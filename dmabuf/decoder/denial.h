// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace spice_overlay {

/// From here on a system call that the filter denies ends the process: the name of the call goes to the viewer in an
/// ipc::Failed, then SIGSYS kills. Before the filter, once.
void report_denials();

} // namespace spice_overlay
