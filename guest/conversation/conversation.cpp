// SPDX-License-Identifier: LGPL-2.1-or-later
#include "conversation.h"

#include "portclient/base/clock.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHelloInterval = kSecond;
constexpr std::int64_t kMessageLimit = 10 * kSecond; ///< for a message to become whole
constexpr std::int64_t kAbsentInterval = kSecond;    ///< between looks at a port that cannot be watched
constexpr std::size_t kWriteBudget = 256 * 1024;     ///< bytes until others get their turn
constexpr std::size_t kMostControl = 64 * 1024;      ///< bytes that wait; while there are more, no PING is answered

wire::Hello our_hello(const std::string &name)
{
    wire::Hello hello;
    hello.role = wire::Role::kGuest;
    hello.name = name;
    return hello;
}

} // namespace

Conversation::Conversation(Options options, Listener &listener)
    : options_(std::move(options)), listener_(listener), handshake_(our_hello(options_.name))
{
}

// ---- the conversation

void Conversation::begin(std::int64_t now)
{
    std::uint64_t nonce = fresh_nonce();
    deframer_.reset(nonce);
    mid_message_since_ = -1;
    outgoing_.outbox.forget();
    outgoing_.outbox.control(handshake_.start(nonce));
    hello_at_ = now + kHelloInterval;
}

void Conversation::begin_anew(wire::Reason why, std::int64_t now)
{
    drop(why);
    if (link_ == Link::kUp)
        begin(now);
}

void Conversation::drop(wire::Reason why)
{
    outgoing_.outbox.forget();
    if (std::exchange(outgoing_.established, false))
        listener_.over(why);
}

void Conversation::send_hello(std::int64_t now)
{
    outgoing_.outbox.control(handshake_.resend());
    hello_at_ = now + kHelloInterval;
}

void Conversation::receive(const wire::Message &message, std::int64_t now)
{
    if (const auto *hello = std::get_if<wire::Hello>(&message))
        return receive(*hello, now);
    if (!established())
        return;
    const auto *ping = std::get_if<wire::Ping>(&message);
    if (!ping)
        listener_.message(message, now);
    else if (outgoing_.outbox.control_bytes() < kMostControl)
        outgoing_.outbox.control(wire::Pong{ping->id, ping->sent, static_cast<std::uint64_t>(now),
                                            static_cast<std::uint64_t>(monotonic_now())});
}

void Conversation::receive(const wire::Hello &hello, std::int64_t now)
{
    wire::Handshake::Outcome outcome = handshake_.receive(hello);
    if (outcome.reset)
        drop(wire::Reason::kShuttingDown);
    if (outcome.reply)
        send_hello(now);
    if (outcome.incompatible)
        listener_.notice("the client (" + hello.name
                         + ") speaks no version of the protocol that this program does; waiting for another");
    if (!outcome.established)
        return;
    if (std::exchange(had_conversation_, true))
        counters_.reconnects++;
    outgoing_.established = true;
    listener_.established(hello);
}

// ---- the port

Status Conversation::open(std::int64_t now)
{
    auto path = find_port(options_.port); // anew each time: a port that was plugged in again is another device
    if (!path)
        return path.error();
    auto port = Port::open(path.value());
    if (!port)
        return port.error();
    link_up(std::move(port).value(), now);
    return Success{};
}

bool Conversation::retry(std::int64_t now)
{
    if (link_ != Link::kLost)
        return true;
    retry_at_ = options_.retry_interval > 0 ? now + options_.retry_interval : -1;
    return open(now).ok();
}

void Conversation::link_up(Port port, std::int64_t now)
{
    port_.emplace(std::move(port));
    link_ = Link::kUp;
    begin(now);
}

void Conversation::link_failed(Port::Outcome outcome, std::int64_t now)
{
    bool lost = outcome == Port::Outcome::kLost;
    link_ = lost ? Link::kLost : Link::kAbsent;
    write_blocked_ = more_to_write_ = false;
    blocked_since_ = mid_message_since_ = -1;
    drop(wire::Reason::kNoClient);
    outgoing_.outbox.clear();
    if (lost) {
        counters_.port_losses++;
        listener_.notice(options_.port + ": the port is gone; trying to open it again");
        absent_watch_.reset();
        port_.reset();
        retry_at_ = options_.retry_interval > 0 ? now + options_.retry_interval : -1;
    } else {
        watch_absent_port();
        look_for_client(now);
    }
}

