// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "end.h"
#include "frame.h"

#include "portclient/base/unique_fd.h"

namespace spice_overlay::tool {

/// SIGINT, SIGTERM and SIGHUP, from its making on.
class Signals {
public:
    Signals();
    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Whether one has come, now or before.
    [[nodiscard]] bool came();

private:
    UniqueFd fd_;
    bool came_ = false;
};

/// Frames over one end of a port.
class Link : private End::Listener, private Scanner::Sink {
public:
    class Handler {
    public:
        virtual ~Handler() = default;
        virtual void opened() {}
        virtual void closed() {}
        virtual void frame(const Frame &frame) = 0;
        virtual void stray(std::span<const std::uint8_t>) {} ///< belongs to no frame
    };

    static constexpr std::size_t kMaxQueued = 1u << 20; ///< bytes

    /// Both outlive the link.
    Link(End &end, Signals &signals, Handler &handler) : end_(end), signals_(signals), handler_(handler) {}

    /// False, with nothing queued: it is not open, or more than kMaxQueued would wait.
    bool send(const Frame &frame);
    bool send_raw(std::span<const std::uint8_t> bytes);

    /// Sends what waits; waits until something happens, or until `until` (ns of CLOCK_MONOTONIC). `more`: there is more to
    /// send as soon as there is room.
    [[nodiscard]] Status turn(std::int64_t until, bool more = false);

    [[nodiscard]] bool interrupted() { return signals_.came(); }
    [[nodiscard]] const End &end() const { return end_; }
    [[nodiscard]] std::size_t queued() const { return queue_.size() - sent_; }
    [[nodiscard]] std::uint64_t broken() const { return scanner_.broken(); }
    [[nodiscard]] unsigned openings() const { return openings_; }
    [[nodiscard]] std::uint64_t received() const { return received_; } ///< bytes, ever

private:
    void opened() override;
    void closed() override;
    void data(std::span<const std::uint8_t> bytes) override;
    void frame(const Frame &frame) override { handler_.frame(frame); }
    void stray(std::span<const std::uint8_t> bytes) override { handler_.stray(bytes); }
    void flush();

    End &end_;
    Signals &signals_;
    Handler &handler_;
    Scanner scanner_;
    std::vector<std::uint8_t> queue_;
    std::size_t sent_ = 0; ///< of queue_
    unsigned openings_ = 0;
    std::uint64_t received_ = 0;
};

} // namespace spice_overlay::tool
