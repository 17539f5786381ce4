// SPDX-License-Identifier: LGPL-2.1-or-later
#include "player.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kRetryInterval = kSecond / 2;
constexpr std::int64_t kHelloInterval = kSecond;
constexpr std::int64_t kMessageLimit = 10 * kSecond; ///< for a message to become whole
constexpr std::int64_t kReportInterval = kSecond / 2;
constexpr std::int64_t kFlushLimit = kSecond / 2; ///< for the last messages at the end of the program
constexpr std::size_t kWriteBudget = 256 * 1024;  ///< bytes until geometry and signals get their turn
constexpr int kMostFeedErrors = 10;               ///< shown; the rest is not news

wire::Hello our_hello()
{
    wire::Hello hello;
    hello.role = wire::Role::kGuest;
    hello.name = "spice-overlay-play " SPICE_OVERLAY_VERSION;
    return hello;
}

} // namespace

Player::Player(Options options)
    : options_(std::move(options)), handshake_(our_hello()), had_geometry_(options_.geometry.has_value())
{
}

void Player::add(std::string name, std::unique_ptr<UnitSource> source, std::optional<wire::Rect> place)
{
    Track &track = tracks_.emplace_back(std::move(name), std::move(source), conversation_, options_.loop);
    complained_.push_back(false);
    if (!place)
        return;
    wire::Geometry geometry;
    geometry.target = *place;
    geometry.visible = {*place};
    track.place(std::move(geometry));
}

Status Player::open()
{
    auto port = Port::open(options_.port);
    if (!port)
        return port.error();
    port_.emplace(std::move(port.value()));
    link_ = Link::kUp;
    return Success{};
}

Player::End Player::run(int signal_fd)
{
    if (!options_.geometry)
        for (Track &track : tracks_)
            track.open();
    begin_conversation(monotonic_now());
    for (;;) {
        std::int64_t now = monotonic_now();
        tick(now);
        write_port(now);
        if (!more_to_write_)
            for (Track &track : tracks_)
                track.settle(now);
        if (auto end = finished()) {
            stop(wire::Reason::kEndOfStream);
            return *end;
        }
        report(now);
        wait(signal_fd, more_to_write_ ? now : next_wake(now));
        if (stopping_) {
            stop(wire::Reason::kClosedByUser);
            return End::kDone;
        }
    }
}

/// Sleeps until something happens or `until`, and takes in what came. Negative: until something happens.
void Player::wait(int signal_fd, std::int64_t until)
{
    std::array<pollfd, 3> fds{};
    fds[0] = {signal_fd, POLLIN, 0};
    // A port without anybody behind it would wake us for ever: it waits for the timer.
    if (link_ == Link::kUp)
        fds[1] = {port_->fd(), static_cast<short>(POLLIN | (write_blocked_ ? POLLOUT : 0)), 0};
    else
        fds[1].fd = -1;
    fds[2] = {options_.geometry ? options_.geometry->get() : -1, POLLIN, 0};

    timespec timeout{};
    if (until >= 0) {
        std::int64_t left = std::max<std::int64_t>(until - monotonic_now(), 0);
        timeout = {left / kSecond, left % kSecond};
    }
    if (ppoll(fds.data(), fds.size(), until >= 0 ? &timeout : nullptr, nullptr) < 0)
        return;
    std::int64_t now = monotonic_now();
    if (fds[0].revents)
        stopping_ = true;
    if (fds[2].revents)
        read_geometry(now);
    if (fds[1].revents & (POLLOUT | POLLHUP | POLLERR))
        write_blocked_ = false;
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        read_port(now);
}

// ---- the conversation

void Player::begin_conversation(std::int64_t now)
{
    drop_conversation();
    std::uint64_t nonce = fresh_nonce();
    deframer_.reset(nonce);
    mid_message_since_ = -1;
    conversation_.outbox.control(handshake_.start(nonce));
    hello_at_ = now + kHelloInterval;
}

void Player::drop_conversation()
{
    conversation_.established = false;
    conversation_.outbox.forget();
    for (Track &track : tracks_)
        track.disconnected();
}

