// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/conversation.h"
#include "relay.h"

#include <string>

namespace spice_overlay::guest {

/// What the agent has done so far, as one JSON object in one line, newline included.
[[nodiscard]] std::string statistics_json(const Relay &relay, const Conversation::Counters &port, std::size_t players);

} // namespace spice_overlay::guest
