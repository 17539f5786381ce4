// SPDX-License-Identifier: LGPL-2.1-or-later
// The agent and its client, as far as a player can tell them from real ones: takes what comes, writes it down, and says what it is told to say.
//
// usage: model-agent [--client] SOCKET DIRECTORY
//
// --client: the client alone, at the socket that a real agent takes for its port. It is lost by "hang-up", and comes again by itself.
// Standard input: "client" and "no-client" (from now on), "key" (asks for a key unit of every stream), "hang-up", and its end.
// Standard output: a line of JSON for everything that happens. DIRECTORY/STREAM.bin: the stream's units.
#include "tests/guest/model_client.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

wire::Hello hello(bool relay)
{
    wire::Hello hello;
    hello.role = wire::Role::kClient;
    hello.name = "model";
    hello.max_streams = 16;
    hello.capabilities = relay ? wire::kRelay : 0;
    for (wire::Codec codec : {wire::Codec::kH264, wire::Codec::kHevc, wire::Codec::kVp8, wire::Codec::kVp9,
                              wire::Codec::kAv1, wire::Codec::kMpeg2})
        hello.codecs.push_back({codec, 0, -1, -1, 0, 0});
    return hello;
}

class Agent {
public:
    Agent(const std::string &socket, std::string directory, bool relay)
        : relay_(relay), listener_(listen_unix(socket)), directory_(std::move(directory)), client_(hello(relay))
    {
        client_.unit_window = 64;
        client_.window = 4u << 20;
    }

    int run()
    {
        if (!listener_.valid())
            return 1;
        std::puts("{\"event\": \"listening\"}");
        std::fflush(stdout);
        while (!ended_) {
            (void)client_.run_until([this] { return look(); }, 3600);
            for (const std::string &error : client_.errors)
                std::printf("{\"event\": \"error\", \"text\": \"%s\"}\n", error.c_str());
            client_.errors.clear();
        }
        return 0;
    }

private:
    [[nodiscard]] wire::Reason state() const { return there_ ? wire::Reason::kNone : wire::Reason::kNoClient; }

    void send_client_state()
    {
        if (relay_)
            client_.send(
                wire::ClientState{state(), there_ ? hello(true).codecs : std::vector<wire::CodecCapability>{}});
    }
    void send_state(std::uint32_t stream)
    {
        if (relay_)
            client_.send(wire::StreamState{stream, state()});
    }

