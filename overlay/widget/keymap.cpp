// SPDX-License-Identifier: LGPL-2.1-or-later
#include "keymap.h"

#include <linux/input-event-codes.h>

namespace spice_overlay {

unsigned scancode_for_evdev(unsigned key)
{
    // Up to here Linux took its numbers from the keyboard's.
    if (key >= KEY_ESC && key <= KEY_KPDOT)
        return key;
    switch (key) {
    case KEY_102ND: return 0x56;
    case KEY_F11: return 0x57;
    case KEY_F12: return 0x58;
    case KEY_RO: return 0x73;
    case KEY_KATAKANAHIRAGANA: return 0x70;
    case KEY_HENKAN: return 0x79;
    case KEY_MUHENKAN: return 0x7b;
    case KEY_YEN: return 0x7d;
    case KEY_KPCOMMA: return 0x7e;
    case KEY_KPENTER: return 0x11c;
    case KEY_RIGHTCTRL: return 0x11d;
    case KEY_KPSLASH: return 0x135;
    case KEY_SYSRQ: return 0x137;
    case KEY_RIGHTALT: return 0x138;
    case KEY_HOME: return 0x147;
    case KEY_UP: return 0x148;
    case KEY_PAGEUP: return 0x149;
    case KEY_LEFT: return 0x14b;
    case KEY_RIGHT: return 0x14d;
    case KEY_END: return 0x14f;
    case KEY_DOWN: return 0x150;
    case KEY_PAGEDOWN: return 0x151;
    case KEY_INSERT: return 0x152;
    case KEY_DELETE: return 0x153;
    case KEY_PAUSE: return 0x146;
    case KEY_LEFTMETA: return 0x15b;
    case KEY_RIGHTMETA: return 0x15c;
    case KEY_COMPOSE: return 0x15d;
    case KEY_MUTE: return 0x120;
    case KEY_VOLUMEDOWN: return 0x12e;
    case KEY_VOLUMEUP: return 0x130;
    case KEY_PLAYPAUSE: return 0x122;
    case KEY_STOPCD: return 0x124;
    case KEY_PREVIOUSSONG: return 0x110;
    case KEY_NEXTSONG: return 0x119;
    default: return 0;
    }
}

} // namespace spice_overlay
