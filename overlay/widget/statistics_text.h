// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/pace/statistics.h"
#include "stream_facts.h"

#include <span>
#include <string>

namespace spice_overlay {

/// The same as to_json() in a few lines for a person.
[[nodiscard]] std::string to_text(const Statistics &statistics, std::span<const StreamFacts> streams,
                                  double frames_a_second);

} // namespace spice_overlay
