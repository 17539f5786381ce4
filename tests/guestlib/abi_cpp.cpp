// SPDX-License-Identifier: LGPL-2.1-or-later
// The header as C++ reads it.
#include "abi.h"

int main()
{
    spice_overlay_format format = SPICE_OVERLAY_FORMAT_INIT;
    return format.aspect_num == 1 && spice_overlay_key_colour() >= 0 ? 0 : 1;
}
