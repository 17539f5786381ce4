// SPDX-License-Identifier: LGPL-2.1-or-later
// Without libva.
#include "machine.h"

namespace spice_overlay::doctor {

void examine_va(Gpu &gpu, int)
{
    gpu.why_no_va = "this spice-overlay-doctor was built without libva: build it with libva-dev";
}

} // namespace spice_overlay::doctor
