// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "follower.h"
#include "guest/conversation/conversation.h"
#include "portclient/base/unique_fd.h"
#include "stream.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace spice_overlay::guest {

/// What a player has in hand of a stream. The members of the first part belong to Connection's mutex, those of the
/// second to its thread.
struct PlayerStream {
    PlayerStream(wire::StreamOpen description, Outgoing &outgoing) : stream(std::move(description), outgoing) {}

    spice_overlay_stream_events events{};
    void *data = nullptr;
    std::vector<Unit> units; ///< handed over, not looked at yet
    std::size_t units_bytes = 0;
    std::size_t waiting_units = 0; ///< handed over, looked at, not gone: as of the thread's last round
    std::size_t waiting_bytes = 0;
    bool left_out = false; ///< since the last of `units`
    bool flush = false;    ///< before `units`
    bool paused = false;
    std::int32_t rate = 65536;
    bool moved = false; ///< `geometry` or `follower` is new
    wire::Geometry geometry;
    std::unique_ptr<Follower> follower;
    bool freed = false;
    wire::Reason free_reason = wire::Reason::kNone;
    spice_overlay_reason state = SPICE_OVERLAY_REASON_PENDING; ///< as told last

    Stream stream;
    std::unique_ptr<Follower> following;
    Placement placed; ///< as told last
    bool closed = false;
    std::uint64_t told_presented = 0;
    std::uint64_t told_late = 0;
};

/// A player's connection to the agent: a thread with a loop over the agent's socket, X displays, calls and time. Public functions are for
/// any thread.
class Connection final : private Conversation::Listener {
public:
    static constexpr std::size_t kMostWaitingBytes = 8u << 20;
    static constexpr std::size_t kMostWaitingUnits = 128;

    /// Throws std::system_error without a thread or a descriptor for it.
    Connection(std::string socket, std::string name);
    ~Connection(); ///< waits for a callback that runs, and half a second at most for what is still to be sent
    Connection(const Connection &) = delete;

    [[nodiscard]] spice_overlay_reason check(std::optional<wire::Codec> codec, std::uint32_t width,
                                             std::uint32_t height, int timeout_ms);
    void on_change(void (*changed)(void *), void *data);

    [[nodiscard]] std::shared_ptr<PlayerStream> open(wire::StreamOpen description,
                                                     const spice_overlay_stream_events &events, void *data);
    /// No callback of the stream runs after this.
    void free(const std::shared_ptr<PlayerStream> &stream, wire::Reason reason);

    /// 0, or an errno: ENOBUFS.
    [[nodiscard]] int submit(PlayerStream &stream, Unit unit);
    [[nodiscard]] spice_overlay_reason state(const PlayerStream &stream);

    /// `change(stream)` may touch the first part of a PlayerStream.
    template <typename Change>
    void set(PlayerStream &stream, Change &&change)
    {
        std::lock_guard lock(mutex_);
        change(stream);
        wake();
    }

    [[nodiscard]] bool on_own_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

private:
    void established(const wire::Hello &peer) override;
    void over(wire::Reason why) override;
    void message(const wire::Message &message, std::int64_t now) override;
    [[nodiscard]] bool next_data(std::vector<std::uint8_t> &out) override;
    void notice(const std::string &text) override;

    void run();
    [[nodiscard]] bool take_calls(std::int64_t now);
    void take_calls_for(PlayerStream &player, std::int64_t now);
    void reach_agent(std::int64_t now);
    void work(std::int64_t now);
    void follow(PlayerStream &player, std::int64_t now);
    void give_up_when_deaf(std::int64_t now);
    [[nodiscard]] bool has_to_tell(std::int64_t now) const;
    void call_back();
    void call_back_for(const std::shared_ptr<PlayerStream> &player);
    template <typename Call>
    void call(PlayerStream &player, Call &&call);
    void publish();
    void wait(std::int64_t until);
    [[nodiscard]] std::int64_t next_wake() const;
    void finish();
    void wake();

    /// What agent and client have said, as a whole.
    struct Answer {
        spice_overlay_reason reason = SPICE_OVERLAY_REASON_PENDING;
        std::vector<wire::CodecCapability> codecs;
        bool operator==(const Answer &) const = default;
    };
    void answer(Answer answer);
    [[nodiscard]] spice_overlay_reason judge(std::optional<wire::Codec> codec, std::uint32_t width,
                                             std::uint32_t height) const;

    // Of any thread, with the mutex.
    std::mutex mutex_;
    std::condition_variable answered_;    ///< answer_ or attempts_ have changed
    std::condition_variable called_back_; ///< calling_ has changed
    std::vector<std::shared_ptr<PlayerStream>> new_streams_;
    Answer answer_;
    std::uint64_t attempts_ = 0; ///< to reach the agent
    std::int64_t attempted_at_ = INT64_MIN / 2;
    bool attempt_wanted_ = false;
    bool ending_ = false;
    bool woken_ = false; ///< the thread will come round without another wake()
    void (*changed_)(void *) = nullptr;
    void *changed_data_ = nullptr;
    bool change_to_tell_ = false;
    const void *calling_ = nullptr; ///< the PlayerStream whose callback runs, or this

    // Of the thread.
    std::vector<std::shared_ptr<PlayerStream>> streams_;
    Conversation conversation_;
    bool relay_ = false;
    std::size_t next_stream_ = 0; ///< whose turn it is to send data
    std::int64_t heard_at_ = 0;
    std::int64_t retry_at_ = -1; ///< when to try to reach the agent again

    UniqueFd wake_;
    const bool debug_;
    std::thread thread_;
};

} // namespace spice_overlay::guest