void Player::send_hello(std::int64_t now)
{
    conversation_.outbox.control(handshake_.resend());
    hello_at_ = now + kHelloInterval;
}

void Player::take(const wire::Hello &hello, std::int64_t now)
{
    wire::Handshake::Outcome outcome = handshake_.receive(hello);
    if (outcome.reset)
        drop_conversation();
    if (outcome.reply)
        send_hello(now);
    if (outcome.incompatible)
        say("the client (" + hello.name
            + ") speaks no version of the protocol that this program does; waiting for another");
    if (!outcome.established)
        return;
    if (std::exchange(had_conversation_, true))
        counters_.reconnects++;
    conversation_.established = true;
    for (Track &track : tracks_)
        track.connected();
}

void Player::receive(const wire::Message &message, std::int64_t now)
{
    std::visit([&](const auto &m) { take(m, now); }, message);
}

void Player::take(const wire::Ping &ping, std::int64_t now)
{
    if (conversation_.established)
        conversation_.outbox.control(wire::Pong{ping.id, ping.sent, static_cast<std::uint64_t>(now),
                                                static_cast<std::uint64_t>(monotonic_now())});
}

template <typename M>
void Player::take(const M &m, std::int64_t now)
{
    if constexpr (requires { m.stream; }) {
        Track *track = conversation_.established ? find(m.stream) : nullptr;
        if (!track)
            return; // the stream is over, or never was
        if constexpr (std::is_same_v<M, wire::StreamReject>)
            refuse(*track, "redirect refused", m.reason);
        else if constexpr (std::is_same_v<M, wire::StreamClose>)
            refuse(*track, "redirect ended by the client", m.reason);
        else if constexpr (std::is_same_v<M, wire::Credit>)
            track->credit(m, now);
        else if constexpr (std::is_same_v<M, wire::Feedback>)
            track->feedback(m);
        else if constexpr (std::is_same_v<M, wire::NeedKey>)
            track->need_key(now);
    }
}

void Player::refuse(Track &track, const char *what, wire::Reason reason)
{
    say(track.name() + ": " + what + ": " + wire::describe(reason));
    track.refused(reason);
}

Track *Player::find(std::uint32_t stream)
{
    auto found = std::find_if(tracks_.begin(), tracks_.end(), [&](Track &t) { return stream && t.stream() == stream; });
    return found == tracks_.end() ? nullptr : &*found;
}

// ---- the port

void Player::link_failed(Port::Outcome outcome, std::int64_t now)
{
    bool lost = outcome == Port::Outcome::kLost;
    if (lost && link_ != Link::kLost) {
        counters_.port_losses++;
        say(options_.port + ": the port is gone; trying to open it again");
    }
    link_ = lost ? Link::kLost : Link::kAbsent;
    retry_at_ = now + kRetryInterval;
    drop_conversation();
    conversation_.outbox.clear();
    write_blocked_ = more_to_write_ = false;
    if (lost)
        port_.reset();
}

void Player::retry_link(std::int64_t now)
{
    retry_at_ = now + kRetryInterval;
    if (link_ == Link::kLost) {
        auto port = Port::open(options_.port);
        if (!port)
            return;
        port_.emplace(std::move(port.value()));
        link_ = Link::kUp;
        begin_conversation(now);
    } else {
        std::uint8_t byte;
        std::size_t bytes = 0;
        Port::Outcome outcome = port_->read({&byte, 1}, bytes);
        if (outcome == Port::Outcome::kLost)
            return link_failed(outcome, now);
        if (outcome == Port::Outcome::kAbsent)
            return;
        link_ = Link::kUp;
        begin_conversation(now); // a byte that was read belongs to a HELLO, which will be repeated
    }
}

void Player::read_port(std::int64_t now)
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
        say("the client sent what is not the protocol (" + deframer_.error() + "); beginning anew");
        return begin_conversation(now);
    }
    if (!deframer_.mid_message())
        mid_message_since_ = -1;
    else if (progress || mid_message_since_ < 0)
        mid_message_since_ = now;
}

