// SPDX-License-Identifier: LGPL-2.1-or-later
#include "options.h"

#include "end.h"
#include "frame.h"

#include "portclient/base/command_line.h"
#include "portclient/wire/messages.h"

#include <charconv>
#include <string_view>
#include <utility>

namespace spice_overlay::tool {

namespace {

constexpr char kHelp[] =
    "usage: spice-overlay-port COMMAND [PORT | URI | FILE.vv] [OPTION]...\n"
    "Tries a SPICE port: is it there, is it fast enough for video, is it stable?\n"
    "\n"
    "  hello       text both ways, as a person types it; the other end may be a stock spicy\n"
    "  echo        answers a measurement that runs at the other end\n"
    "  rtt         measures round trips          (the other end runs echo)\n"
    "  throughput  measures both directions      (the other end runs echo)\n"
    "  soak        loads both directions for long, and looks for loss and stalls (the other end runs echo)\n"
    "\n"
    "In the guest, PORT is a device, a virtio port's name, a pty, or a unix socket.\n"
    "At the client, URI is spice://HOST:PORT, spice://HOST?tls-port=PORT or spice+unix:///PATH.\n"
    "\n"
    "  --name NAME       the port's name (default: org.spice-overlay.video.0)\n"
    "  --duration TIME   as in 90s, 10m, 8h (default: throughput 5s each way, soak 60s)\n"
    "  --count N         of round trips (default: 1000)\n"
    "  --size BYTES      of what is sent, 28 to 32768 (default: rtt 64, throughput 32768; soak mixes sizes)\n"
    "  --timeout TIME    how long to wait for the other end (default: 30s; hello and echo: for ever)\n"
    "  --json            the result as one JSON object\n"
    "  --quiet           no messages on the way\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 good, 1 failed, 2 wrong usage, 3 nobody at the other end, 4 the verdict is bad.\n";

template <typename T>
std::optional<T> whole_number(std::string_view text)
{
    T value{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

/// Nanoseconds, of more than none and at most a hundred days.
std::optional<std::int64_t> parse_time(std::string_view text)
{
    static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
        {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};
    std::int64_t unit = 1'000'000'000;
    for (auto [suffix, ns] : kUnits) {
        if (text.ends_with(suffix)) {
            unit = ns;
            text.remove_suffix(suffix.size());
            break;
        }
    }
    auto value = whole_number<std::int64_t>(text);
    constexpr std::int64_t kMost = std::int64_t{100} * 24 * 3'600'000'000'000;
    if (!value || *value <= 0 || *value > kMost / unit)
        return std::nullopt;
    return *value * unit;
}

std::optional<Options::Command> parse_command(std::string_view text)
{
    static constexpr std::pair<std::string_view, Options::Command> kCommands[] = {
        {"hello", Options::Command::kHello},
        {"echo", Options::Command::kEcho},
        {"throughput", Options::Command::kThroughput},
        {"rtt", Options::Command::kRtt},
        {"soak", Options::Command::kSoak}};
    for (auto [name, command] : kCommands)
        if (name == text)
            return command;
    return std::nullopt;
}

} // namespace

Result<std::optional<Options>> parse_options(int argc, char **argv)
{
    Options options;
    options.name = wire::kDefaultPortName;
    std::string help = kHelp, version = SPICE_OVERLAY_VERSION;
    if (!has_client_end()) {
        help += "\nThis build has the guest's end alone.\n";
        version += " (guest's end alone)";
    }
    CommandLine line(kProgram, version.c_str(), help.c_str());
    line.value("name", options.name);
    auto time = [&line](const char *option, auto &to) {
        line.value(option, [&to](const std::string &text) -> Status {
            const auto given = parse_time(text);
            if (!given)
                return Error{text + " is not a time: write 500ms, 90s, 10m or 8h"};
            to = *given;
            return Success{};
        });
    };
    time("duration", options.duration);
    time("timeout", options.timeout);
    auto number = [&line](const char *option, std::uint32_t &to, std::uint32_t least, std::uint32_t most) {
        line.value(option, [&to, least, most](const std::string &text) -> Status {
            const auto given = whole_number<std::uint32_t>(text);
            if (!given || *given < least || *given > most)
                return Error{"it takes " + std::to_string(least) + " to " + std::to_string(most)};
            to = *given;
            return Success{};
        });
    };
    number("count", options.count, 1, 1'000'000);
    number("size", options.size, kHeaderSize, kMaxFrame);
    line.flag("json", options.json);
    line.flag("quiet", options.quiet);
    auto parsed = line.parse(argc, argv);
    if (!parsed)
        return parsed.error();
    if (!*parsed)
        return std::optional<Options>();
    const std::vector<std::string> &words = **parsed;
    if (words.empty() || words.size() > 2)
        return wrong_usage("give a command, and at most one port or URI");
    auto command = parse_command(words[0]);
    if (!command)
        return wrong_usage(words[0] + " is no command");
    options.command = *command;
    const std::string &target = words.size() == 2 ? words[1] : options.name;
    if (target.find("://") != std::string::npos || target.ends_with(".vv"))
        options.target = target;
    else
        options.port = target;
    if (options.name.empty() || target.empty())
        return wrong_usage("a port's name cannot be empty");
    bool measures = options.command != Options::Command::kHello && options.command != Options::Command::kEcho;
    if (!options.timeout && measures)
        options.timeout = 30'000'000'000;
    return std::optional<Options>(options);
}

} // namespace spice_overlay::tool
