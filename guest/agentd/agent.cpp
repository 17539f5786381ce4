// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent.h"

#include "log.h"
#include "portclient/base/clock.h"
#include "statistics.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace spice_overlay::guest {
namespace {

using wire::Reason;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kMostPlayers = 32;
constexpr std::size_t kMostPlayersOfUser = 16;
constexpr std::int64_t kHelloLimit = 5 * kSecond; ///< for a player to say what it is
constexpr std::int64_t kSessionLimit = kSecond;   ///< for logind to say whose player it is
constexpr std::int64_t kFlushLimit = kSecond / 2; ///< for the last messages at the end of the program
constexpr std::int64_t kWriteLimit = 3 * kSecond; ///< for the port to take something
constexpr std::int64_t kRetryInterval = kSecond / 2;
constexpr std::int64_t kPortRetryInterval = kSecond / 5; ///< after something has come that may become the port
constexpr int kPortRetries = 5;
constexpr std::int64_t kDeviceRetryInterval =
    30 * kSecond; ///< a device's coming is seen without: this is for a busy one

/// In devtmpfs a device's coming is an event, and so is its being given to our group.
std::string watched_directory(const std::string &port)
{
    if (port.find('/') == std::string::npos)
        return "/dev";
    std::string directory = port.substr(0, port.rfind('/'));
    return directory.starts_with("/dev") ? directory : std::string();
}

} // namespace

Agent::Agent(Options options)
    : options_(std::move(options)),
      conversation_({.port = options_.port,
                     .name = "spice-overlay-agentd " SPICE_OVERLAY_VERSION,
                     .retry_interval = watched_directory(options_.port).empty() ? kRetryInterval : kDeviceRetryInterval,
                     .write_limit = kWriteLimit},
                    *this),
      relay_(conversation_.outgoing(), options_.limits, [](const std::string &text) { log(Level::kInfo, text); })
{
}

Agent::~Agent() = default;

Status Agent::open()
{
    std::int64_t now = now_ = monotonic_now();
    Status status = conversation_.open(now);
    if (status)
        return status;
    auto path = find_port(options_.port);
    if (path && access(path.value().c_str(), F_OK) == 0)
        return status; // it is there, and yet it cannot be opened
    log(Level::kWarning, status.error().message + "; waiting for it");
    (void)conversation_.retry(now);
    watch_for_port();
    return Success{};
}

Status Agent::run(int signal_fd)
{
    while (!stopping_) {
        std::int64_t now = now_ = monotonic_now();
        tick(now);
        relay_.update(now);
        conversation_.write(now);
        if (!conversation_.more_to_write()) {
            relay_.settle(now);
            conversation_.write(now);
        }
        for (auto &[id, player] : players_)
            write(player);
        forget_gone_players();
        if (!sessions_status_)
            break;
        wait(signal_fd, conversation_.more_to_write() ? now : next_wake());
    }
    stop();
    return sessions_status_;
}

void Agent::tick(std::int64_t now)
{
    conversation_.tick(now);
    if (port_retry_at_ >= 0 && now >= port_retry_at_)
        retry_port(now);
    if (relay_.stalled(now)) {
        log(Level::kWarning, "the client reads nothing any more; beginning anew when it does");
        conversation_.begin_anew(Reason::kLinkTooSlow, now);
    }
    if (sessions_status_)
        sessions_status_ = options_.sessions->dispatch();
    follow_sessions();
    for (auto &[id, player] : players_) {
        player.heard = player.heard || options_.sessions->known(id) || now >= player.since + kSessionLimit;
        player.relayed->tick(now);
        bool silent = !player.relayed->introduced() && now >= player.since + kHelloLimit;
        if (silent || player.relayed->hopeless()) {
            log(Level::kWarning, player.relayed->name()
                                     + (silent ? ": connected and does not speak the protocol; disconnected"
                                               : ": does not read what it is sent; disconnected"));
            player.gone = true;
        }
    }
}