void Player::write_port(std::int64_t now)
{
    more_to_write_ = false;
    if (link_ != Link::kUp || write_blocked_)
        return;
    auto more = [this](std::vector<std::uint8_t> &out) {
        for (std::size_t i = 0; i < tracks_.size(); i++) {
            std::size_t at = (next_track_ + i) % tracks_.size();
            if (tracks_[at].next_message(out)) {
                next_track_ = at + 1;
                return true;
            }
        }
        return false;
    };
    std::size_t budget = kWriteBudget;
    for (;;) {
        auto data = conversation_.outbox.front(more);
        if (data.empty())
            return;
        std::size_t bytes = 0;
        Port::Outcome outcome = port_->write(data, bytes);
        if (outcome == Port::Outcome::kLost)
            return link_failed(outcome, now);
        if (outcome != Port::Outcome::kDone) {
            write_blocked_ = true;
            return;
        }
        conversation_.outbox.wrote(bytes);
        counters_.wire_bytes += bytes;
        if (bytes >= budget) {
            more_to_write_ = true;
            return;
        }
        budget -= bytes;
    }
}

// ---- the geometry socket

void Player::read_geometry(std::int64_t now)
{
    std::array<char, 4096> buffer;
    ssize_t got = ::read(options_.geometry->get(), buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        options_.geometry.reset();
        return;
    }
    std::size_t before = lines_.left_out();
    lines_.feed(std::span(buffer).first(static_cast<std::size_t>(got)),
                [&](std::string_view line) { feed_line(line, now); });
    if (lines_.left_out() != before && feed_errors_++ < kMostFeedErrors)
        say("geometry: a line of more than 16 KiB was left out");
}

void Player::feed_line(std::string_view line, std::int64_t now)
{
    auto event = parse_feed_line(line, tracks_.size());
    if (!event) {
        if (feed_errors_++ < kMostFeedErrors)
            say("geometry: a line was left out: " + event.error().message);
        return;
    }
    std::visit(
        [&](auto &e) {
            using Event = std::decay_t<decltype(e)>;
            Track &track = tracks_[e.index - 1];
            if constexpr (std::is_same_v<Event, FeedGeometry>)
                track.place(std::move(e.geometry));
            else if constexpr (std::is_same_v<Event, FeedOpen>)
                track.open();
            else if constexpr (std::is_same_v<Event, FeedClose>)
                track.close(wire::Reason::kClosedByUser);
            else if constexpr (std::is_same_v<Event, FeedPause>)
                track.pause(now);
            else if constexpr (std::is_same_v<Event, FeedResume>)
                track.resume(now);
            else
                track.seek(e.position, now);
        },
        event.value());
}

// ---- time

void Player::tick(std::int64_t now)
{
    if (link_ != Link::kUp && now >= retry_at_)
        retry_link(now);
    if (link_ == Link::kUp && mid_message_since_ >= 0 && now - mid_message_since_ >= kMessageLimit) {
        counters_.protocol_errors++;
        begin_conversation(now);
    }
    bool ask = link_ == Link::kUp && !handshake_.established() && !handshake_.incompatible();
    if (ask && now >= hello_at_) {
        if (conversation_.outbox.has_control())
            hello_at_ = now + kHelloInterval; // the one before has not gone yet
        else
            send_hello(now);
    }
    for (std::size_t i = 0; i < tracks_.size(); i++) {
        Track &track = tracks_[i];
        track.tick(now);
        if (std::string complaint = track.source().complaint(); !complaint.empty() && !complained_[i]) {
            complained_[i] = true;
            say(track.name() + ": " + complaint);
        }
    }
}

std::int64_t Player::next_wake(std::int64_t now) const
{
    std::int64_t soonest = INT64_MAX;
    if (link_ != Link::kUp)
        soonest = retry_at_;
    else if (!handshake_.established() && !handshake_.incompatible())
        soonest = hello_at_;
    if (link_ == Link::kUp && mid_message_since_ >= 0)
        soonest = std::min(soonest, mid_message_since_ + kMessageLimit);
    for (const Track &track : tracks_)
        if (std::int64_t when = track.deadline(now); when >= 0)
            soonest = std::min(soonest, when);
    if (options_.status_line && playing())
        soonest = std::min(soonest, report_at_);
    return soonest == INT64_MAX ? -1 : soonest;
}

