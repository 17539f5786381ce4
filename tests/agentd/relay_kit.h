// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/agentd/relay.h"
#include "guest/agentd/relayed_player.h"
#include "portclient/wire/handshake.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace spice_overlay::test {

using namespace guest;
using Bytes = std::vector<std::uint8_t>;
using wire::Reason;

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1000 * kMs;

/// A client, a relay and players, with a made-up clock and no input or output.
class RelayTest : public testing::Test {
protected:
    struct Unit {
        std::uint32_t stream = 0, serial = 0, epoch = 0;
        std::uint16_t flags = 0;
        std::int64_t pts = 0;
        Bytes data;
        bool operator==(const Unit &) const = default;
    };

    /// A player that keeps what it is told.
    class ModelPlayer {
    public:
        ModelPlayer(RelayTest &test, Relay &relay) : test_(test), relayed(relay, "a player", test.now, 77)
        {
            handshake_.emplace(hello());
            nonce_ = ++test.nonces;
            deframer_.reset(nonce_);
            send(handshake_->start(nonce_));
            take();
            EXPECT_TRUE(handshake_->established());
        }
        void send(const wire::Message &message)
        {
            Bytes bytes;
            wire::encode(message, bytes);
            send_bytes(bytes);
        }
        void send_bytes(const Bytes &bytes)
        {
            relayed.feed(bytes, test_.now);
            take();
        }
        void open(std::uint32_t stream, wire::Codec codec = wire::Codec::kH264)
        {
            wire::StreamOpen open;
            open.stream = stream;
            open.codec = codec;
            open.coded_width = 640;
            open.coded_height = 360;
            send(open);
            serials_[stream] = 0;
        }
        /// The first byte of its data counts the units of the stream.
        void unit(std::uint32_t stream, std::uint16_t flags = 0, std::size_t size = 1000, std::uint32_t epoch = 0)
        {
            Bytes data(size, static_cast<std::uint8_t>(serials_[stream]));
            Bytes bytes;
            std::vector<std::size_t> ends;
            wire::AccessUnit unit;
            unit.stream = stream;
            unit.serial = serials_[stream]++;
            unit.epoch = epoch;
            unit.flags = flags;
            unit.pts = test_.now + 100 * kMs;
            unit.data = data;
            wire::encode_access_unit(unit, bytes, ends);
            send_bytes(bytes);
        }
        void group(std::uint32_t stream, int others, std::size_t size = 1000)
        {
            unit(stream, wire::kKey, size);
            for (int i = 0; i < others; i++)
                unit(stream, 0, size);
        }
        void place(std::uint32_t stream, int x)
        {
            wire::Geometry geometry;
            geometry.stream = stream;
            geometry.serial = ++geometry_serial_;
            geometry.target = {x, 0, 640, 360};
            geometry.visible = {geometry.target};
            send(geometry);
        }
        /// What it was told last about the stream.
        std::optional<Reason> state(std::uint32_t stream)
        {
            take();
            auto found = states.find(stream);
            return found == states.end() ? std::nullopt : std::optional(found->second);
        }
        /// Reads what the relay has for it.
        void take()
        {
            while (!relayed.output().empty()) {
                Bytes bytes = std::exchange(relayed.output(), {});
                deframer_.feed(bytes, [this](const wire::Message &message) { receive(message); });
            }
        }

        std::vector<wire::ClientState> client_states;
        std::map<std::uint32_t, Reason> states;
        std::vector<wire::StreamAccept> accepts;
        std::vector<wire::StreamReject> rejects;
        std::vector<wire::StreamClose> closes;
        std::vector<wire::Feedback> feedbacks;
        std::vector<wire::NeedKey> need_keys;
        std::map<std::uint32_t, wire::Credit> credits;
        int pings = 0;
        bool answers_pings = true;