    /// Everything that is new; true at the end of input.
    bool look()
    {
        pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {listener_.get(), POLLIN, 0}};
        poll(ready, 2, client_.port_open() ? 0 : 20);
        if (ready[1].revents && !client_.port_open() && client_.accept(listener_.get()))
            established_ = client_.established;
        if (client_.port_open() && client_.established != established_) {
            established_ = client_.established;
            std::puts("{\"event\": \"player\"}");
            send_client_state();
        }
        if (!client_.port_open() && connected_)
            std::puts("{\"event\": \"gone\"}");
        connected_ = client_.port_open();
        for (; opens_ < client_.opens.size(); opens_++) {
            const wire::StreamOpen &open = client_.opens[opens_];
            send_state(open.stream);
            std::printf(
                "{\"event\": \"open\", \"stream\": %u, \"codec\": %d, \"width\": %u, \"height\": %u, \"profile\": %d, "
                "\"level\": %d, \"primaries\": %d, \"transfer\": %d, \"matrix\": %d, \"full_range\": %d, "
                "\"aspect\": [%u, %u], \"frame_rate\": [%u, %u], \"extradata\": %zu}\n",
                open.stream, static_cast<int>(open.codec), open.coded_width, open.coded_height, open.profile,
                open.level, open.colour.primaries, open.colour.transfer, open.colour.matrix, open.colour.full_range,
                open.aspect_num, open.aspect_den, open.frame_rate_num, open.frame_rate_den, open.extradata.size());
        }
        for (; units_ < client_.units.size(); units_++) {
            ModelClient::Unit &unit = client_.units[units_];
            std::printf("{\"event\": \"unit\", \"stream\": %u, \"epoch\": %u, \"key\": %d, \"gap\": %d, \"pts\": %lld, "
                        "\"arrived\": %lld, \"size\": %zu}\n",
                        unit.stream, unit.epoch, unit.key(), unit.gap(), static_cast<long long>(unit.pts),
                        static_cast<long long>(unit.arrived), unit.data.size());
            std::ofstream file(directory_ + "/" + std::to_string(unit.stream) + ".bin",
                               std::ios::binary | std::ios::app);
            file.write(reinterpret_cast<const char *>(unit.data.data()),
                       static_cast<std::streamsize>(unit.data.size()));
            unit.data = {};
        }
        for (; states_ < client_.states.size(); states_++) {
            const wire::PlayState &state = client_.states[states_];
            std::printf("{\"event\": \"state\", \"stream\": %u, \"epoch\": %u, \"rate\": %.3f, \"paused\": %d}\n",
                        state.stream, state.epoch, state.rate / 65536.0, state.mode == wire::PlayMode::kPaused);
        }
        for (; geometries_ < client_.geometries.size(); geometries_++) {
            const wire::Geometry &geometry = client_.geometries[geometries_];
            std::printf("{\"event\": \"geometry\", \"stream\": %u, \"target\": [%d, %d, %u, %u], \"visible\": %zu, "
                        "\"placeholder\": %d}\n",
                        geometry.stream, geometry.target.x, geometry.target.y, geometry.target.width,
                        geometry.target.height, geometry.visible.size(),
                        geometry.placeholder ? static_cast<int>(*geometry.placeholder) : -1);
        }
        for (; closes_ < client_.closes.size(); closes_++)
            std::printf("{\"event\": \"close\", \"stream\": %u, \"reason\": %d}\n", client_.closes[closes_].stream,
                        static_cast<int>(client_.closes[closes_].reason));
        if (ready[0].revents)
            take_orders();
        std::fflush(stdout);
        return ended_;
    }

    void take_orders()
    {
        char bytes[256];
        ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
        if (got <= 0) {
            ended_ = true;
            return;
        }
        orders_.append(bytes, static_cast<std::size_t>(got));
        for (std::size_t end; (end = orders_.find('\n')) != std::string::npos; orders_.erase(0, end + 1))
            obey(orders_.substr(0, end));
    }

    void obey(const std::string &order)
    {
        if (order == "client" || order == "no-client") {
            there_ = order == "client";
            if (client_.port_open() && client_.established) {
                send_client_state();
                for (const wire::StreamOpen &open : client_.opens)
                    if (!closed(open.stream))
                        send_state(open.stream);
            }
        } else if (order == "key") {
            for (const wire::StreamOpen &open : client_.opens)
                if (!closed(open.stream))
                    client_.send(wire::NeedKey{open.stream});
        } else if (order == "hang-up") {
            client_.hang_up();
        }
        timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        std::printf("{\"event\": \"obeyed\", \"order\": \"%s\", \"at\": %lld}\n", order.c_str(),
                    static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
    }

    [[nodiscard]] bool closed(std::uint32_t stream) const
    {
        for (const wire::StreamClose &close : client_.closes)
            if (close.stream == stream)
                return true;
        return false;
    }

    bool relay_;
    UniqueFd listener_;
    std::string directory_;
    ModelClient client_;
    std::string orders_;
    bool there_ = true;
    bool ended_ = false;
    bool connected_ = false;
    int established_ = 0;
    std::size_t opens_ = 0, units_ = 0, states_ = 0, geometries_ = 0, closes_ = 0;
};

} // namespace

int main(int argc, char **argv)
{
    bool client = argc == 4 && std::strcmp(argv[1], "--client") == 0;
    if (argc != 3 && !client) {
        std::fputs("usage: model-agent [--client] SOCKET DIRECTORY\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    return Agent(argv[argc - 2], argv[argc - 1], !client).run();
}
