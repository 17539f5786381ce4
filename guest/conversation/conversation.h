// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "outbox.h"
#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"
#include "portclient/device/port.h"
#include "portclient/wire/deframer.h"
#include "portclient/wire/handshake.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// The guest's end of one port: opens it and opens it again, shakes hands, puts messages together, and writes what is
/// queued. docs/protocol.md, "Handshake". Never blocks (drain() aside). One thread. Times are ns of CLOCK_MONOTONIC.
///
/// The owner's loop: tick(), write(), then sleep until fd() has one of events(), or deadline(), or at once while
/// more_to_write(); then ready().
class Conversation {
public:
    /// Called from within tick(), ready(), write() and retry(). May queue messages in outgoing(), nothing else.
    class Listener {
    public:
        virtual ~Listener() = default;
        /// A conversation has begun: streams may be opened. `peer`: what the client can do.
        virtual void established(const wire::Hello &peer) = 0;
        /// It has ended, and with it its streams and what was queued; the next one begins by itself. Why: kNoClient
        /// (nobody is behind the port, or it is gone), kShuttingDown (the client begins anew), kProtocolError (it sent
        /// nonsense), kLinkTooSlow (the port took nothing for `write_limit`).
        virtual void over(wire::Reason why) = 0;
        /// A message of the conversation, HELLO and PING aside. What it refers to is borrowed for the call.
        virtual void message(const wire::Message &message, std::int64_t now) = 0;
        /// The next message with data of access units, into `out`; false: none may go now.
        [[nodiscard]] virtual bool next_data(std::vector<std::uint8_t> &out) = 0;
        /// One line for people: something went wrong, and what is done about it.
        virtual void notice(const std::string &text) = 0;
    };

    struct Options {
        std::string port;                          ///< as find_port() takes it: a path, or the name of a virtio port
        std::string name;                          ///< program and version, for the other side's log
        std::int64_t retry_interval = 500'000'000; ///< between attempts to open the port; 0: only when retry() says so
        std::int64_t write_limit = 0; ///< for the port to take something, or the conversation begins anew; 0: none
    };
    /// `listener` outlives the conversation.
    Conversation(Options options, Listener &listener);

    /// Opens the port for the first time; what fails here is for a person to mend. To go on without, call retry().
    [[nodiscard]] Status open(std::int64_t now);
    /// Tries to open a port that is lost, now. False: still lost.
    bool retry(std::int64_t now);

    void tick(std::int64_t now);
    /// When tick() is wanted next; negative: never.
    [[nodiscard]] std::int64_t deadline() const;

    [[nodiscard]] int fd() const; ///< for poll(); -1 while there is none
    [[nodiscard]] short events() const;
    void ready(short revents, std::int64_t now);

    /// Writes what is queued, then data, until the port takes no more or others should have their turn.
    void write(std::int64_t now);
    [[nodiscard]] bool more_to_write() const { return more_to_write_; }
    /// Waits until what is queued has left, or the time `until` has come: for the end of the program.
    void drain(std::int64_t until);

    /// Ends the conversation and asks for another one.
    void begin_anew(wire::Reason why, std::int64_t now);

    enum class Link {
        kUp,
        kAbsent, ///< a virtio port with nobody behind it
        kLost,   ///< the port is not open
    };
    [[nodiscard]] Link link() const { return link_; }
    [[nodiscard]] Outgoing &outgoing() { return outgoing_; }
    [[nodiscard]] const Outgoing &outgoing() const { return outgoing_; }
    [[nodiscard]] bool established() const { return outgoing_.established; }

    struct Counters {
        std::uint64_t wire_bytes = 0; ///< written to the port
        std::uint64_t reconnects = 0; ///< conversations after the first
        std::uint64_t port_losses = 0;
        std::uint64_t protocol_errors = 0;
        std::uint64_t stalls = 0; ///< conversations given up since the port took nothing
    };
    [[nodiscard]] const Counters &counters() const { return counters_; }

private:
    void begin(std::int64_t now);
    void drop(wire::Reason why);
    void link_up(Port port, std::int64_t now);
    void link_failed(Port::Outcome outcome, std::int64_t now);
    void watch_absent_port();
    void look_for_client(std::int64_t now);
    void read(std::int64_t now);
    void receive(const wire::Message &message, std::int64_t now);
    void receive(const wire::Hello &hello, std::int64_t now);
    void send_hello(std::int64_t now);

    Options options_;
    Listener &listener_;
    wire::Handshake handshake_;
    wire::Deframer deframer_;
    Outgoing outgoing_;
    std::optional<Port> port_;
    UniqueFd absent_watch_; ///< wakes when the other side of an absent port changes
    Link link_ = Link::kLost;
    std::int64_t retry_at_ = -1; ///< while the link is not up
    std::int64_t hello_at_ = 0;  ///< when to ask again, until established
    std::int64_t mid_message_since_ = -1;
    std::int64_t blocked_since_ = -1; ///< the port takes nothing until poll() says so; when it last took something
    bool write_blocked_ = false;
    bool more_to_write_ = false;
    bool had_conversation_ = false;
    Counters counters_;
};

} // namespace spice_overlay::guest
