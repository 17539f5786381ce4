// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <cstdint>
#include <optional>
#include <string>

namespace spice_overlay::tool {

/// What the command line says. See spice-overlay-port(1).
struct Options {
    enum class Command { kHello, kEcho, kThroughput, kRtt, kSoak };
    Command command = Command::kHello;
    std::string target;                  ///< of the client's end: URI or file; empty: the guest's end
    std::string port;                    ///< guest's end: path or name
    std::string name;                    ///< client's end: the port's name
    std::optional<std::int64_t> timeout; ///< ns without a peer; without: for ever
    std::int64_t duration = 0;           ///< ns; 0: the command's own
    std::uint32_t size = 0;              ///< bytes of a frame; 0: the command's own
    std::uint32_t count = 1000;          ///< round trips
    bool json = false;
    bool quiet = false;
};

inline constexpr char kProgram[] = "spice-overlay-port";
inline constexpr int kGood = 0, kFailed = 1, kUsage = 2, kNobody = 3, kBad = 4; ///< exit statuses

/// Nothing when --help or --version has been answered. An Error is one of usage.
Result<std::optional<Options>> parse_options(int argc, char **argv);

} // namespace spice_overlay::tool
