// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "result.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay {

/// A program's command line: long options, before, after and between its arguments. Every program answers --help and --version.
class CommandLine {
public:
    /// `version` stands after the program's name. The strings live as long as this does.
    CommandLine(const char *program, const char *version, const char *help);

    void flag(const char *option, std::function<void()> given);
    void flag(const char *option, bool &to, bool value = true);
    void value(const char *option, std::function<Status(const std::string &)> take);
    void value(const char *option, std::string &to);

    /// The arguments that are no options; nothing when --help or --version has been answered. An Error is one of usage,
    /// and points at --help.
    Result<std::optional<std::vector<std::string>>> parse(int argc, char **argv) const;

private:
    struct Option {
        const char *name;
        bool wants_value;
        std::function<Status(const std::string &)> take;
    };
    const char *program_;
    const char *version_;
    const char *help_;
    std::vector<Option> options_;
};

/// What is wrong with how a program was called, pointing at --help.
Error wrong_usage(const std::string &what);

} // namespace spice_overlay