    private:
        static wire::Hello hello()
        {
            wire::Hello hello;
            hello.name = "model player";
            return hello;
        }
        void receive(const wire::Message &message)
        {
            if (auto *hello = std::get_if<wire::Hello>(&message)) {
                EXPECT_EQ(hello->capabilities, wire::kRelay);
                if (handshake_->receive(*hello).reply) {
                    Bytes bytes;
                    wire::encode(handshake_->resend(), bytes);
                    relayed.feed(bytes, test_.now);
                }
            } else if (auto *client = std::get_if<wire::ClientState>(&message)) {
                client_states.push_back(*client);
            } else if (auto *state = std::get_if<wire::StreamState>(&message)) {
                states[state->stream] = state->reason;
            } else if (auto *accept = std::get_if<wire::StreamAccept>(&message)) {
                accepts.push_back(*accept);
            } else if (auto *reject = std::get_if<wire::StreamReject>(&message)) {
                rejects.push_back(*reject);
            } else if (auto *close = std::get_if<wire::StreamClose>(&message)) {
                closes.push_back(*close);
            } else if (auto *credit = std::get_if<wire::Credit>(&message)) {
                credits[credit->stream] = *credit;
            } else if (auto *feedback = std::get_if<wire::Feedback>(&message)) {
                feedbacks.push_back(*feedback);
            } else if (auto *key = std::get_if<wire::NeedKey>(&message)) {
                need_keys.push_back(*key);
            } else if (auto *ping = std::get_if<wire::Ping>(&message)) {
                pings++;
                if (answers_pings)
                    send(wire::Pong{ping->id, ping->sent, 1, 1});
            }
        }

        RelayTest &test_;
        std::optional<wire::Handshake> handshake_;
        wire::Deframer deframer_;
        std::uint64_t nonce_;
        std::map<std::uint32_t, std::uint32_t> serials_;
        std::uint32_t geometry_serial_ = 0;

    public:
        RelayedPlayer relayed;
    };

    void SetUp() override { make_relay({}); }

    void make_relay(RelayLimits limits)
    {
        relay = std::make_unique<Relay>(outgoing, limits, [this](const std::string &line) { lines.push_back(line); });
    }
    std::unique_ptr<ModelPlayer> player() { return std::make_unique<ModelPlayer>(*this, *relay); }

    void client_comes(std::uint16_t max_streams = 16)
    {
        wire::Hello hello;
        hello.role = wire::Role::kClient;
        hello.name = "model client";
        hello.max_streams = max_streams;
        hello.codecs = {{wire::Codec::kH264, 0, -1, -1, 0, 0}};
        outgoing.established = true;
        relay->established(hello);
        pump();
    }
    void client_goes(Reason why = Reason::kNoClient)
    {
        outgoing.outbox.clear();
        outgoing.established = false;
        relay->over(why);
        pump();
    }
    void from_client(const wire::Message &message)
    {
        relay->message(message, now);
        pump();
    }
    void credit(std::uint32_t stream, std::uint64_t bytes = 1u << 30, std::uint32_t count = 1u << 20)
    {
        rules_[stream].bytes_granted = std::max(rules_[stream].bytes_granted, bytes);
        rules_[stream].units_granted = std::max(rules_[stream].units_granted, count);
        from_client(wire::Credit{stream, bytes, count});
    }
    /// What has come of the stream: bytes and units.
    std::pair<std::uint64_t, std::uint32_t> taken(std::uint32_t stream)
    {
        return {rules_[stream].bytes, rules_[stream].units};
    }
    /// A client that has accepted a stream and lets everything come.
    void accept(std::uint32_t stream)
    {
        from_client(wire::StreamAccept{stream});
        credit(stream);
    }
    /// Writes everything that may go, as the agent's loop does.
    void pump()
    {
        for (bool more = true; more;) {
            more = false;
            relay->update(now);
            auto data = [this](Bytes &out) { return outgoing.established && relay->next_data(out, now); };
            for (auto bytes = outgoing.outbox.front(data); !bytes.empty(); bytes = outgoing.outbox.front(data)) {
                arrive(bytes);
                outgoing.outbox.wrote(bytes.size());
                more = true;
            }
            relay->settle(now);
            more = more || outgoing.outbox.has_control();
        }
    }
    void pass(std::int64_t time)
    {
        now += time;
        pump();
    }

