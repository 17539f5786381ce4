// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include "portclient/base/clock.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDuration = 60 * kSecond;
constexpr std::size_t kWindow = 256 * 1024; ///< bytes in flight, as the video protocol has them at least
constexpr std::int64_t kSilence = kSecond;  ///< without any answer, until it is asked what has come
constexpr std::int64_t kWorstStall = kSecond;
constexpr std::size_t kMostSamples = 600;

struct InFlight {
    std::uint64_t sequence;
    std::size_t size; ///< of the body
};

/// Sizes from nothing to the largest, small ones as often as large ones.
std::size_t body_size(std::uint64_t sequence)
{
    std::uint64_t mixed = (sequence + 1) * 0x9e3779b97f4a7c15;
    mixed ^= mixed >> 29;
    std::size_t most = std::size_t{1} << (mixed % 16);
    return std::min<std::size_t>((mixed >> 8) % (2 * most), kMaxBody);
}

std::string describe(std::int64_t ns)
{
    char text[64];
    std::snprintf(text, sizeof text, "%.3g %s", static_cast<double>(ns) / (ns < kSecond ? 1e6 : 1e9),
                  ns < kSecond ? "ms" : "s");
    return text;
}

class Soak {
public:
    Soak(Trial &trial, const Options &options)
        : trial_(trial),
          duration_(options.duration ? options.duration : kDuration),
          fixed_size_(options.size),
          sample_(std::max(kSecond, duration_ / static_cast<std::int64_t>(kMostSamples)))
    {
        trial_.on_frame = [this](const Frame &frame) {
            if (frame.type == Type::kPong)
                answered(frame);
        };
        trial_.on_closed = [this] { closed(); };
    }

    Result<Report> run()
    {
        if (Status status = trial_.meet(); !status)
            return status.error();
        begin_ = heard_ = sample_begin_ = monotonic_now();
        std::string ended; // early, and why
        while (true) {
            std::int64_t now = monotonic_now();
            if (now - begin_ >= duration_ && in_flight_.empty())
                break;
            Status status = step(now);
            if (status)
                continue;
            ended = status.error().message;
            // A person who has seen enough wants the figures; so does one whose other end went away.
            if (!trial_.link().interrupted() && trial_.exit_status() != kNobody)
                return status.error();
            break;
        }
        trial_.progress().clear();
        return report(ended);
    }

private:
    Status step(std::int64_t now)
    {
        if (away_) {
            if (Status status = trial_.meet(); !status)
                return status;
            away_ = false;
            ++reconnects_;
            heard_ = monotonic_now();
            longest_absence_ = std::max(longest_absence_, heard_ - closed_at_);
            trial_.progress().say("reconnect " + std::to_string(reconnects_));
            return Success{};
        }
        if (now - begin_ < duration_)
            fill();
        if (!in_flight_.empty() && now - heard_ > kSilence) {
            // The answer to meet() comes behind all that is still to come: what is then missing is lost.
            if (Status status = trial_.meet(); !status)
                return status;
            stalled(monotonic_now());
            if (!away_)
                forget(lost_);
            return Success{};
        }
        Status status =
            trial_.turn(std::min(now + kSecond / 4, begin_ + duration_ > now ? begin_ + duration_ : now + kSecond));
        sample(monotonic_now());
        show();
        return status;
    }

    void fill()
    {
        while (flying_ < kWindow) {
            std::size_t size = fixed_size_ ? fixed_size_ - kHeaderSize : body_size(next_);
            if (!trial_.send(Type::kPing, next_, trial_.noise(next_, size)))
                return;
            if (in_flight_.empty())
                heard_ = monotonic_now(); // nothing was to be heard until now
            in_flight_.push_back({next_++, size});
            flying_ += kHeaderSize + size;
        }
    }

    void answered(const Frame &frame)
    {
        while (!in_flight_.empty() && in_flight_.front().sequence < frame.sequence) {
            lost_ += kHeaderSize + in_flight_.front().size;
            drop_front();
        }
        if (in_flight_.empty() || in_flight_.front().sequence != frame.sequence) {
            ++unexpected_;
            return;
        }
        auto expected = trial_.noise(frame.sequence, in_flight_.front().size);
        std::size_t size = kHeaderSize + expected.size();
        if (std::ranges::equal(expected, frame.body))
            carried_ += size;
        else
            corrupt_ += size;
        drop_front();
        stalled(monotonic_now());
    }

    void drop_front()
    {
        flying_ -= kHeaderSize + in_flight_.front().size;
        in_flight_.pop_front();
    }

    void forget(std::uint64_t &count)
    {
        count += flying_;
        in_flight_.clear();
        flying_ = 0;
    }

    void closed()
    {
        if (begin_ == 0)
            return;
        forget(lost_by_closing_);
        if (!away_)
            closed_at_ = monotonic_now();
        away_ = true;
    }

