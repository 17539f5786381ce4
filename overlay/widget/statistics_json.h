// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/pace/statistics.h"
#include "portclient/session.h"
#include "stream_facts.h"

#include <span>
#include <string>

namespace spice_overlay {

/// The members of a JSON object, without its braces (see spice-overlay-viewer(1), "STATISTICS").
[[nodiscard]] std::string to_json(const Statistics &statistics, std::span<const StreamFacts> streams,
                                  double frames_a_second, const Session::Counters &session,
                                  std::uint64_t desktop_pixels_copied, const DurationHistogram &main_loop);

} // namespace spice_overlay
