// SPDX-License-Identifier: LGPL-2.1-or-later
// Any processor.
#include "copy_opaque.h"

namespace spice_overlay {

void copy_opaque(const std::uint32_t *from, std::uint32_t *to, std::size_t pixels)
{
    for (std::size_t i = 0; i < pixels; ++i)
        to[i] = from[i] | 0xff000000U;
}

void finish_copies() {}

} // namespace spice_overlay
