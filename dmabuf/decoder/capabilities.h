// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/wire/messages.h"

#include <string>
#include <vector>

namespace spice_overlay {

/// Asks a spice-overlay-decoder what it decodes, for the HELLO. Runs the program once and waits for it, 3 seconds at
/// most (about 50 ms): for start-up only.
[[nodiscard]] Result<std::vector<wire::CodecCapability>> decoder_capabilities(const std::string &program);

} // namespace spice_overlay
