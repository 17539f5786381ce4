// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace spice_overlay::wire::test {

/// How often this program has taken memory with `new`, from its start.
long allocations();

} // namespace spice_overlay::wire::test
