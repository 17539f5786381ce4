// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

namespace spice_overlay::guest {

enum class Level { kError = 3, kWarning = 4, kInfo = 6 }; ///< as syslog numbers them

/// One line on standard error, with its level in front where the journal reads it. kInfo is left out until verbose.
void log(Level level, const std::string &text);
void log_verbosely();

} // namespace spice_overlay::guest
