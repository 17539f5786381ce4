// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/conversation.h"
#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"
#include "relay.h"
#include "relayed_player.h"
#include "session_watch.h"

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct pollfd;

namespace spice_overlay::guest {

/// The program's one loop over port, players, sessions, signals and time. One thread.
class Agent : private Conversation::Listener {
public:
    struct Options {
        std::string port;  ///< name or path
        UniqueFd listener; ///< the socket that players connect to
        std::unique_ptr<SessionWatch> sessions;
        std::string stats; ///< a file; empty: standard error
        RelayLimits limits;
    };
    explicit Agent(Options options);
    ~Agent() override;

    /// Opens the port, or begins to wait for it. What fails here is for a person to mend.
    [[nodiscard]] Status open();

    /// Until a signal (from `signal_fd`, a signalfd; SIGUSR1 aside) ends it, or the sessions can no longer be told apart.
    [[nodiscard]] Status run(int signal_fd);

private:
    struct Player {
        UniqueFd fd;
        bool heard = false; ///< what it sends is read
        uid_t uid = 0;
        std::int64_t since = 0;
        std::unique_ptr<RelayedPlayer> relayed;
        bool gone = false;
    };

    void established(const wire::Hello &peer) override;
    void over(wire::Reason why) override;
    void message(const wire::Message &message, std::int64_t now) override;
    [[nodiscard]] bool next_data(std::vector<std::uint8_t> &out) override;
    void notice(const std::string &text) override;

    void accept(std::int64_t now);
    void read(Player &player, std::int64_t now);
    void write(Player &player);
    void tick(std::int64_t now);
    void forget_gone_players();
    void follow_sessions();
    void watch_for_port();
    void port_directory_changed(std::int64_t now);
    void retry_port(std::int64_t now);
    void wait(int signal_fd, std::int64_t until);
    void take_signals(int signal_fd);
    void stop();
    [[nodiscard]] std::int64_t next_wake() const;
    void write_statistics() const;
    [[nodiscard]] std::string statistics() const;

    Options options_;
    Conversation conversation_;
    Relay relay_;
    std::map<int, Player> players_;
    int next_player_ = 1;
    UniqueFd port_watch_; ///< inotify on the directory where the port will be, while it is lost
    std::int64_t port_retry_at_ = -1;
    int port_retries_left_ = 0;
    std::int64_t now_ = 0;
    bool stopping_ = false;
    Status sessions_status_ = Success{};
    std::uint64_t turned_away_ = 0;
};

} // namespace spice_overlay::guest
