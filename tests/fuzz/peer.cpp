// SPDX-License-Identifier: LGPL-2.1-or-later
// The agent between two players and a client, all of them hostile: RelayedPlayer, Relay and Conversation as Agent has them.
#include "guest/agentd/relay.h"
#include "guest/agentd/relayed_player.h"
#include "guest/conversation/conversation.h"
#include "portclient/base/clock.h"
#include "speaker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

namespace spice_overlay::fuzz {
namespace {

/// Where the agent's port is: a socket of our own, for the life of the process.
class Listening {
public:
    Listening()
    {
        std::error_code none;
        path = std::filesystem::temp_directory_path(none) / ("spice-overlay-fuzz-" + std::to_string(::getpid()));
        sockaddr_un address{AF_UNIX, {}};
        require(path.size() < sizeof address.sun_path, "a socket's path is short");
        std::memcpy(address.sun_path, path.c_str(), path.size());
        ::unlink(path.c_str());
        fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        require(::bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0
                    && ::listen(fd.get(), 4) == 0,
                "a socket can be had");
    }
    ~Listening() { ::unlink(path.c_str()); }

    std::string path;
    UniqueFd fd;
};

/// `kVirtio`: a port that tells when nobody is at its other end, and stays: a character device, in whose place a socket is put.
/// `kSlow`: players are read slowly.
enum class Kind { kSocket, kVirtio, kSlow };

/// Bytes: answers to a client, and what is to be told of the streams.
constexpr std::size_t kMostControl = (64u << 10) + wire::kMaxHelloSize + 8 * wire::kMaxMessageSize;

class Agent : private guest::Conversation::Listener {
public:
    Agent(const Listening &listening, Kind kind)
        : listening_(listening),
          virtio_(kind == Kind::kVirtio),
          conversation_({.port = virtio_ ? "/dev/null" : listening.path,
                         .name = "fuzz",
                         .retry_interval = 100 * kMs,
                         .write_limit = 1000 * kMs},
                        *this),
          relay_(conversation_.outgoing(), limits(kind), [](const std::string &) {})
    {
        require(conversation_.open(now_).ok(), "the port opens");
        port_ = conversation_.fd();
        if (!virtio_)
            connect();
    }

    void run(Input &in)
    {
        while (!in.empty()) {
            step(in);
            turn();
        }
        players_ = {};
        turn();
        require(conversation_.retry(now_), "a port that is there need not be opened again");
        conversation_.begin_anew(wire::Reason::kShuttingDown, now_);
        turn();
        require(relay_.streams().empty(), "players take their streams along");
        require(relay_.memory_used() == 0, "and their memory");
    }

private:
    struct Player {
        explicit Player(guest::Relay &relay, std::int64_t now) : relayed(relay, "player", now, 5) {}
        Speaker speaker;
        Bytes unsent;
        guest::RelayedPlayer relayed;
    };

    static guest::RelayLimits limits(Kind kind = Kind::kSocket)
    {
        guest::RelayLimits limits;
        limits.streams_per_player = 4;
        limits.stream_memory = 64u << 10;
        limits.player_memory = 96u << 10;
        limits.memory = 128u << 10;
        limits.stream_spare = 16u << 10;
        limits.assembly = 256u << 10;
        limits.opens_per_second = kind == Kind::kSlow ? 1 : 16;
        if (kind == Kind::kSlow) {
            limits.messages_per_second = 20;
            limits.bytes_per_second = 4u << 10;
        }
        return limits;
    }

    void connect()
    {
        if (virtio_) {
            int ends[2];
            require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
                    "sockets can be had");
            const UniqueFd ours(ends[0]);
            client_.reset(ends[1]);
            require(::dup3(ours.get(), port_, O_CLOEXEC) == port_, "it is in the port's place");
        } else {
            client_.reset(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        }
        require(client_.valid(), "the client is there");
        arrived_.clear();
        deaf_ = false;
    }

    void step(Input &in)
    {
        const std::size_t which = in.byte() % 2u;
        std::unique_ptr<Player> &player = players_[which];
        switch (in.byte() % 16) {
        case 0:
            now_ += in.byte() * 60 * kMs;
            for (auto &each : players_)
                if (each)
                    each->relayed.tick(now_);
            return;
        case 1:
            if (player && in.rarely(4))
                player.reset();
            else if (player)
                player->relayed.hold(in.pick({wire::Reason::kNone, wire::Reason::kSessionInactive}));
            return;
        case 2: // the client goes, and comes back; or reads no more, for a time
            if (in.rarely(4))
                client_.reset();
            else
                deaf_ = !deaf_;
            conversation_.drain(monotonic_now() + kMs / 10);
            return;
        case 3:
        case 4:
        case 5:
        case 6:
            return client_speaks(in);
        default:
            if (!player)
                player = std::make_unique<Player>(relay_, now_);
            else if (player->relayed.throttled_until() < 0)
                player_speaks(in, *player);
        }
    }

    void player_speaks(Input &in, Player &player)
    {
        read_messages(player.relayed.output(), [&](const wire::Message &message) {
            if (const auto *hello = std::get_if<wire::Hello>(&message))
                player.speaker.peer_nonce = hello->nonce;
        });
        const std::size_t before = player.unsent.size();
        player.speaker.next(in, player.unsent);
        damage(in, player.unsent, before);
        if (in.rarely(4))
            player.unsent.resize(in.number<std::uint16_t>() % (player.unsent.size() + 1)); // the rest never comes
        player.relayed.feed(std::exchange(player.unsent, {}), now_);
        require(player.relayed.streams() <= limits().streams_per_player, "no more streams than a player may have");
    }

