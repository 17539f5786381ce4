// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include "portclient/base/clock.h"
#include "portclient/wire/bytes.h"

#include <cmath>
#include <cstdio>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kDuration = 5'000'000'000;  ///< ns, each way
constexpr std::int64_t kLongest = 600'000'000'000; ///< ns
constexpr std::size_t kFill = 128 * 1024;          ///< bytes that wait for the port, at most
// A port is shared by bursts (a key frame has ten times the size of others) and by geometry, which must not wait: video
// gets a quarter. 8 Mbit/s is 1080p as services stream it.
constexpr double kShare = 4, kLeast = 8;

struct Way {
    double seconds = 0;
    double bytes = 0;
    double lost = 0;   ///< frames
    double broken = 0; ///< frames

    double mbit() const { return seconds > 0 ? bytes * 8 / seconds / 1e6 : 0; }
};

Error interrupted()
{
    return Error{"the port was closed during the measurement: measure again, or look for the reason with soak"};
}

Result<Way> to_peer(Trial &trial, std::size_t size, std::int64_t duration)
{
    std::optional<Way> result;
    std::int64_t begin = monotonic_now();
    std::uint64_t sequence = 0;
    trial.on_frame = [&](const Frame &frame) {
        if (frame.type != Type::kCounted || frame.sequence != sequence)
            return;
        wire::Reader reader(frame.body);
        std::uint64_t frames = 0, bytes = 0, lost = 0, broken = 0;
        reader(frames), reader(bytes), reader(lost), reader(broken);
        if (!reader.failed())
            result = Way{static_cast<double>(monotonic_now() - begin) / 1e9, static_cast<double>(bytes),
                         static_cast<double>(sequence - std::min(sequence, frames)), static_cast<double>(broken)};
    };
    unsigned openings = trial.link().openings();
    bool asked = false;
    while (!result) {
        std::int64_t now = monotonic_now();
        if (now - begin < duration) {
            trial.touch();
            while (trial.link().queued() < kFill
                   && trial.send(Type::kData, sequence, trial.noise(sequence, size - kHeaderSize)))
                ++sequence;
        } else if (!asked) {
            asked = trial.send(Type::kCount, sequence, {});
        }
        if (openings != trial.link().openings() || !trial.link().end().open())
            return interrupted();
        if (Status status = trial.turn(now + 250'000'000, now - begin < duration); !status)
            return status.error();
        trial.progress().show(asked ? "waiting until all has come ..." : "sending ...");
    }
    return *result;
}

Result<Way> from_peer(Trial &trial, std::size_t size, std::int64_t duration)
{
    Way way;
    bool done = false;
    std::uint64_t expected = 0;
    std::uint64_t broken = trial.link().broken();
    std::int64_t begin = monotonic_now();
    trial.on_frame = [&](const Frame &frame) {
        if (frame.type == Type::kData) {
            way.bytes += static_cast<double>(kHeaderSize + frame.body.size());
            way.lost += frame.sequence > expected ? static_cast<double>(frame.sequence - expected) : 0;
            expected = frame.sequence + 1;
        } else if (frame.type == Type::kSent) {
            way.seconds = static_cast<double>(monotonic_now() - begin) / 1e9;
            way.lost += frame.sequence > expected ? static_cast<double>(frame.sequence - expected) : 0;
            done = true;
        }
    };
    std::vector<std::uint8_t> request;
    wire::Writer writer(request);
    writer(static_cast<std::uint32_t>(size)), writer(static_cast<std::uint32_t>(duration / 1'000'000));
    unsigned openings = trial.link().openings();
    trial.send(Type::kSend, 0, request);
    while (!done) {
        if (openings != trial.link().openings() || !trial.link().end().open())
            return interrupted();
        if (Status status = trial.turn(monotonic_now() + 250'000'000); !status)
            return status.error();
        trial.progress().show("receiving ...");
    }
    way.broken = static_cast<double>(trial.link().broken() - broken);
    return way;
}

/// Two leading digits: more would be a promise.
double rounded_down(double value)
{
    double step = std::pow(10, std::max(0.0, std::floor(std::log10(std::max(value, 1.0))) - 1));
    return std::floor(value / step) * step;
}

void judge(Report &report, const Way &video)
{
    double rate = rounded_down(video.mbit() / kShare);
    char text[200];
    std::snprintf(text, sizeof text,
                  rate >= kLeast ? "fast enough for %.0f Mbit/s of video, a quarter of what the port carries"
                                 : "too slow: %.0f Mbit/s of video, and 1080p takes 8",
                  rate);
    report.number("video_mbit", "", rate, "");
    report.verdict(rate >= kLeast, text);
}

} // namespace

Result<Report> measure_throughput(Trial &trial, const Options &options)
{
    std::size_t size = options.size ? options.size : kMaxFrame;
    std::int64_t duration = std::min(options.duration ? options.duration : kDuration, kLongest);
    if (Status status = trial.meet(); !status)
        return status.error();
    auto away = to_peer(trial, size, duration);
    if (!away)
        return away.error();
    auto back = from_peer(trial, size, duration);
    if (!back)
        return back.error();
    trial.progress().clear();

    const Way &up = trial.from_guest() ? *away : *back;
    const Way &down = trial.from_guest() ? *back : *away;
    Report report = trial.report("throughput");
    report.number("size", "writes of", static_cast<double>(size), "bytes");
    report.number("guest_to_client_mbit", "guest to client", up.mbit(), "Mbit/s", 1);
    report.number("guest_to_client_mbyte", "", up.mbit() / 8, "", 1);
    report.number("client_to_guest_mbit", "client to guest", down.mbit(), "Mbit/s", 1);
    report.number("client_to_guest_mbyte", "", down.mbit() / 8, "", 1);
    report.number("bytes", "carried", up.bytes + down.bytes, "bytes");
    report.number("lost", "frames lost", up.lost + down.lost, "");
    report.number("broken", "frames damaged", up.broken + down.broken, "");
    judge(report, up);
    if (up.lost + down.lost + up.broken + down.broken > 0)
        report.verdict(false, "not stable: bytes were lost or damaged");
    return report;
}

} // namespace spice_overlay::tool
