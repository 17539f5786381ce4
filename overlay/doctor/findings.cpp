// SPDX-License-Identifier: LGPL-2.1-or-later
#include "findings.h"

namespace spice_overlay::doctor {

const char *name(Verdict verdict)
{
    switch (verdict) {
    case Verdict::kZeroCopy:
        return "zero-copy";
    case Verdict::kNoCpuCopy:
        return "no-cpu-copy";
    case Verdict::kWorks:
        return "works";
    case Verdict::kDoesNotWork:
        break;
    }
    return "does-not-work";
}

} // namespace spice_overlay::doctor
