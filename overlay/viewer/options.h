// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <optional>
#include <string>

namespace spice_overlay {

/// What the command line says. See spice-overlay-viewer(1).
struct ViewerOptions {
    std::string target; ///< URI or .vv file
    std::string port_name;
    std::string decoder;
    std::string statistics_file;
    unsigned delay_ms = 60;
    bool fullscreen = false;
    bool resize_guest = true;
    bool audio = true;
    bool sandbox = true; ///< around the decoders
    bool exit_on_disconnect = false;
};

/// Nothing when --help or --version has been answered. An Error is a usage error (exit code 2).
Result<std::optional<ViewerOptions>> parse_options(int argc, char **argv);

} // namespace spice_overlay