std::int64_t Agent::next_wake() const
{
    std::int64_t soonest = INT64_MAX;
    auto at = [&](std::int64_t when) {
        if (when >= 0)
            soonest = std::min(soonest, when);
    };
    at(conversation_.deadline());
    at(relay_.deadline());
    at(port_retry_at_);
    at(options_.sessions->deadline());
    for (const auto &[id, player] : players_) {
        at(player.relayed->deadline());
        if (!player.heard)
            at(player.since + kSessionLimit);
        if (!player.relayed->introduced())
            at(player.since + kHelloLimit);
    }
    return soonest == INT64_MAX ? -1 : soonest;
}

/// Sleeps until something happens or `until`, and takes in what came. Negative: until something happens.
void Agent::wait(int signal_fd, std::int64_t until)
{
    enum { kSignals, kListener, kPort, kPortWatch, kSessions, kPlayers };
    bool full = players_.size() > kMostPlayers;
    std::vector<pollfd> fds(kPlayers);
    fds[kSignals] = {signal_fd, POLLIN, 0};
    fds[kListener] = {full ? -1 : options_.listener.get(), POLLIN, 0};
    fds[kPort] = {conversation_.fd(), conversation_.events(), 0};
    fds[kPortWatch] = {port_watch_.get(), POLLIN, 0};
    fds[kSessions] = {options_.sessions->fd(), options_.sessions->events(), 0};
    for (auto &[id, player] : players_) {
        int events = (player.heard && player.relayed->throttled_until() < 0 ? POLLIN : 0)
                     | (player.relayed->output().empty() ? 0 : POLLOUT);
        fds.push_back({player.fd.get(), static_cast<short>(events), 0});
    }

    timespec timeout{};
    if (until >= 0) {
        std::int64_t left = std::max<std::int64_t>(until - monotonic_now(), 0);
        timeout = {left / kSecond, left % kSecond};
    }
    if (ppoll(fds.data(), fds.size(), until >= 0 ? &timeout : nullptr, nullptr) < 0)
        return;
    std::int64_t now = now_ = monotonic_now();
    if (fds[kSignals].revents)
        take_signals(signal_fd);
    conversation_.ready(fds[kPort].revents, now);
    if (fds[kPortWatch].revents)
        port_directory_changed(now);
    if (conversation_.link() == Conversation::Link::kLost && !port_watch_.valid())
        watch_for_port();
    std::size_t at = kPlayers;
    for (auto &[id, player] : players_)
        if (fds[at++].revents & (POLLIN | POLLHUP | POLLERR))
            read(player, now);
    if (fds[kListener].revents)
        accept(now);
}

