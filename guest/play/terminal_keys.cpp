// SPDX-License-Identifier: LGPL-2.1-or-later
#include "terminal_keys.h"

#include <unistd.h>

#include <array>

namespace spice_overlay::guest {

TerminalKeys::TerminalKeys()
{
    // A background program that changes its terminal would be stopped.
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before_) != 0)
        return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

TerminalKeys::~TerminalKeys()
{
    if (active_)
        tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

std::vector<Command> TerminalKeys::read()
{
    std::array<char, 64> typed;
    ssize_t got = ::read(STDIN_FILENO, typed.data(), typed.size());
    return commands_of({typed.data(), static_cast<std::size_t>(got > 0 ? got : 0)});
}

std::vector<Command> commands_of(std::string_view typed)
{
    struct Key {
        std::string_view text;
        Command command;
    };
    // A terminal sends ESC [ A, or ESC O A in its application mode.
    static constexpr Key kKeys[] = {
        {"\033[D", Command::kBack},    {"\033[C", Command::kForward},
        {"\033[B", Command::kFarBack}, {"\033[A", Command::kFarForward},
        {"\033OD", Command::kBack},    {"\033OC", Command::kForward},
        {"\033OB", Command::kFarBack}, {"\033OA", Command::kFarForward},
        {" ", Command::kPause},        {"9", Command::kQuieter},
        {"0", Command::kLouder},       {"m", Command::kMute},
        {"f", Command::kFullscreen},   {"q", Command::kQuit},
    };
    std::vector<Command> commands;
    while (!typed.empty()) {
        std::size_t taken = 1;
        for (const Key &key : kKeys)
            if (typed.starts_with(key.text)) {
                commands.push_back(key.command);
                taken = key.text.size();
                break;
            }
        typed.remove_prefix(taken);
    }
    return commands;
}

} // namespace spice_overlay::guest