    void client_speaks(Input &in)
    {
        Bytes bytes;
        if (!conversation_.established() || in.rarely(32)) {
            wire::Hello hello;
            hello.role = wire::Role::kClient;
            const unsigned choice = in.byte();
            hello.nonce = 77 + choice % 4;
            if (choice / 4 == 63)
                hello.min_version = hello.max_version = wire::kProtocolVersion + 1;
            hello.peer_nonce = in.rarely(8) ? 0 : agent_nonce_;
            hello.max_streams = in.pick<std::uint16_t>({4, 1, 0, 0xffff});
            hello.codecs = {{wire::Codec::kH264, 0, -1, -1, 0, 0}};
            wire::encode(hello, bytes);
        } else if (in.rarely(32)) {
            bytes = in.bytes(in.byte() % 64u);
        } else {
            wire::encode(client_message(in, conversation_.outgoing().last_stream), bytes);
        }
        damage(in, bytes, 0);
        if (client_.valid())
            (void)::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    /// As the agent's loop does it.
    void turn()
    {
        pollfd port{conversation_.fd(), conversation_.events(), 0};
        if (port.fd >= 0 && ::poll(&port, 1, 0) > 0)
            conversation_.ready(port.revents, now_);
        if (conversation_.link() == guest::Conversation::Link::kLost) {
            conversation_.ready(POLLIN, now_);
            now_ += 100 * kMs;
            conversation_.tick(now_);
            require(conversation_.retry(now_),
                    "the port opens again"); // drain() has a clock of its own: not by the time, then
            port_ = conversation_.fd();
            connect();
        } else if (conversation_.link() == guest::Conversation::Link::kAbsent) {
            if (++absent_turns_ % 3 == 0) // somebody comes again
                connect();
            conversation_.ready(POLLIN, now_);
        }
        conversation_.tick(now_);
        if (relay_.stalled(now_))
            conversation_.begin_anew(wire::Reason::kLinkTooSlow, now_);
        relay_.update(now_);
        conversation_.write(now_);
        if (!conversation_.more_to_write()) {
            relay_.settle(now_);
            conversation_.write(now_);
        }
        require(relay_.memory_used() <= limits().memory, "no more memory than all streams may have");
        std::size_t held = 0;
        for (const auto &stream : relay_.streams())
            held += stream->bytes_held();
        require(held <= relay_.memory_used() + relay_.streams().size() * limits().stream_spare,
                "all memory is counted");
        require(conversation_.outgoing().outbox.control_bytes() <= kMostControl, "little waits for who does not read");
        require(relay_.totals().sent.sent >= std::exchange(sent_, relay_.totals().sent.sent),
                "what has been sent stays so");
        // As Agent asks before it sleeps.
        require(relay_.deadline() >= -1 && conversation_.deadline() >= -1, "a deadline is a time, or none");
        receive();
    }

    void receive()
    {
        static std::array<std::uint8_t, 65536> buffer;
        for (;;) {
            const ssize_t got =
                client_.valid() && !deaf_ ? ::recv(client_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) : -1;
            if (got <= 0)
                break;
            arrived_.insert(arrived_.end(), buffer.begin(), buffer.begin() + got);
        }
        read_messages(arrived_, [this](const wire::Message &message) {
            if (const auto *hello = std::get_if<wire::Hello>(&message))
                agent_nonce_ = hello->nonce;
            else if (const auto *open = std::get_if<wire::StreamOpen>(&message))
                require(numbers_.insert(open->stream).second, "a stream's number is used once");
            else if (const auto *unit = std::get_if<wire::AccessUnit>(&message))
                require(numbers_.contains(unit->stream), "a unit belongs to a stream");
        });
    }

    // Conversation::Listener
    void established(const wire::Hello &peer) override { relay_.established(peer); }
    void over(wire::Reason why) override { relay_.over(why); }
    void message(const wire::Message &message, std::int64_t now) override { relay_.message(message, now); }
    [[nodiscard]] bool next_data(Bytes &out) override { return relay_.next_data(out, now_); }
    void notice(const std::string &text) override { require(!text.empty(), "a notice says something"); }

    const Listening &listening_;
    const bool virtio_;
    int port_ = -1; ///< the conversation's, borrowed
    unsigned absent_turns_ = 0;
    UniqueFd client_;
    Bytes arrived_;
    std::uint64_t agent_nonce_ = 1;
    bool deaf_ = false;
    std::uint64_t sent_ = 0; ///< units
    std::set<std::uint32_t> numbers_;
    std::int64_t now_ = 1000 * 1000 * kMs;
    guest::Conversation conversation_;
    guest::Relay relay_;
    std::array<std::unique_ptr<Player>, 2> players_;
};

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    static const Listening listening;
    static const auto none = ::signal(SIGPIPE, SIG_IGN); // as in the agent
    (void)none;
    const int free = free_descriptor();
    {
        const Kind kind = size == 0         ? Kind::kSocket
                          : data[0] == 0xff ? Kind::kVirtio
                          : data[0] == 0xfd ? Kind::kSlow
                                            : Kind::kSocket;
        const std::size_t used = kind == Kind::kSocket ? 0 : 1;
        Input in(data + used, size - used);
        Agent(listening, kind).run(in);
    }
    require(free_descriptor() == free, "no descriptor is left open");
    return 0;
}