void Agent::take_signals(int signal_fd)
{
    signalfd_siginfo info;
    while (::read(signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            write_statistics();
        else
            stopping_ = true;
    }
}

void Agent::stop()
{
    std::int64_t now = now_ = monotonic_now();
    for (auto &[id, player] : players_)
        player.relayed->hold(Reason::kShuttingDown);
    relay_.update(now);
    for (auto &[id, player] : players_)
        write(player);
    conversation_.drain(now + kFlushLimit);
    if (!options_.stats.empty())
        write_statistics();
}

// ---- the client

void Agent::established(const wire::Hello &peer)
{
    relay_.established(peer);
}

void Agent::over(Reason why)
{
    relay_.over(why);
}

void Agent::message(const wire::Message &message, std::int64_t now)
{
    relay_.message(message, now);
}

bool Agent::next_data(std::vector<std::uint8_t> &out)
{
    return relay_.next_data(out, now_);
}

void Agent::notice(const std::string &text)
{
    log(Level::kWarning, text);
}

// ---- the port's coming

void Agent::watch_for_port()
{
    std::string directory = watched_directory(options_.port);
    if (directory.empty())
        return;
    port_watch_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (port_watch_.valid()
        && inotify_add_watch(port_watch_.get(), directory.c_str(), IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0)
        inotify_add_watch(port_watch_.get(), "/dev", IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
    // It may have come before the watch.
    port_directory_changed(now_);
}

void Agent::port_directory_changed(std::int64_t now)
{
    std::array<char, 4096> events;
    while (::read(port_watch_.get(), events.data(), events.size()) > 0) {
    }
    port_retries_left_ = kPortRetries;
    retry_port(now);
}

/// A virtio port's device comes before its name, and without udev nothing more happens in /dev then.
void Agent::retry_port(std::int64_t now)
{
    port_retry_at_ = -1;
    if (!conversation_.retry(now)) {
        if (port_retries_left_-- > 0)
            port_retry_at_ = now + kPortRetryInterval;
        return;
    }
    port_watch_.reset();
    log(Level::kInfo, options_.port + ": the port is there");
}

// ---- the players

void Agent::accept(std::int64_t now)
{
    UniqueFd fd(accept4(options_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    ucred who{};
    socklen_t size = sizeof who;
    if (!fd.valid() || getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return;
    auto of_user =
        std::count_if(players_.begin(), players_.end(), [&](const auto &entry) { return entry.second.uid == who.uid; });
    std::string name = "process " + std::to_string(who.pid) + " of user " + std::to_string(who.uid);
    if (players_.size() >= kMostPlayers || static_cast<std::size_t>(of_user) >= kMostPlayersOfUser) {
        if (turned_away_++ % 1000 == 0)
            log(Level::kWarning, name + ": turned away: too many players are connected");
        return;
    }
    int id = next_player_++;
    Player &player = players_[id];
    player.fd = std::move(fd);
    player.uid = who.uid;
    player.since = now;
    player.relayed = std::make_unique<RelayedPlayer>(relay_, name, now, fresh_nonce());
    options_.sessions->add(id, who.uid, who.pid);
    player.relayed->hold(options_.sessions->may_show(id) ? Reason::kNone : Reason::kSessionInactive);
}

void Agent::read(Player &player, std::int64_t now)
{
    static std::array<std::uint8_t, 64 * 1024> buffer;
    ssize_t got = recv(player.fd.get(), buffer.data(), buffer.size(), 0);
    if (got > 0)
        player.relayed->feed(std::span(buffer).first(static_cast<std::size_t>(got)), now);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        player.gone = true;
}

void Agent::write(Player &player)
{
    std::vector<std::uint8_t> &output = player.relayed->output();
    while (!output.empty() && !player.gone) {
        ssize_t put = send(player.fd.get(), output.data(), output.size(), MSG_NOSIGNAL);
        if (put <= 0) {
            player.gone = errno != EAGAIN && errno != EINTR;
            return;
        }
        output.erase(output.begin(), output.begin() + put);
    }
}

void Agent::forget_gone_players()
{
    for (auto player = players_.begin(); player != players_.end();) {
        if (!player->second.gone) {
            ++player;
            continue;
        }
        player->second.relayed->disconnect(now_);
        options_.sessions->remove(player->first);
        player = players_.erase(player);
    }
    // What they had at the client is closed without waiting for something to happen.
    conversation_.write(now_);
}

void Agent::follow_sessions()
{
    for (auto &[id, player] : players_) {
        Reason hold = options_.sessions->may_show(id) ? Reason::kNone : Reason::kSessionInactive;
        if (hold != player.relayed->session_hold())
            player.relayed->hold(hold);
    }
}

// ---- figures

std::string Agent::statistics() const
{
    return statistics_json(relay_, conversation_.counters(), players_.size());
}

void Agent::write_statistics() const
{
    std::string text = statistics();
    if (options_.stats.empty()) {
        log(Level::kWarning, text);
        return;
    }
    std::string scratch = options_.stats + ".new";
    std::FILE *file = std::fopen(scratch.c_str(), "we");
    bool written = file && std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (file && std::fclose(file) != 0)
        written = false;
    if (!written || std::rename(scratch.c_str(), options_.stats.c_str()) != 0)
        log(Level::kError, options_.stats + ": cannot write the figures: " + std::strerror(errno));
}

} // namespace spice_overlay::guest
