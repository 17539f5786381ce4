// SPDX-License-Identifier: LGPL-2.1-or-later
#include "player.h"

#include "portclient/base/clock.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kReportInterval = kSecond / 2;
constexpr std::int64_t kFlushLimit = kSecond / 2; ///< for the last messages at the end of the program
constexpr int kMostFeedErrors = 10;               ///< shown; the rest is not news

} // namespace

Player::Player(Options options)
    : options_(std::move(options)),
      conversation_({.port = options_.port, .name = "spice-overlay-play " SPICE_OVERLAY_VERSION}, *this),
      had_geometry_(options_.geometry.has_value())
{
}

void Player::add(std::string name, std::unique_ptr<UnitSource> source, std::optional<wire::Rect> place)
{
    Track &track = tracks_.emplace_back(std::move(name), std::move(source), conversation_.outgoing(), options_.loop);
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
    return conversation_.open(monotonic_now());
}

Player::End Player::run(int signal_fd)
{
    if (!options_.geometry)
        for (Track &track : tracks_)
            track.open();
    for (;;) {
        std::int64_t now = monotonic_now();
        tick(now);
        conversation_.write(now);
        if (!conversation_.more_to_write())
            for (Track &track : tracks_)
                track.settle(now);
        if (auto end = finished()) {
            stop(wire::Reason::kEndOfStream);
            return *end;
        }
        report(now);
        wait(signal_fd, conversation_.more_to_write() ? now : next_wake(now));
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
    fds[1] = {conversation_.fd(), conversation_.events(), 0};
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
    conversation_.ready(fds[1].revents, now);
}

// ---- the conversation

void Player::established(const wire::Hello &)
{
    for (Track &track : tracks_)
        track.connected();
}

void Player::over(wire::Reason)
{
    for (Track &track : tracks_)
        track.disconnected();
}

void Player::message(const wire::Message &message, std::int64_t now)
{
    std::visit([&](const auto &m) { take(m, now); }, message);
}

bool Player::next_data(std::vector<std::uint8_t> &out)
{
    for (std::size_t i = 0; i < tracks_.size(); i++) {
        std::size_t at = (next_track_ + i) % tracks_.size();
        if (tracks_[at].next_message(out)) {
            next_track_ = at + 1;
            return true;
        }
    }
    return false;
}

template <typename M>
void Player::take(const M &m, std::int64_t now)
{
    if constexpr (requires { m.stream; }) {
        Track *track = find(m.stream);
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
    conversation_.tick(now);
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
    if (std::int64_t when = conversation_.deadline(); when >= 0)
        soonest = when;
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
    if (had_geometry_ && conversation_.link() == Conversation::Link::kLost)
        return End::kFailed;
    return {};
}

/// Closes what is open and gives the last messages a moment to leave.
void Player::stop(wire::Reason reason)
{
    for (Track &track : tracks_)
        track.close(reason);
    conversation_.drain(monotonic_now() + kFlushLimit);
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
    const char *state = conversation_.link() == Conversation::Link::kLost ? "no port"
                        : !conversation_.established()                    ? "no client"
                        : !shown                                          ? "nothing open"
                        : shown->paused()                                 ? "paused"
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
