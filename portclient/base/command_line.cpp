// SPDX-License-Identifier: LGPL-2.1-or-later
#include "command_line.h"

#include <getopt.h>

#include <cstdio>

namespace spice_overlay {

CommandLine::CommandLine(const char *program, const char *version, const char *help)
    : program_(program), version_(version), help_(help)
{
}

void CommandLine::flag(const char *option, std::function<void()> given)
{
    options_.push_back({option, false, [given = std::move(given)](const std::string &) -> Status {
                            given();
                            return Success{};
                        }});
}

void CommandLine::flag(const char *option, bool &to, bool value)
{
    flag(option, [&to, value] { to = value; });
}

void CommandLine::value(const char *option, std::function<Status(const std::string &)> take)
{
    options_.push_back({option, true, std::move(take)});
}

void CommandLine::value(const char *option, std::string &to)
{
    value(option, [&to](const std::string &text) -> Status {
        to = text;
        return Success{};
    });
}

Result<std::optional<std::vector<std::string>>> CommandLine::parse(int argc, char **argv) const
{
    constexpr int kHelp = 'h', kVersion = 'v', kFirst = 256; // beyond any character
    std::vector<option> table = {{"help", no_argument, nullptr, kHelp}, {"version", no_argument, nullptr, kVersion}};
    for (const Option &known : options_)
        table.push_back({known.name, known.wants_value ? required_argument : no_argument, nullptr,
                         kFirst + static_cast<int>(&known - options_.data())});
    table.push_back({});
    opterr = 0;
    for (int given; (given = getopt_long(argc, argv, ":", table.data(), nullptr)) != -1;) {
        if (given == kHelp) {
            std::fputs(help_, stdout);
            return std::optional<std::vector<std::string>>();
        }
        if (given == kVersion) {
            std::printf("%s %s\n", program_, version_);
            return std::optional<std::vector<std::string>>();
        }
        if (given == ':')
            return wrong_usage(std::string(argv[optind - 1]) + " wants a value");
        if (given < kFirst)
            return wrong_usage(std::string("unknown option ") + argv[optind - 1]);
        const Option &known = options_[static_cast<std::size_t>(given - kFirst)];
        if (Status taken = known.take(known.wants_value ? optarg : ""); !taken)
            return wrong_usage(std::string("--") + known.name + ": " + taken.error().message);
    }
    return std::optional(std::vector<std::string>(argv + optind, argv + argc));
}

Error wrong_usage(const std::string &what)
{
    return Error{what + "; see --help"};
}

} // namespace spice_overlay
