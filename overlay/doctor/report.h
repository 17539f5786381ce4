// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "findings.h"

#include <string>

namespace spice_overlay::doctor {

/// For a person: lines of 80 columns.
[[nodiscard]] std::string as_text(const Report &report);
/// As docs/doctor.schema.json says, on one line.
[[nodiscard]] std::string as_json(const Report &report);

} // namespace spice_overlay::doctor
