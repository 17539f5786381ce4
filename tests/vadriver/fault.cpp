// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace spice_overlay {

Fault Fault::from_environment(const char *variable, std::span<const char *const> names)
{
    Fault fault;
    const char *value = std::getenv(variable);
    std::istringstream list(value ? value : "");
    for (std::string text; std::getline(list, text, ',');) {
        const std::size_t colon = text.find(':');
        const std::string name = text.substr(0, colon);
        if (std::find(names.begin(), names.end(), name) == names.end()) {
            std::fprintf(stderr, "%s: no fault '%s' is known\n", variable, name.c_str());
            std::abort();
        }
        fault.after_[name] =
            colon == std::string::npos ? 0 : static_cast<unsigned>(std::strtoul(text.c_str() + colon + 1, nullptr, 10));
    }
    return fault;
}

} // namespace spice_overlay
