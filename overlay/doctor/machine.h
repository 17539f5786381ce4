// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "findings.h"

namespace spice_overlay::doctor {

/// All that can be told without a compositor. Starts the decoder and, for GPUs, a process of its own: at most some seconds.
[[nodiscard]] Machine examine_machine(const std::string &decoder_program);

/// What VA-API has on an opened render node: driver and profiles, or why there are none. In a process of its own, since drivers crash.
void examine_va(Gpu &gpu, int device);

/// The package with the VA-API driver for a GPU of this kernel driver, for people; empty: none is known.
[[nodiscard]] std::string va_package(const std::string &kernel_driver);

/// The fix for a device that may not be opened.
[[nodiscard]] std::string node_refusal(const std::string &node, int error);

} // namespace spice_overlay::doctor
