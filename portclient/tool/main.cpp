// SPDX-License-Identifier: LGPL-2.1-or-later
// spice-overlay-port: tries a SPICE port from either end.

#include "trial.h"

#include <cstdio>

using namespace spice_overlay;
using namespace spice_overlay::tool;

namespace {

int fail(int status, const Error &error)
{
    std::fprintf(stderr, "%s: %s\n", kProgram, error.message.c_str());
    return status;
}

int measure(End &end, Signals &signals, Progress &progress, const Options &options)
{
    Trial trial(end, signals, progress, options);
    auto *command = options.command == Options::Command::kRtt          ? measure_rtt
                    : options.command == Options::Command::kThroughput ? measure_throughput
                                                                       : soak;
    auto report = command(trial, options);
    progress.clear();
    if (!report)
        return fail(trial.exit_status(), report.error());
    report->print(options.json);
    return report->good() ? kGood : kBad;
}

} // namespace

int main(int argc, char **argv)
{
    auto options = parse_options(argc, argv);
    if (!options)
        return fail(kUsage, options.error());
    if (!*options)
        return kGood;
    const Options &chosen = **options;
    Signals signals;
    auto end = chosen.target.empty() ? open_guest_end(chosen.port) : open_client_end(chosen.target, chosen.name);
    if (!end)
        return fail(kFailed, end.error());
    Progress progress(chosen.quiet);
    switch (chosen.command) {
    case Options::Command::kHello:
        return run_hello(**end, signals, progress, chosen);
    case Options::Command::kEcho:
        return run_echo(**end, signals, progress, chosen);
    default:
        return measure(**end, signals, progress, chosen);
    }
}
