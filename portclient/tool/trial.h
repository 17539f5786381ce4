// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "link.h"
#include "options.h"
#include "report.h"

#include <functional>

namespace spice_overlay::tool {

/// The side that measures, while the other end runs `echo`: finds it, and notices when it is silent.
class Trial : private Link::Handler {
public:
    Trial(End &end, Signals &signals, Progress &progress, const Options &options);

    /// Waits until the other end answers. Everything that was sent before has been answered then, or is lost.
    [[nodiscard]] Status meet();
    /// One turn of the link. An Error ends the measurement: a signal, an end that failed, or one that is silent for
    /// longer than --timeout; exit_status() tells which. `more` as for Link::turn().
    [[nodiscard]] Status turn(std::int64_t until, bool more = false);
    [[nodiscard]] int exit_status() const { return exit_status_; }
    /// What the other end does now is not an answer to be waited for.
    void touch();

    /// Of this run: sound, and not of meet().
    std::function<void(const Frame &)> on_frame = [](const Frame &) {};
    std::function<void()> on_closed = [] {};

    bool send(Type type, std::uint64_t sequence, std::span<const std::uint8_t> body);
    /// `size` bytes that do not compress, the same for each `sequence`; at most kMaxBody.
    [[nodiscard]] std::span<const std::uint8_t> noise(std::uint64_t sequence, std::size_t size) const;

    [[nodiscard]] Link &link() { return link_; }
    [[nodiscard]] Progress &progress() { return progress_; }
    [[nodiscard]] std::uint64_t stray() const { return stray_; } ///< bytes since the first meet() that were no frame
    [[nodiscard]] bool from_guest() const;
    /// A report that says what was measured, and where.
    [[nodiscard]] Report report(const char *command) const;

private:
    void closed() override { on_closed(); }
    void frame(const Frame &frame) override;
    void stray(std::span<const std::uint8_t> bytes) override { stray_ += met_ ? bytes.size() : 0; }

    Progress &progress_;
    const Options &options_;
    Link link_;
    std::uint32_t run_;
    std::vector<std::uint8_t> noise_;
    std::int64_t heard_ = 0; ///< ns of CLOCK_MONOTONIC
    int exit_status_ = kFailed;
    bool answered_ = false, met_ = false;
    std::uint64_t meeting_;
    std::uint64_t stray_ = 0;
};

/// The commands that measure. What ends them early is in the Error; `trial` has the exit status then.
[[nodiscard]] Result<Report> measure_rtt(Trial &trial, const Options &options);
[[nodiscard]] Result<Report> measure_throughput(Trial &trial, const Options &options);
[[nodiscard]] Result<Report> soak(Trial &trial, const Options &options);

/// Answers measurements until a signal comes. The exit status.
int run_echo(End &end, Signals &signals, Progress &progress, const Options &options);
/// Text both ways. The exit status.
int run_hello(End &end, Signals &signals, Progress &progress, const Options &options);

} // namespace spice_overlay::tool