    std::int64_t now = 1000 * kSecond;
    std::uint64_t nonces = 1000;
    Outgoing outgoing;
    std::unique_ptr<Relay> relay;
    std::vector<std::string> lines;

    // What has come to the client.
    std::vector<wire::StreamOpen> opens;
    std::vector<wire::Geometry> geometries;
    std::vector<wire::PlayState> play_states;
    std::vector<wire::StreamClose> closes;
    std::vector<Unit> units;
    std::vector<std::string> order;
    std::uint64_t data_bytes = 0;
    bool answers_pings = true;

private:
    void arrive(std::span<const std::uint8_t> bytes)
    {
        while (!bytes.empty()) {
            std::size_t size = bytes[0] | std::size_t{bytes[1]} << 8;
            wire::Message message;
            std::string why;
            ASSERT_TRUE(wire::decode(bytes.first(size), message, why)) << why;
            arrive(message);
            bytes = bytes.subspan(size);
        }
    }
    void arrive(const wire::Message &message)
    {
        if (auto *open = std::get_if<wire::StreamOpen>(&message)) {
            EXPECT_TRUE(rules_.emplace(open->stream, Rules{}).second) << "a number used again";
            opens.push_back(*open);
            order.push_back("open");
        } else if (auto *geometry = std::get_if<wire::Geometry>(&message)) {
            geometries.push_back(*geometry);
            order.push_back("geometry");
        } else if (auto *state = std::get_if<wire::PlayState>(&message)) {
            play_states.push_back(*state);
            EXPECT_GE(state->epoch, rules_[state->stream].epoch);
            rules_[state->stream].epoch = state->epoch;
        } else if (auto *close = std::get_if<wire::StreamClose>(&message)) {
            closes.push_back(*close);
            order.push_back("close");
            EXPECT_FALSE(std::exchange(rules_[close->stream].over, true)) << "closed twice";
        } else if (auto *ping = std::get_if<wire::Ping>(&message)) {
            if (answers_pings)
                relay->message(wire::Pong{ping->id, ping->sent, 1, 1}, now);
        } else if (auto *first = std::get_if<wire::AccessUnit>(&message)) {
            wire::AccessUnit unit = *first;
            ASSERT_TRUE(wire::resolve(unit, references_[unit.stream]));
            units.push_back({unit.stream, unit.serial, unit.epoch, unit.flags, unit.pts,
                             Bytes(unit.data.begin(), unit.data.end())});
            data_bytes += unit.data.size();
            order.push_back("unit");
            Rules &rules = rules_[unit.stream];
            EXPECT_FALSE(rules.over);
            EXPECT_EQ(unit.epoch, rules.epoch);
            EXPECT_EQ(unit.serial, rules.units++);
            EXPECT_TRUE(unit.serial > 0 || (unit.flags & wire::kKey)) << "a stream begins with a key unit";
            EXPECT_LE(rules.units, rules.units_granted);
            EXPECT_LE(rules.bytes += unit.data.size(), rules.bytes_granted);
        } else if (auto *chunk = std::get_if<wire::AccessUnitChunk>(&message)) {
            auto unit = std::find_if(units.rbegin(), units.rend(),
                                     [&](const Unit &each) { return each.stream == chunk->stream; });
            ASSERT_NE(unit, units.rend());
            unit->data.insert(unit->data.end(), chunk->data.begin(), chunk->data.end());
            data_bytes += chunk->data.size();
            Rules &rules = rules_[chunk->stream];
            EXPECT_FALSE(rules.over);
            EXPECT_LE(rules.bytes += chunk->data.size(), rules.bytes_granted);
        }
    }

    /// What the protocol allows on a stream.
    struct Rules {
        std::uint32_t epoch = 0, units = 0, units_granted = 0;
        std::uint64_t bytes = 0, bytes_granted = 0;
        bool over = false;
    };
    std::map<std::uint32_t, Rules> rules_;
    std::map<std::uint32_t, wire::UnitReference> references_;
};

} // namespace spice_overlay::test
