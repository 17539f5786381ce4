// SPDX-License-Identifier: LGPL-2.1-or-later
#include "connection.h"

#include "portclient/base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace spice_overlay::guest {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kRetryInterval = kSecond;          ///< while somebody waits for the agent
constexpr std::int64_t kFreshAttempt = 50 * kMillisecond; ///< an attempt is not repeated for who asks again within this
constexpr std::int64_t kWriteLimit = 3 * kSecond;         ///< for the agent to read something
constexpr std::int64_t kDeafLimit = 3 * kSecond;          ///< for the agent to say something while units are left out
constexpr std::int64_t kFinishLimit = kSecond / 2;

Conversation::Options options(std::string socket, std::string name)
{
    Conversation::Options options;
    options.port = std::move(socket);
    options.name = std::move(name);
    options.retry_interval = 0;
    options.write_limit = kWriteLimit;
    return options;
}

wire::Geometry geometry_of(const Placement &placement)
{
    wire::Geometry geometry;
    if (!placement.found)
        return geometry;
    auto rect = [](const Box &box) {
        return wire::Rect{box.x1, box.y1, static_cast<std::uint32_t>(box.width()),
                          static_cast<std::uint32_t>(box.height())};
    };
    geometry.display = placement.display;
    geometry.target = rect(placement.target);
    for (const Box &box : placement.visible.boxes())
        geometry.visible.push_back(rect(box));
    geometry.placeholder = placement.placeholder;
    return geometry;
}

} // namespace

Connection::Connection(std::string socket, std::string name)
    : conversation_(options(std::move(socket), std::move(name)), *this),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      debug_(secure_getenv("SPICE_OVERLAY_DEBUG") != nullptr)
{
    if (!wake_.valid())
        throw std::system_error(errno, std::generic_category());
    // Signals are the program's. SIGPIPE is not: it would be ours.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread_ = std::thread([this] { run(); });
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Connection::~Connection()
{
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
        wake();
    }
    thread_.join();
}

// ---- calls, in any thread

/// With the mutex.
void Connection::wake()
{
    if (std::exchange(woken_, true))
        return;
    std::uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one); // fails only when it is full, which wakes as well
}

std::shared_ptr<PlayerStream> Connection::open(wire::StreamOpen description, const spice_overlay_stream_events &events,
                                               void *data)
{
    auto player = std::make_shared<PlayerStream>(std::move(description), conversation_.outgoing());
    player->events = events;
    player->data = data;
    std::lock_guard lock(mutex_);
    new_streams_.push_back(player);
    wake();
    return player;
}

void Connection::free(const std::shared_ptr<PlayerStream> &player, wire::Reason reason)
{
    std::unique_lock lock(mutex_);
    player->freed = true;
    player->free_reason = reason;
    wake();
    if (!on_own_thread())
        called_back_.wait(lock, [&] { return calling_ != player.get(); });
}

int Connection::submit(PlayerStream &player, Unit unit)
{
    std::lock_guard lock(mutex_);
    std::size_t bytes = player.units_bytes + player.waiting_bytes + unit.data.size();
    if (player.units.size() + player.waiting_units >= kMostWaitingUnits
        || (bytes > kMostWaitingBytes && bytes > unit.data.size())) {
        if (!unit.droppable)
            player.left_out = true;
        return ENOBUFS;
    }
    if (std::exchange(player.left_out, false)) {
        Unit missing;
        missing.pts = unit.pts;
        player.units.push_back(std::move(missing));
    }
    player.units_bytes += unit.data.size();
    player.units.push_back(std::move(unit));
    wake();
    return 0;
}

spice_overlay_reason Connection::state(const PlayerStream &player)
{
    std::lock_guard lock(mutex_);
    return player.state;
}

spice_overlay_reason Connection::check(std::optional<wire::Codec> codec, std::uint32_t width, std::uint32_t height,
                                       int timeout_ms)
{
    std::unique_lock lock(mutex_);
    std::uint64_t seen = attempts_;
    bool stale = answer_.reason == SPICE_OVERLAY_REASON_NO_AGENT && monotonic_now() - attempted_at_ > kFreshAttempt;
    if (stale) {
        attempt_wanted_ = true;
        wake();
    }
    auto answered = [&] { return answer_.reason != SPICE_OVERLAY_REASON_PENDING && (!stale || attempts_ != seen); };
    if (timeout_ms > 0 && !on_own_thread())
        answered_.wait_for(lock, std::chrono::milliseconds(timeout_ms), answered);
    return judge(codec, width, height);
}

