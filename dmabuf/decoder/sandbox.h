// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

namespace spice_overlay {

/// Gives up what the decoder does not need from here on. Called once, when the codec has been opened (its libraries are
/// loaded, its threads run) and before the first byte of the stream is decoded.
///
/// Now: no_new_privs, no core dumps, and limits on memory, descriptors and file sizes. To come at this place: Landlock
/// (no path at all) and a seccomp allow-list (the two sockets calls, memfd_create and its sealing, the ioctls that make and fence dmabufs, memory, futex, clone
/// of threads for swscale, exit), every denial logged.
[[nodiscard]] Status enter_sandbox();

} // namespace spice_overlay
