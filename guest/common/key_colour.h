// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace spice_overlay::guest {

/// 0xRRGGBB: random, dark, of no colour that desktops are made of, the same after a way through 8-bit YUV (BT.601 or
/// BT.709, limited range), and apart from those given before by more than a tracker's tolerance. Any thread.
[[nodiscard]] std::int32_t key_colour();

} // namespace spice_overlay::guest