/// With the mutex.
spice_overlay_reason Connection::judge(std::optional<wire::Codec> codec, std::uint32_t width,
                                       std::uint32_t height) const
{
    if (answer_.reason != SPICE_OVERLAY_REASON_NONE)
        return answer_.reason;
    if (std::max(width, height) > wire::kMaxCodedSide || std::uint64_t{width} * height > wire::kMaxCodedArea)
        return SPICE_OVERLAY_REASON_TOO_LARGE;
    auto reason = SPICE_OVERLAY_REASON_UNSUPPORTED_CODEC;
    for (const wire::CodecCapability &known : answer_.codecs) {
        if (known.codec != codec)
            continue;
        auto within = [](std::uint32_t side, std::uint32_t limit) { return limit == 0 || side <= limit; };
        if (within(std::max(width, height), std::max(known.max_width, known.max_height))
            && within(std::min(width, height), std::min(known.max_width, known.max_height)))
            return SPICE_OVERLAY_REASON_NONE;
        reason = SPICE_OVERLAY_REASON_TOO_LARGE;
    }
    return reason;
}

void Connection::on_change(void (*changed)(void *), void *data)
{
    std::unique_lock lock(mutex_);
    changed_ = changed;
    changed_data_ = data;
    if (!on_own_thread())
        called_back_.wait(lock, [&] { return calling_ != this; });
    wake();
}

// ---- the conversation

/// A new answer to check().
void Connection::answer(Answer answer)
{
    std::lock_guard lock(mutex_);
    if (answer_ == answer)
        return;
    answer_ = std::move(answer);
    change_to_tell_ = true;
    answered_.notify_all();
}

void Connection::established(const wire::Hello &peer)
{
    relay_ = (peer.capabilities & wire::kRelay) != 0;
    for (auto &player : streams_)
        player->stream.connected(relay_);
    if (!relay_)
        answer({SPICE_OVERLAY_REASON_NONE, peer.codecs});
}

void Connection::over(wire::Reason why)
{
    bool there = why == wire::Reason::kShuttingDown || why == wire::Reason::kProtocolError;
    auto reason = there ? static_cast<spice_overlay_reason>(why) : SPICE_OVERLAY_REASON_NO_AGENT;
    for (auto &player : streams_)
        player->stream.disconnected(reason);
    answer({there ? SPICE_OVERLAY_REASON_PENDING : SPICE_OVERLAY_REASON_NO_AGENT, {}});
}

void Connection::message(const wire::Message &message, std::int64_t now)
{
    if (const auto *client = std::get_if<wire::ClientState>(&message)) {
        if (relay_)
            answer({static_cast<spice_overlay_reason>(client->reason), client->codecs});
        return;
    }
    std::visit(
        [&](const auto &m) {
            if constexpr (requires(Stream & stream) { stream.take(m, now); })
                for (auto &player : streams_)
                    if (player->stream.number() == m.stream)
                        return player->stream.take(m, now);
        },
        message);
}

bool Connection::next_data(std::vector<std::uint8_t> &out)
{
    for (std::size_t i = 0; i < streams_.size(); i++) {
        std::size_t at = (next_stream_ + i) % streams_.size();
        if (streams_[at]->stream.next_message(out)) {
            next_stream_ = at + 1;
            return true;
        }
    }
    return false;
}

void Connection::notice(const std::string &text)
{
    if (debug_)
        std::fprintf(stderr, "libspice-overlay-guest: %s\n", text.c_str());
}

// ---- the thread

void Connection::run()
{
    pthread_setname_np(pthread_self(), "spice-overlay");
    for (;;) {
        std::int64_t now = monotonic_now();
        if (!take_calls(now))
            return finish();
        reach_agent(now);
        conversation_.tick(now);
        work(now);
        publish();
        call_back();
        wait(conversation_.more_to_write() || has_to_tell(now) ? now : next_wake());
    }
}

/// False: the connection is to end.
bool Connection::take_calls(std::int64_t now)
{
    std::lock_guard lock(mutex_);
    woken_ = false;
    for (auto &player : new_streams_) {
        if (conversation_.established())
            player->stream.connected(relay_);
        else if (answer_.reason == SPICE_OVERLAY_REASON_NO_AGENT)
            player->stream.disconnected(answer_.reason);
        streams_.push_back(std::move(player));
    }
    new_streams_.clear();
    for (auto &player : streams_)
        take_calls_for(*player, now);
    return !ending_;
}

