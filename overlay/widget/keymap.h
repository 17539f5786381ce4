// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace spice_overlay {

/// The PC AT set 1 scancode ("XT", 0x100 added for the E0 prefix) that SPICE wants for a Linux evdev key code; 0: none.
unsigned scancode_for_evdev(unsigned key);

} // namespace spice_overlay
