// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "x11_window.h"

#include <string_view>
#include <termios.h>
#include <vector>

namespace spice_overlay::guest {

/// Keys typed into the terminal, one by one and without echo, as long as this lives; does nothing where standard input
/// is not a terminal, or when the program is in its background.
class TerminalKeys {
public:
    TerminalKeys();
    ~TerminalKeys();
    TerminalKeys(const TerminalKeys &) = delete;
    TerminalKeys &operator=(const TerminalKeys &) = delete;

    [[nodiscard]] bool active() const { return active_; }
    /// Reads what was typed. To be called when standard input is readable.
    [[nodiscard]] std::vector<Command> read();

private:
    termios before_{};
    bool active_ = false;
};

/// What the typed characters mean, escape sequences of arrow keys included; others are left out.
[[nodiscard]] std::vector<Command> commands_of(std::string_view typed);

} // namespace spice_overlay::guest
