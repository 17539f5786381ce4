// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/wire/messages.h"

#include <string>
#include <vector>

namespace spice_overlay {

/// What a spice-overlay-decoder prints when it is started with an option that is a question. Waits for it, 3 seconds at most
/// (about 50 ms): for start-up only.
[[nodiscard]] Result<std::string> ask_decoder(const std::string &program, const char *question);

/// What a spice-overlay-decoder decodes, for the HELLO. Asks it once.
[[nodiscard]] Result<std::vector<wire::CodecCapability>> decoder_capabilities(const std::string &program);

} // namespace spice_overlay