/// With the mutex.
void Connection::take_calls_for(PlayerStream &player, std::int64_t now)
{
    if (std::exchange(player.flush, false))
        player.stream.flush(now);
    for (Unit &unit : player.units)
        player.stream.submit(std::move(unit));
    player.units.clear();
    player.units_bytes = 0;
    player.waiting_units = player.stream.units_waiting();
    player.waiting_bytes = player.stream.bytes_waiting();
    player.stream.set_paused(player.paused, now);
    player.stream.set_rate(player.rate);
    if (std::exchange(player.moved, false)) {
        player.following = std::move(player.follower);
        player.stream.place(player.following ? wire::Geometry{} : std::move(player.geometry));
    }
    if (player.freed && !std::exchange(player.closed, true))
        player.stream.close(player.free_reason, now);
}

/// Connects, when there is somebody to whom it matters.
void Connection::reach_agent(std::int64_t now)
{
    if (conversation_.link() != Conversation::Link::kLost) {
        retry_at_ = -1;
        return;
    }
    bool attempt = false;
    {
        std::lock_guard lock(mutex_);
        bool due = attempts_ == 0 || (retry_at_ >= 0 && now >= retry_at_);
        bool cares = !streams_.empty() || changed_;
        retry_at_ = !cares ? -1 : due || retry_at_ < 0 ? now + kRetryInterval : retry_at_;
        attempt = std::exchange(attempt_wanted_, false) || due;
        attempts_ += attempt;
        if (attempt)
            attempted_at_ = now;
    }
    if (attempt && conversation_.retry(now))
        return answer({SPICE_OVERLAY_REASON_PENDING, {}});
    for (auto &player : streams_)
        player->stream.disconnected(SPICE_OVERLAY_REASON_NO_AGENT);
    answer({SPICE_OVERLAY_REASON_NO_AGENT, {}});
    if (attempt)
        answered_.notify_all();
}

void Connection::work(std::int64_t now)
{
    bool room = !conversation_.outgoing().outbox.has_control();
    for (auto &player : streams_) {
        follow(*player, now);
        if (room)
            player->stream.tell(now);
        player->stream.tick(now);
    }
    conversation_.write(now);
    if (!conversation_.more_to_write())
        for (auto &player : streams_)
            player->stream.settle(now);
    give_up_when_deaf(now);
}

void Connection::follow(PlayerStream &player, std::int64_t now)
{
    if (!player.following)
        return;
    player.following->want(player.stream.state() == SPICE_OVERLAY_REASON_NONE, now);
    if (std::int64_t at = player.following->deadline(); at >= 0 && at <= now)
        player.following->dispatch(now);
    player.stream.place(geometry_of(player.following->placement()));
}

/// An agent that hangs reads nothing, or gives no credit and says nothing: the player is better off without it.
void Connection::give_up_when_deaf(std::int64_t now)
{
    if (now - heard_at_ < kDeafLimit)
        return;
    bool stuck = std::any_of(streams_.begin(), streams_.end(), [&](const auto &player) {
        return player->stream.stuck_since() >= 0 && now - player->stream.stuck_since() >= kDeafLimit;
    });
    if (!stuck)
        return;
    notice("the agent does not answer; beginning anew");
    conversation_.begin_anew(wire::Reason::kLinkTooSlow, now);
}

/// There is something to tell, and room for it, so that it need not wait for anything.
bool Connection::has_to_tell(std::int64_t now) const
{
    return !conversation_.outgoing().outbox.has_control()
           && std::any_of(streams_.begin(), streams_.end(),
                          [&](const auto &player) { return player->stream.has_to_tell(now); });
}

void Connection::publish()
{
    std::lock_guard lock(mutex_);
    std::erase_if(streams_, [](const auto &player) { return player->closed && player->stream.over(); });
    for (auto &player : streams_) {
        player->waiting_units = player->stream.units_waiting();
        player->waiting_bytes = player->stream.bytes_waiting();
    }
}

// ---- callbacks

void Connection::call_back()
{
    // A callback may add streams, but only to new_streams_.
    for (auto &player : streams_)
        call_back_for(player);
    std::unique_lock lock(mutex_);
    if (!std::exchange(change_to_tell_, false) || !changed_)
        return;
    auto changed = changed_;
    void *data = changed_data_;
    calling_ = this;
    lock.unlock();
    changed(data);
    lock.lock();
    calling_ = nullptr;
    called_back_.notify_all();
}

