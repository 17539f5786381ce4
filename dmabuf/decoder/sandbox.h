// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <string>
#include <vector>

namespace spice_overlay {

/// What the decoder decodes by, which decides the system calls that it keeps.
enum class SandboxKind {
    kSoftware, ///< processors alone
    kDevice,   ///< VA-API or V4L2: ioctls of DRM, dma-buf, V4L2 and media, and the threads that drivers start late
    kMpp,      ///< Rockchip's MPP: ioctls of its device and of dma-buf; its threads have started
};

/// One layer of the sandbox. Each holds without the others.
struct SandboxLayer {
    std::string name;
    bool holds = false;
    std::string detail; ///< what holds, or why nothing does and what helps; for people
};

/// Before anything else: no new privileges and no capability, for the calling thread and those that it starts from here on, a driver's too.
[[nodiscard]] Status give_up_privileges();

/// First step: what give_up_privileges() gives up, limits, and by Landlock no path, no network and no signal to others.
/// Landlock holds for all threads from Linux 7.0 on, before that for the calling thread and those that it starts from here on: call it when
/// all files have been opened (a device's driver is loaded) and before the codec's threads begin. What this kernel lacks is a layer that does not
/// hold; an Error is a layer that every kernel has and that could not be put up.
[[nodiscard]] Result<std::vector<SandboxLayer>> give_up_rights();

/// Second and last step, for all threads: only the calls of call_list(kind) are left (call_filter.h says which and why).
/// Called when the codec has been opened and before the first byte of the stream is decoded. From here on nothing can
/// be written but messages on ipc::kSocketFd: not to standard error either.
///
/// A call that is denied ends the process by SIGSYS, and the last message on the socket, an ipc::Failed, has its name.
[[nodiscard]] SandboxLayer enter_sandbox(SandboxKind kind);

/// Has a child of this process enter each sandbox, and says what holds. A line for each layer, "layer NAME holds|missing
/// DETAIL", and for each kind, "calls KIND NUMBER NAME ...". Before any thread.
[[nodiscard]] std::string sandbox_report();

/// Sanitizers read /proc, write reports and run a symbolizer: in their builds neither Landlock nor the filter is put up.
#if defined(__has_feature) // clang's way to say so
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

} // namespace spice_overlay
