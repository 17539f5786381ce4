// SPDX-License-Identifier: LGPL-2.1-or-later
// Relay and RelayedPlayer between two players and a client, all of them hostile: as `peer`, without a port, in short executions.
#include "guest/agentd/relay.h"
#include "brief_guest.h"
#include "guest/agentd/relayed_player.h"
#include "speaker.h"

#include <memory>

namespace spice_overlay::fuzz {
namespace {

const guest::RelayLimits kLimits = [] {
    guest::RelayLimits limits;
    limits.streams_per_player = 3;
    limits.stream_memory = 1200;
    limits.player_memory = 1800;
    limits.memory = 2400;
    limits.stream_spare = 300;
    limits.assembly = 1024;
    limits.unread = 256;
    limits.bytes_per_second = 1024;
    limits.messages_per_second = 6;
    limits.opens_per_second = 2;
    return limits;
}();

class Agent {
public:
    /// What chance takes long to bring about: a stream that is open, a client that is there, has accepted it, and lets units come.
    explicit Agent(std::uint8_t choice)
    {
        streams_.reserve(16);
        if (choice & 1) {
            players_[0] = std::make_unique<Player>(relay_, now_);
            wire::encode(stream_open(1, 0), bytes_);
            players_[0]->relayed.feed(bytes_, now_);
        }
        if (choice & 2)
            client_speaks(0, choice / 16);
        turn();
        if (choice & 4 && outgoing_.last_stream == 1) {
            relay_.message(wire::StreamAccept{1}, now_);
            grant({1, 1u << 20, 1000});
        }
    }

    void step(Input &in)
    {
        const std::uint8_t choice = in.byte();
        std::unique_ptr<Player> &player = players_[choice % 2];
        if (choice < 0xa0) {
            if (!player)
                player = std::make_unique<Player>(relay_, now_);
            else if (player->relayed.throttled_until() < 0)
                player_speaks(in, *player);
        } else if (choice < 0xd0) {
            client_speaks(choice / 2, in.byte());
        } else if (choice < 0xe8) {
            now_ += in.byte() * 30 * kMs;
            for (auto &each : players_)
                if (each)
                    each->relayed.tick(now_);
        } else if (choice < 0xf4) {
            if (player)
                player->relayed.hold(choice & 2 ? wire::Reason::kSessionInactive : wire::Reason::kNone);
        } else if (choice < 0xf8) {
            player.reset();
        } else if (choice < 0xfc) {
            deaf_ = !deaf_;
        } else {
            client_goes(wire::Reason::kNoClient);
        }
        turn();
    }

    void end()
    {
        players_ = {};
        turn();
        client_goes(wire::Reason::kShuttingDown);
        turn();
        require(relay_.streams().empty(), "players take their streams along");
        require(relay_.memory_used() == 0, "and their memory");
    }

private:
    struct Player {
        Player(guest::Relay &relay, std::int64_t now) : relayed(relay, "player", now, kNonce)
        {
            relayed.feed(greeting(), now);
        }
        BriefGuest says;
        guest::RelayedPlayer relayed;
    };
    /// What the client has been told of a stream, and has allowed it.
    struct Stream {
        std::uint64_t bytes = 0;
        std::uint64_t bytes_granted = 0;
        std::uint32_t units = 0;
        std::uint32_t units_granted = 0;
        std::uint32_t epoch = 0;
        bool told = false;
        bool over = false;
        wire::UnitReference reference;
    };

    void player_speaks(Input &in, Player &player)
    {
        bytes_.clear();
        append(in, player.says, bytes_);
        player.relayed.feed(bytes_, now_);
        require(player.relayed.streams() <= kLimits.streams_per_player, "no more streams than a player may have");
    }

    void client_speaks(std::uint8_t kind, std::uint8_t choice)
    {
        if (!outgoing_.established) {
            wire::Hello hello;
            hello.role = wire::Role::kClient;
            hello.max_streams = choice % 8;
            if (choice < 0xe0)
                hello.codecs = {{wire::Codec::kH264, 0, -1, -1, 0, 0}};
            outgoing_.established = true;
            return relay_.established(hello);
        }
        const std::uint32_t stream = std::max(outgoing_.last_stream, 4u) - choice % 4u; // one of the last
        switch (kind % 8) {
        case 0:
        case 1:
            return relay_.message(wire::StreamAccept{stream}, now_);
        case 2:
        case 3: {
            const std::uint64_t bytes = choice >= 0xc0 ? ~std::uint64_t{0} : choice * 16u;
            return grant({stream, bytes, choice & 8 ? 1000 : choice / 16u});
        }
        case 4:
            return relay_.message(wire::NeedKey{stream}, now_);
        case 5:
            return relay_.message(wire::Feedback{stream, choice / 64u, choice, choice / 8u, 1000, 2}, now_);
        case 6:
            end(stream);
            return relay_.message(wire::StreamReject{stream, static_cast<wire::Reason>(choice / 4 % 20)}, now_);
        default:
            end(stream);
            return relay_.message(wire::StreamClose{stream, static_cast<wire::Reason>(choice / 4 % 20)}, now_);
        }
    }

