// SPDX-License-Identifier: LGPL-2.1-or-later
#include "options.h"

#include "end.h"
#include "frame.h"

#include "portclient/wire/messages.h"

#include <getopt.h>

#include <charconv>
#include <cstdio>
#include <cstring>
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

std::optional<Options::Command> parse_command(const char *text)
{
    static constexpr std::pair<const char *, Options::Command> kCommands[] = {
        {"hello", Options::Command::kHello},
        {"echo", Options::Command::kEcho},
        {"throughput", Options::Command::kThroughput},
        {"rtt", Options::Command::kRtt},
        {"soak", Options::Command::kSoak}};
    for (auto [name, command] : kCommands)
        if (std::strcmp(name, text) == 0)
            return command;
    return std::nullopt;
}

Error usage(const std::string &message)
{
    return Error{message + "; see --help"};
}

} // namespace

Result<std::optional<Options>> parse_options(int argc, char **argv)
{
    enum { kName = 1, kDuration, kCount, kSize, kTimeout, kJson, kQuiet, kHelpOption, kVersion };
    static const option kOptions[] = {
        {"name", required_argument, nullptr, kName},       {"duration", required_argument, nullptr, kDuration},
        {"count", required_argument, nullptr, kCount},     {"size", required_argument, nullptr, kSize},
        {"timeout", required_argument, nullptr, kTimeout}, {"json", no_argument, nullptr, kJson},
        {"quiet", no_argument, nullptr, kQuiet},           {"help", no_argument, nullptr, kHelpOption},
        {"version", no_argument, nullptr, kVersion},       {},
    };
    Options options;
    options.name = wire::kDefaultPortName;
    opterr = 0;
    for (int given; (given = getopt_long(argc, argv, ":", kOptions, nullptr)) != -1;) {
        switch (given) {
        case kName:
            options.name = optarg;
            break;
        case kDuration:
        case kTimeout: {
            auto time = parse_time(optarg);
            if (!time)
                return usage(std::string(optarg) + " is not a time: write 500ms, 90s, 10m or 8h");
            if (given == kDuration)
                options.duration = *time;
            else
                options.timeout = *time;
            break;
        }
        case kCount: {
            auto count = whole_number<std::uint32_t>(optarg);
            if (!count || *count == 0 || *count > 1'000'000)
                return usage("--count takes 1 to 1000000");
            options.count = *count;
            break;
        }
        case kSize: {
            auto size = whole_number<std::uint32_t>(optarg);
            if (!size || *size < kHeaderSize || *size > kMaxFrame)
                return usage("--size takes 28 to 32768 bytes");
            options.size = *size;
            break;
        }
        case kJson:
            options.json = true;
            break;
        case kQuiet:
            options.quiet = true;
            break;
        case kHelpOption:
            std::fputs(kHelp, stdout);
            if (!has_client_end())
                std::puts("\nThis build has the guest's end alone.");
            return std::optional<Options>();
        case kVersion:
            std::printf("%s %s%s\n", kProgram, SPICE_OVERLAY_VERSION, has_client_end() ? "" : " (guest's end alone)");
            return std::optional<Options>();
        case ':':
            return usage(std::string(argv[optind - 1]) + " wants a value");
        default:
            return usage(std::string("unknown option ") + argv[optind - 1]);
        }
    }
    int given = argc - optind;
    if (given < 1 || given > 2)
        return usage("give a command, and at most one port or URI");
    auto command = parse_command(argv[optind]);
    if (!command)
        return usage(std::string(argv[optind]) + " is no command");
    options.command = *command;
    std::string target = given == 2 ? argv[optind + 1] : options.name;
    if (target.find("://") != std::string::npos || target.ends_with(".vv"))
        options.target = target;
    else
        options.port = target;
    if (options.name.empty() || target.empty())
        return usage("a port's name cannot be empty");
    bool measures = options.command != Options::Command::kHello && options.command != Options::Command::kEcho;
    if (!options.timeout && measures)
        options.timeout = 30'000'000'000;
    return std::optional<Options>(options);
}

} // namespace spice_overlay::tool