/// Calls `call(events, data)` unless the stream has been freed.
template <typename Call>
void Connection::call(PlayerStream &player, Call &&call)
{
    std::unique_lock lock(mutex_);
    if (player.freed)
        return;
    calling_ = &player;
    lock.unlock();
    call(player.events, player.data);
    lock.lock();
    calling_ = nullptr;
    called_back_.notify_all();
}

void Connection::call_back_for(const std::shared_ptr<PlayerStream> &held)
{
    PlayerStream &player = *held;
    const Stream &stream = player.stream;
    if (stream.state() != player.state) { // written by this thread alone
        {
            std::lock_guard lock(mutex_);
            player.state = stream.state();
        }
        call(player, [&](const auto &events, void *data) {
            if (events.state)
                events.state(data, stream.state());
        });
    }
    if (player.stream.take_key_request())
        call(player, [](const auto &events, void *data) {
            if (events.need_key)
                events.need_key(data);
        });
    if (stream.presented() != player.told_presented || stream.late() != player.told_late) {
        player.told_presented = stream.presented();
        player.told_late = stream.late();
        call(player, [&](const auto &events, void *data) {
            if (events.feedback)
                events.feedback(data, stream.presented(), stream.late());
        });
    }
    Placement placement = player.following ? player.following->placement() : Placement{};
    if (placement == player.placed)
        return;
    player.placed = std::move(placement);
    const Placement &placed = player.placed;
    call(player, [&](const auto &events, void *data) {
        if (!events.placed)
            return;
        bool found = placed.found && !placed.target.empty();
        events.placed(data, found ? static_cast<std::uint32_t>(placed.target.width()) : 0,
                      found ? static_cast<std::uint32_t>(placed.target.height()) : 0,
                      found ? static_cast<std::uint64_t>(placed.visible.area()) : 0);
    });
}

// ---- sleeping

std::int64_t Connection::next_wake() const
{
    std::int64_t soonest = INT64_MAX;
    auto at = [&](std::int64_t when) {
        if (when >= 0)
            soonest = std::min(soonest, when);
    };
    at(conversation_.deadline());
    if (conversation_.link() == Conversation::Link::kLost)
        at(retry_at_);
    for (const auto &player : streams_) {
        at(player->stream.deadline());
        if (player->following)
            at(player->following->deadline());
    }
    return soonest == INT64_MAX ? -1 : soonest;
}

/// Sleeps until something happens or `until`, and takes in what came. Negative: until something happens.
void Connection::wait(std::int64_t until)
{
    std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}, {conversation_.fd(), conversation_.events(), 0}};
    for (const auto &player : streams_)
        fds.push_back({player->following ? player->following->fd() : -1, POLLIN, 0});
    timespec timeout{};
    if (until >= 0) {
        std::int64_t left = std::max<std::int64_t>(until - monotonic_now(), 0);
        timeout = {left / kSecond, left % kSecond};
    }
    if (ppoll(fds.data(), fds.size(), until >= 0 ? &timeout : nullptr, nullptr) <= 0)
        return;
    std::int64_t now = monotonic_now();
    if (fds[0].revents) {
        std::uint64_t count;
        (void)!read(wake_.get(), &count, sizeof count);
    }
    if (fds[1].revents & POLLIN)
        heard_at_ = now;
    if (fds[1].revents)
        conversation_.ready(fds[1].revents, now);
    for (std::size_t i = 0; i < streams_.size(); i++)
        if (fds[i + 2].revents)
            streams_[i]->following->dispatch(now);
}

/// The end of the connection: what has been handed over and told gets a moment to leave.
void Connection::finish()
{
    const std::int64_t begin = monotonic_now(), limit = begin + kFinishLimit;
    for (auto &player : streams_)
        if (!player->closed)
            player->stream.close(wire::Reason::kClosedByUser, begin);
    for (std::int64_t now = monotonic_now(); now < limit && conversation_.established(); now = monotonic_now()) {
        conversation_.tick(now);
        work(now);
        if (std::all_of(streams_.begin(), streams_.end(), [](const auto &p) { return p->stream.over(); }))
            return conversation_.drain(limit);
        std::int64_t at = conversation_.more_to_write() || has_to_tell(now) ? now : next_wake();
        wait(at >= 0 ? std::min(at, limit) : limit);
    }
}

} // namespace spice_overlay::guest