bool Player::playing() const
{
    return std::any_of(tracks_.begin(), tracks_.end(),
                       [](const Track &t) { return t.wanted() && !t.paused() && t.streaming(); });
}

std::optional<Player::End> Player::finished() const
{
    auto refused = [](const Track &t) { return t.was_refused(); };
    if (std::all_of(tracks_.begin(), tracks_.end(), refused))
        return End::kRefused;
    if (options_.geometry)
        return {};
    if (std::all_of(tracks_.begin(), tracks_.end(), [&](const Track &t) { return !t.wanted() || refused(t); }))
        return End::kDone;
    // Whoever served the geometry has gone, and the port with it: the desktop is no more.
    if (had_geometry_ && link_ == Link::kLost)
        return End::kFailed;
    return {};
}

/// Closes what is open and gives the last messages a moment to leave.
void Player::stop(wire::Reason reason)
{
    for (Track &track : tracks_)
        track.close(reason);
    std::int64_t limit = monotonic_now() + kFlushLimit;
    for (std::int64_t now = monotonic_now(); now < limit && link_ == Link::kUp; now = monotonic_now()) {
        write_port(now);
        if (!write_blocked_ && !more_to_write_)
            break;
        pollfd fd{port_ ? port_->fd() : -1, POLLOUT, 0};
        if (write_blocked_ && poll(&fd, 1, static_cast<int>((limit - now) / 1'000'000)) <= 0)
            break;
        write_blocked_ = false;
    }
    if (line_shown_)
        std::fputc('\n', stderr);
}

// ---- what a person sees

void Player::say(const std::string &text)
{
    std::fprintf(stderr, "%sspice-overlay-play: %s\n", line_shown_ ? "\r\033[K" : "", text.c_str());
    line_shown_ = false;
}

void Player::report(std::int64_t now)
{
    bool change = std::exchange(reported_playing_, playing()) != playing();
    if (!options_.status_line || (now < report_at_ && !change))
        return;
    std::uint64_t units = 0, bytes = 0, dropped = 0, credit_bytes = 0;
    std::uint32_t credit_units = 0;
    const Track *shown = nullptr;
    for (const Track &track : tracks_) {
        Track::Totals totals = track.totals();
        units += totals.sent.sent;
        bytes += totals.sent.bytes;
        dropped += totals.sent.dropped;
        if (const StreamSender *sender = track.sender()) {
            credit_bytes += sender->bytes_left();
            credit_units += sender->units_left();
        }
        if (!shown && track.wanted())
            shown = &track;
    }
    const char *state = link_ == Link::kLost         ? "no port"
                        : !conversation_.established ? "no client"
                        : !shown                     ? "nothing open"
                        : shown->paused()            ? "paused"
                                                     : "playing";
    double seconds = static_cast<double>(std::max<std::int64_t>(now - reported_at_, 1)) / kSecond;
    double position = shown ? static_cast<double>(std::max<std::int64_t>(shown->position(now), 0)) / kSecond : 0;
    std::fprintf(stderr, "\r\033[K%8.1f s  %-9s %5.1f frames/s %6.2f Mbit/s  credit %llu KiB, %u frames  dropped %llu",
                 position, state, static_cast<double>(units - reported_units_) / seconds,
                 static_cast<double>(bytes - reported_bytes_) * 8 / 1e6 / seconds,
                 static_cast<unsigned long long>(credit_bytes / 1024), credit_units,
                 static_cast<unsigned long long>(dropped));
    std::fflush(stderr);
    line_shown_ = true;
    reported_units_ = units;
    reported_bytes_ = bytes;
    reported_at_ = now;
    report_at_ = now + kReportInterval;
}

} // namespace spice_overlay::guest
