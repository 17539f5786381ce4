// SPDX-License-Identifier: LGPL-2.1-or-later
#include "link.h"

#include "portclient/base/clock.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace spice_overlay::tool {

Signals::Signals()
{
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool Signals::came()
{
    signalfd_siginfo info;
    came_ = came_ || read(fd_.get(), &info, sizeof info) > 0;
    return came_;
}

bool Link::send(const Frame &frame)
{
    if (!end_.open() || queued() + kHeaderSize + frame.body.size() > kMaxQueued)
        return false;
    append_frame(queue_, frame);
    return true;
}

bool Link::send_raw(std::span<const std::uint8_t> bytes)
{
    if (!end_.open() || queued() + bytes.size() > kMaxQueued)
        return false;
    queue_.insert(queue_.end(), bytes.begin(), bytes.end());
    return true;
}

void Link::flush()
{
    if (queued() > 0)
        sent_ += end_.write(std::span<const std::uint8_t>(queue_).subspan(sent_));
    if (sent_ == queue_.size() || sent_ > kMaxQueued / 4) {
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(sent_));
        sent_ = 0;
    }
}

Status Link::turn(std::int64_t until, bool more)
{
    flush();
    std::array<int, 1> others = {signals_.fd()};
    if (Status status = end_.wait(until, more || queued() > 0, others, *this); !status)
        return status;
    flush();
    return Success{};
}

void Link::opened()
{
    ++openings_;
    handler_.opened();
}

void Link::closed()
{
    queue_.clear();
    sent_ = 0;
    scanner_.reset();
    handler_.closed();
}

void Link::data(std::span<const std::uint8_t> bytes)
{
    received_ += bytes.size();
    scanner_.feed(bytes, *this);
}

} // namespace spice_overlay::tool
