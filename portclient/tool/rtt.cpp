// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include "portclient/base/clock.h"

#include <algorithm>
#include <cstdio>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kLost = 2'000'000'000;      ///< ns: nobody waits longer for an answer
constexpr std::uint32_t kSize = 64;                ///< bytes of a frame: about that of a geometry message
constexpr double kHalfFrame = 16.7, kUsable = 100; ///< ms

void judge(Report &report, double p95, std::uint64_t lost)
{
    char text[160];
    if (p95 <= kHalfFrame)
        std::snprintf(text, sizeof text, "quick enough: a window's new place is at the client within half a frame");
    else if (p95 <= kUsable)
        std::snprintf(text, sizeof text, "usable: a video trails its window by about %.0f ms", p95 / 2);
    else
        std::snprintf(text, sizeof text, "too slow for windows that move: %.0f ms, and %.0f are too many", p95,
                      kUsable);
    report.verdict(p95 <= kUsable, text);
    if (lost > 0)
        report.verdict(false, "not stable: " + std::to_string(lost) + " answers never came");
}

} // namespace

Result<Report> measure_rtt(Trial &trial, const Options &options)
{
    std::size_t body = (options.size ? options.size : kSize) - kHeaderSize;
    std::vector<double> times; // ms
    std::uint64_t lost = 0, waiting_for = 0;
    std::int64_t answered = 0;
    trial.on_frame = [&](const Frame &frame) {
        if (frame.type == Type::kPong && frame.sequence == waiting_for)
            answered = monotonic_now();
    };
    if (Status status = trial.meet(); !status)
        return status.error();
    unsigned openings = trial.link().openings();
    for (std::uint32_t i = 0; i < options.count; i++) {
        waiting_for = i;
        answered = 0;
        std::int64_t sent = monotonic_now();
        trial.send(Type::kPing, i, trial.noise(i, body));
        while (answered == 0) {
            bool gone = openings != trial.link().openings() || !trial.link().end().open();
            if (gone || monotonic_now() - sent > kLost) {
                ++lost;
                if (Status status = trial.meet(); !status)
                    return status.error();
                break;
            }
            if (Status status = trial.turn(sent + kLost + 1); !status)
                return status.error();
        }
        openings = trial.link().openings();
        if (answered != 0)
            times.push_back(static_cast<double>(answered - sent) / 1e6);
        trial.progress().show(std::to_string(i) + " of " + std::to_string(options.count) + " round trips");
    }
    trial.progress().clear();
    if (times.empty())
        return Error{"no round trip came to its end"};
    std::ranges::sort(times);
    auto percentile = [&](double share) {
        return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
    };

    Report report = trial.report("rtt");
    report.number("round_trips", "round trips", static_cast<double>(times.size()), "");
    report.number("size", "of", static_cast<double>(body + kHeaderSize), "bytes");
    report.number("min_ms", "least", times.front(), "ms", 3);
    report.number("median_ms", "median", percentile(0.5), "ms", 3);
    report.number("p95_ms", "95th percentile", percentile(0.95), "ms", 3);
    report.number("p99_ms", "99th percentile", percentile(0.99), "ms", 3);
    report.number("max_ms", "most", times.back(), "ms", 3);
    report.number("lost", "lost", static_cast<double>(lost), "");
    judge(report, percentile(0.95), lost);
    return report;
}

} // namespace spice_overlay::tool