/// poll() never sleeps on a virtio port with nobody behind it, but the kernel wakes those who sleep on it when somebody
/// comes: that edge is all that an edge-triggered epoll reports.
void Conversation::watch_absent_port()
{
    absent_watch_.reset(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{EPOLLIN | EPOLLOUT | EPOLLET, {}};
    if (absent_watch_.valid() && epoll_ctl(absent_watch_.get(), EPOLL_CTL_ADD, port_->fd(), &event) != 0)
        absent_watch_.reset();
}

void Conversation::look_for_client(std::int64_t now)
{
    // The edge is taken before the look, or one in between would be lost.
    epoll_event event;
    if (absent_watch_.valid())
        epoll_wait(absent_watch_.get(), &event, 1, 0);
    else
        retry_at_ = now + kAbsentInterval;
    std::uint8_t byte;
    std::size_t bytes = 0;
    Port::Outcome outcome = port_->read({&byte, 1}, bytes);
    if (outcome == Port::Outcome::kAbsent)
        return;
    absent_watch_.reset();
    if (outcome == Port::Outcome::kLost)
        return link_failed(outcome, now);
    link_ = Link::kUp;
    begin(now); // a byte that was read belongs to a HELLO, which will be repeated
}

void Conversation::read(std::int64_t now)
{
    std::array<std::uint8_t, 4096> buffer;
    std::size_t bytes = 0;
    Port::Outcome outcome = port_->read(buffer, bytes);
    if (outcome == Port::Outcome::kLater)
        return;
    if (outcome != Port::Outcome::kDone)
        return link_failed(outcome, now);

    bool progress = false;
    deframer_.feed(std::span(buffer).first(bytes), [&](const wire::Message &message) {
        progress = true;
        receive(message, now);
    });
    if (deframer_.state() == wire::Deframer::State::kBroken) {
        counters_.protocol_errors++;
        listener_.notice("the client sent what is not the protocol (" + deframer_.error() + "); beginning anew");
        return begin_anew(wire::Reason::kProtocolError, now);
    }
    if (!deframer_.mid_message())
        mid_message_since_ = -1;
    else if (progress || mid_message_since_ < 0)
        mid_message_since_ = now;
}

void Conversation::write(std::int64_t now)
{
    more_to_write_ = false;
    if (link_ != Link::kUp || write_blocked_)
        return;
    auto more = [this](std::vector<std::uint8_t> &out) { return established() && listener_.next_data(out); };
    std::size_t budget = kWriteBudget;
    for (;;) {
        auto data = outgoing_.outbox.front(more);
        if (data.empty())
            return;
        std::size_t bytes = 0;
        Port::Outcome outcome = port_->write(data, bytes);
        if (outcome == Port::Outcome::kLost)
            return link_failed(outcome, now);
        if (outcome != Port::Outcome::kDone) {
            write_blocked_ = true;
            if (blocked_since_ < 0)
                blocked_since_ = now;
            return;
        }
        blocked_since_ = -1;
        outgoing_.outbox.wrote(bytes);
        counters_.wire_bytes += bytes;
        if (bytes >= budget) {
            more_to_write_ = true;
            return;
        }
        budget -= bytes;
    }
}

void Conversation::drain(std::int64_t until)
{
    for (std::int64_t now = monotonic_now(); now < until && link_ == Link::kUp; now = monotonic_now()) {
        write(now);
        if (!write_blocked_ && !more_to_write_)
            return;
        pollfd fd{port_ ? port_->fd() : -1, POLLOUT, 0};
        if (write_blocked_ && poll(&fd, 1, static_cast<int>((until - now) / 1'000'000)) <= 0)
            return;
        write_blocked_ = false;
    }
}

// ---- the owner's loop

int Conversation::fd() const
{
    // A port without anybody behind it would wake its owner for ever.
    return link_ == Link::kUp ? port_->fd() : absent_watch_.get();
}

short Conversation::events() const
{
    return static_cast<short>(POLLIN | (link_ == Link::kUp && write_blocked_ ? POLLOUT : 0));
}

void Conversation::ready(short revents, std::int64_t now)
{
    if (link_ == Link::kAbsent && revents)
        return look_for_client(now);
    if (link_ != Link::kUp)
        return;
    if (revents & (POLLOUT | POLLHUP | POLLERR))
        write_blocked_ = false;
    if (revents & (POLLIN | POLLHUP | POLLERR))
        read(now);
}

void Conversation::tick(std::int64_t now)
{
    if (link_ != Link::kUp) {
        if (retry_at_ >= 0 && now >= retry_at_) {
            if (link_ == Link::kLost)
                retry(now);
            else
                look_for_client(now);
        }
        return;
    }
    if (mid_message_since_ >= 0 && now - mid_message_since_ >= kMessageLimit) {
        counters_.protocol_errors++;
        begin_anew(wire::Reason::kProtocolError, now);
    }
    if (options_.write_limit > 0 && blocked_since_ >= 0 && established()
        && now - blocked_since_ >= options_.write_limit) {
        counters_.stalls++;
        listener_.notice(options_.port + ": the port takes nothing any more; beginning anew when it does");
        begin_anew(wire::Reason::kLinkTooSlow, now);
    }
    bool ask = !handshake_.established() && !handshake_.incompatible() && !write_blocked_;
    if (ask && now >= hello_at_) {
        if (outgoing_.outbox.has_control())
            hello_at_ = now + kHelloInterval; // the one before has not gone yet
        else
            send_hello(now);
    }
}

std::int64_t Conversation::deadline() const
{
    std::int64_t soonest = INT64_MAX;
    auto at = [&](std::int64_t when) { soonest = std::min(soonest, when); };
    if (link_ != Link::kUp) {
        bool timer = link_ == Link::kLost || !absent_watch_.valid();
        return timer ? retry_at_ : -1;
    }
    if (!handshake_.established() && !handshake_.incompatible() && !write_blocked_)
        at(hello_at_);
    if (mid_message_since_ >= 0)
        at(mid_message_since_ + kMessageLimit);
    if (options_.write_limit > 0 && blocked_since_ >= 0 && established())
        at(blocked_since_ + options_.write_limit);
    return soonest == INT64_MAX ? -1 : soonest;
}

} // namespace spice_overlay::guest