    void grant(const wire::Credit &credit)
    {
        if (credit.stream <= outgoing_.last_stream) {
            Stream &stream = known(credit.stream);
            stream.bytes_granted = std::max(stream.bytes_granted, credit.bytes);
            stream.units_granted = std::max(stream.units_granted, credit.units);
        }
        relay_.message(credit, now_);
    }

    /// The client wants nothing more of the stream, and nothing more comes.
    void end(std::uint32_t stream)
    {
        if (stream <= outgoing_.last_stream)
            known(stream).over = true;
    }

    void client_goes(wire::Reason why)
    {
        outgoing_.outbox.clear();
        outgoing_.established = false;
        relay_.over(why);
        for (Stream &stream : streams_)
            stream.over = true;
    }

    /// As the agent's loop does it.
    void turn()
    {
        relay_.update(now_);
        write();
        relay_.settle(now_);
        write();
        for (auto &player : players_)
            if (player && !deaf_ && listen(*player))
                player.reset();
        require(relay_.memory_used() <= kLimits.memory, "no more memory than all streams may have");
        std::size_t held = 0;
        for (const auto &stream : relay_.streams())
            held += stream->bytes_held();
        require(held <= relay_.memory_used() + relay_.streams().size() * kLimits.stream_spare, "all memory is counted");
        require(relay_.deadline() >= -1, "a deadline is a time, or none");
    }

    void write()
    {
        if (deaf_)
            return;
        const auto data = [this](Bytes &out) { return outgoing_.established && relay_.next_data(out, now_); };
        for (auto bytes = outgoing_.outbox.front(data); !bytes.empty(); bytes = outgoing_.outbox.front(data)) {
            require(outgoing_.established, "nothing is said to nobody");
            bytes_.assign(bytes.begin(), bytes.end());
            read_messages(bytes_, [this](const wire::Message &message) { arrive(message); });
            require(bytes_.empty(), "whole messages are sent");
            outgoing_.outbox.wrote(bytes.size());
        }
    }

    /// True when the player is to be given up.
    static bool listen(Player &player)
    {
        if (player.relayed.hopeless())
            return true;
        read_messages(player.relayed.output(), [&](const wire::Message &message) {
            if (const auto *ping = std::get_if<wire::Ping>(&message))
                player.says.asked = *ping;
        });
        return false;
    }

    Stream &known(std::uint32_t number)
    {
        require(number > 0 && number <= outgoing_.last_stream, "streams are numbered from 1 on");
        streams_.resize(std::max<std::size_t>(streams_.size(), number));
        return streams_[number - 1];
    }
    Stream &open(std::uint32_t number)
    {
        Stream &stream = known(number);
        require(stream.told && !stream.over, "only of open streams is told");
        return stream;
    }

    void arrive(const wire::Message &message)
    {
        if (const auto *opened = std::get_if<wire::StreamOpen>(&message)) {
            Stream &stream = known(opened->stream);
            require(!stream.told && !stream.over, "a stream's number is used once");
            stream.told = true;
        } else if (const auto *close = std::get_if<wire::StreamClose>(&message)) {
            open(close->stream).over = true;
        } else if (const auto *geometry = std::get_if<wire::Geometry>(&message)) {
            open(geometry->stream);
        } else if (const auto *state = std::get_if<wire::PlayState>(&message)) {
            Stream &stream = open(state->stream);
            require(state->epoch >= stream.epoch, "no epoch comes again");
            stream.epoch = state->epoch;
        } else if (const auto *first = std::get_if<wire::AccessUnit>(&message)) {
            wire::AccessUnit unit = *first;
            Stream &stream = open(unit.stream);
            require(wire::resolve(unit, stream.reference), "a unit follows one that was sent");
            require(unit.epoch == stream.epoch && unit.serial == stream.units, "units come in their order");
            require(unit.serial > 0 || unit.flags & wire::kKey, "a stream begins with a key unit");
            ++stream.units;
            count(stream, unit.data.size());
        } else if (const auto *chunk = std::get_if<wire::AccessUnitChunk>(&message)) {
            count(open(chunk->stream), chunk->data.size());
        }
    }

    static void count(Stream &stream, std::size_t bytes)
    {
        stream.bytes += bytes;
        require(stream.bytes <= stream.bytes_granted && stream.units <= stream.units_granted,
                "no more is sent than was granted");
    }

    std::int64_t now_ = 1000 * 1000 * kMs;
    Bytes bytes_;
    bool deaf_ = false;           ///< nobody reads what the agent says
    std::vector<Stream> streams_; ///< by number
    guest::Outgoing outgoing_;
    guest::Relay relay_{outgoing_, kLimits, [](const std::string &) {}};
    std::array<std::unique_ptr<Player>, 2> players_;
};

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    Agent agent(in.byte());
    for (int steps = 0; steps < 16 && !in.empty(); ++steps)
        agent.step(in);
    agent.end();
    return 0;
}