    /// Something has come at `now`: how long has nothing?
    void stalled(std::int64_t now)
    {
        worst_stall_ = std::max(worst_stall_, now - heard_);
        heard_ = now;
    }

    void sample(std::int64_t now)
    {
        std::int64_t passed = now - sample_begin_;
        if (passed < sample_)
            return;
        samples_.push_back(static_cast<double>(carried_ - sample_carried_) * 8e3 / static_cast<double>(passed));
        sample_begin_ = now;
        sample_carried_ = carried_;
    }

    void show()
    {
        std::int64_t passed = monotonic_now() - begin_;
        char text[200];
        std::snprintf(text, sizeof text,
                      "%.0f of %.0f s: %.0f Mbit/s each way, %llu bytes lost, %u reconnects, worst stall %s",
                      static_cast<double>(passed) / 1e9, static_cast<double>(duration_) / 1e9,
                      samples_.empty() ? 0 : samples_.back(), static_cast<unsigned long long>(lost_), reconnects_,
                      describe(worst_stall_).c_str());
        trial_.progress().show(text);
    }

    Report report(const std::string &ended)
    {
        std::int64_t passed = monotonic_now() - begin_;
        std::uint64_t lost = lost_;
        if (!ended.empty() && trial_.exit_status() == kNobody)
            lost += flying_;
        std::uint64_t corrupt = corrupt_ + trial_.stray();
        auto [least, most] =
            samples_.empty() ? std::pair(0.0, 0.0) : std::pair(std::ranges::min(samples_), std::ranges::max(samples_));
        auto count = [](auto value) { return static_cast<double>(value); };
        Report report = trial_.report("soak");
        report.number("seconds", "lasted", count(passed) / 1e9, "s", 1);
        report.number("frames", "frames sent", count(next_), "");
        report.number("bytes", "carried each way", count(carried_), "bytes");
        report.number("mbit", "rate each way", count(carried_) * 8e3 / count(std::max<std::int64_t>(passed, 1)),
                      "Mbit/s", 1);
        report.number("least_mbit", "  in the slowest second", least, "Mbit/s", 1);
        report.number("most_mbit", "  in the fastest second", most, "Mbit/s", 1);
        report.number("lost_bytes", "lost", count(lost), "bytes");
        report.number("corrupt_bytes", "corrupt", count(corrupt), "bytes");
        report.number("unexpected", "answers to nothing", count(unexpected_), "");
        report.number("reconnects", "reconnects", count(reconnects_), "");
        report.number("lost_by_reconnect_bytes", "  lost by them, as it must be", count(lost_by_closing_), "bytes");
        report.number("longest_absence_ms", "  longest absence", count(longest_absence_) / 1e6, "ms", 1);
        report.number("worst_stall_ms", "worst stall", count(worst_stall_) / 1e6, "ms", 1);
        report.number("sample_seconds", "", count(sample_) / 1e9, "", 1);
        report.list("mbit_over_time", samples_);
        judge(report, ended, lost, corrupt);
        return report;
    }

    void judge(Report &report, const std::string &ended, std::uint64_t lost, std::uint64_t corrupt)
    {
        if (!ended.empty())
            report.verdict(trial_.exit_status() != kNobody, ended);
        if (carried_ == 0)
            report.verdict(false, "nothing was carried");
        if (lost + corrupt + unexpected_ > 0)
            report.verdict(false, "not stable: bytes were lost or corrupt");
        if (reconnects_ > 0)
            report.verdict(false, "not stable: the port was lost " + std::to_string(reconnects_)
                                      + " times; it went on each time");
        if (worst_stall_ > kWorstStall)
            report.verdict(false, "not smooth: it stood still for " + describe(worst_stall_));
        if (report.good())
            report.verdict(true, "stable: nothing lost, nothing corrupt, no stall above " + describe(worst_stall_));
    }

    Trial &trial_;
    const std::int64_t duration_;  ///< ns
    const std::size_t fixed_size_; ///< of frames; 0: mixed
    const std::int64_t sample_;    ///< ns
    std::deque<InFlight> in_flight_;
    std::size_t flying_ = 0; ///< bytes of them
    std::uint64_t next_ = 0;
    std::uint64_t carried_ = 0, lost_ = 0, lost_by_closing_ = 0, corrupt_ = 0; ///< bytes, counted one way
    std::uint64_t unexpected_ = 0;
    unsigned reconnects_ = 0;
    bool away_ = false;
    std::int64_t begin_ = 0, heard_ = 0, closed_at_ = 0; ///< ns of CLOCK_MONOTONIC
    std::int64_t worst_stall_ = 0, longest_absence_ = 0; ///< ns
    std::vector<double> samples_;                        ///< Mbit/s
    std::int64_t sample_begin_ = 0;
    std::uint64_t sample_carried_ = 0;
};

} // namespace

Result<Report> soak(Trial &trial, const Options &options)
{
    return Soak(trial, options).run();
}

} // namespace spice_overlay::tool
