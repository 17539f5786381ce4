// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "player.h"
#include "portclient/base/result.h"

#include <string>

namespace spice_overlay::guest {

/// What `--stats` writes at the end: one JSON object in one line, described in the man page.
[[nodiscard]] std::string statistics_json(const Player &player);

/// `text` as a string of JSON, in its quotes.
[[nodiscard]] std::string json_quoted(const std::string &text);

[[nodiscard]] Status write_file(const std::string &path, const std::string &text);

} // namespace spice_overlay::guest
