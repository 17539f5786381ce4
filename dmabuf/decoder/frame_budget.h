// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace spice_overlay {

/// Memory that the frames of all streams may have together: as many streams as a guest may open, each with as much as one may
/// have, would be more than a machine has.
struct FrameBudget {
    std::int64_t left = std::int64_t{2048} << 20; ///< bytes; below 0 until the stream that went too far has ended
};

} // namespace spice_overlay
