// SPDX-License-Identifier: LGPL-2.1-or-later
// The real agent with the real sender as its player, on a unix socket as port, against a model client.
#include "agent_program.h"

#include "portclient/wire/deframer.h"
#include "portclient/wire/handshake.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

TEST_F(AgentWithClip, two_players_reach_the_client_at_once_and_in_time)
{
    start();
    auto one = play({"--rect", "1,2,320,240"}), two = play({"--rect", "3,4,160,120"});
    ASSERT_TRUE(client_.run_until([&] { return client_.opens.size() == 2; })) << one->errors();
    ASSERT_TRUE(client_.run_until([&] { return units_of(1, 60)() && units_of(2, 60)(); }));
    EXPECT_EQ(client_.geometries.size(), 2u);
    for (std::uint32_t stream : {1u, 2u}) {
        auto all = client_.units_of(stream);
        EXPECT_TRUE(all[0].key());
        for (std::size_t i = 1; i < all.size(); i++) {
            EXPECT_EQ(all[i].pts - all[i - 1].pts, 40 * kMs);
            EXPECT_FALSE(all[i].gap());
        }
    }
    agent_->signal(SIGTERM);
    EXPECT_EQ(agent_->wait(), 0);
    ASSERT_TRUE(client_.run_until([&] { return !client_.port_open(); }));
    ASSERT_EQ(client_.closes.size(), 2u);
    for (const auto &close : client_.closes)
        EXPECT_EQ(close.reason, wire::Reason::kShuttingDown);
    EXPECT_EQ(statistic(stats_, "players"), 2);
    EXPECT_GE(statistic(stats_, "sent"), 120);
}

TEST_F(AgentWithClip, client_that_returns_is_shown_the_present_at_once)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(70))); // 20 units into the second group
    for (int round = 1; round <= 3; round++) {
        std::size_t before = client_.units.size();
        auto opened = static_cast<std::uint32_t>(client_.opens.size());
        client_.hang_up();
        ASSERT_TRUE(client_.accept(listener_.get()));
        ASSERT_TRUE(client_.run_until(units(before + 30)));
        EXPECT_EQ(client_.opens.size(), opened + 1);
        const auto &first = client_.units[before];
        EXPECT_EQ(first.stream, opened + 1);
        EXPECT_TRUE(first.key());
        std::size_t late = 0; // sent in a burst
        for (std::size_t i = before; i < client_.units.size(); i++) {
            EXPECT_EQ((client_.units[i].pts - client_.units[0].pts) % (40 * kMs), 0) << "times are the player's";
            EXPECT_FALSE(i > before && client_.units[i].gap());
            late += client_.units[i].arrived > client_.units[i].pts;
        }
        EXPECT_GE(late, 1u);
    }
    EXPECT_FALSE(player->errors().find("port is gone") != std::string::npos);
}

TEST_F(AgentWithClip, decoder_that_was_restarted_gets_the_group_again)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(60)));
    auto last_key = std::find_if(client_.units.rbegin(), client_.units.rend(), [](auto &u) { return u.key(); });
    auto key = *last_key;
    std::size_t before = client_.units.size();
    client_.send(wire::NeedKey{1});
    ASSERT_TRUE(client_.run_until([&] {
        return std::any_of(client_.units.begin() + static_cast<std::ptrdiff_t>(before), client_.units.end(),
                           [&](auto &u) { return u.key() && u.pts == key.pts && u.data == key.data; });
    }));
}

TEST_F(AgentWithClip, killed_agent_comes_back_and_everything_with_it)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(20)));
    agent_->signal(SIGKILL);
    EXPECT_EQ(agent_->wait(), -2);
    ASSERT_TRUE(client_.run_until([&] { return !client_.port_open(); })) << "the picture goes with the port";
    client_.opens.clear(); // the next agent counts its streams anew
    ASSERT_TRUE(player->wait_for_error("the port is gone"));
    std::size_t before = client_.units.size();
    start_agent(); // its socket was left behind
    ASSERT_TRUE(client_.accept(listener_.get()));
    ASSERT_TRUE(client_.run_until(units(before + 20)));
    EXPECT_TRUE(client_.units[before].key());
}

TEST_F(AgentWithClip, killed_player_takes_its_picture_along_and_leaves_the_other_alone)
{
    start();
    auto one = play();
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
    auto two = play();
    ASSERT_TRUE(client_.run_until(units_of(2, 10)));
    one->signal(SIGKILL);
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    EXPECT_EQ(client_.closes[0].stream, 1u);
    std::size_t before = client_.units_of(2).size();
    ASSERT_TRUE(client_.run_until(units_of(2, before + 20)));
}

TEST_F(AgentWithClip, stopped_player_loses_its_picture_and_gets_it_back)
{
    start();
    auto one = play(), two = play();
    ASSERT_TRUE(client_.run_until([&] { return units_of(1, 10)() && units_of(2, 10)(); }));
    one->signal(SIGSTOP);
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    auto stopped = client_.closes[0].stream, other = 3 - stopped;
    std::size_t before = client_.units_of(other).size();
    ASSERT_TRUE(client_.run_until(units_of(other, before + 10)));
    one->signal(SIGCONT);
    ASSERT_TRUE(client_.run_until([&] { return units_of(3, 10)(); })) << "it is shown again";
    EXPECT_EQ(client_.closes.size(), 1u);
}

TEST_F(AgentWithClip, stalled_client_has_little_on_its_way_and_the_video_comes_back_after_it)
{
    start();
    client_.window = 1u << 30; // a client that would let everything come
    client_.unit_window = 1u << 20;
    TemporaryDirectory directory;
    std::string heavy = directory / "heavy.mp4";
    ASSERT_TRUE(make_clip(heavy, {"-vf", "noise=alls=80:allf=t+u", "-c:v", "mjpeg", "-q:v", "4"}, 2, "1280x720"));
    auto player = std::make_unique<Program>(std::vector<std::string>{heavy, "--loop", "--quiet", "--port", socket_});
    ASSERT_TRUE(client_.run_until(units(5))) << player->errors();
    // Whatever lies between takes all that it is given, as a server does up to a mebibyte and the pipe beyond that; the
    // client itself reads nothing.
    std::size_t taken = 0;
    std::vector<std::uint8_t> buffer(1 << 20);
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (agent_->errors().find("the client reads nothing any more") == std::string::npos) {
        ASSERT_LT(std::chrono::steady_clock::now(), end);
        pollfd fd{client_.fd(), POLLIN, 0};
        if (poll(&fd, 1, 20) == 1)
            taken += static_cast<std::size_t>(std::max<ssize_t>(read(client_.fd(), buffer.data(), buffer.size()), 0));
    }
    EXPECT_GE(taken, 300u * 1024) << "the clip is not heavy enough to show it";
    EXPECT_LE(taken, (512u + 64u) * 1024);
    ASSERT_TRUE(agent_->wait_for_error(wire::describe(wire::Reason::kLinkTooSlow)));
    std::size_t before = client_.units.size();
    client_.begin();
    ASSERT_TRUE(client_.run_until([&] { return client_.established == 2; }));
    ASSERT_TRUE(client_.run_until(units(before + 20)));
    ask_for_figures();
    EXPECT_LE(statistic(stats_, "max_in_flight"), 512 * 1024 + 2 * 32768);
}

TEST_F(AgentWithClip, port_that_vanishes_and_comes_back_is_opened_again)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(10)));
    client_.hang_up();
    listener_.reset();
    unlink(port_.c_str());
    ASSERT_TRUE(agent_->wait_for_error("the port is gone"));
    client_.run_for(0.7);
    listener_ = listen_unix(port_);
    std::size_t before = client_.units.size();
    ASSERT_TRUE(client_.accept(listener_.get()));
    ASSERT_TRUE(client_.run_until(units(before + 10)));
}

TEST_F(AgentWithClip, two_hundred_conversations_leave_nothing_behind)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(60)));
    long descriptors = -1, resident = -1;
    for (int i = 2; i <= 201; i++) {
        client_.begin();
        ASSERT_TRUE(client_.run_until([&] { return client_.established == i; }));
        std::size_t opens = client_.opens.size();
        ASSERT_TRUE(client_.run_until([&] { return client_.opens.size() > opens || !client_.units.empty(); }));
        for (int fds = 0; fds < 2; fds++)
            EXPECT_TRUE(connect().valid()); // players that come and go
        client_.units.clear();
        if (i == 30) {
            descriptors = open_descriptors(agent_->pid());
            resident = resident_kib(agent_->pid());
        }
    }
    ASSERT_TRUE(client_.run_until(units(60)));
    EXPECT_LE(open_descriptors(agent_->pid()), descriptors);
    EXPECT_LE(resident_kib(agent_->pid()), resident + 1024);
    ask_for_figures();
    EXPECT_EQ(statistic(stats_, "reconnects"), 200);
}

TEST_F(AgentWithClip, garbage_from_a_local_program_hurts_nobody_else)
{
    start();
    auto player = play();
    ASSERT_TRUE(client_.run_until(units(10)));
    std::vector<UniqueFd> bad;
    std::vector<std::uint8_t> noise(64 * 1024);
    for (int i = 0; i < 8; i++) {
        bad.push_back(connect());
        ASSERT_TRUE(bad.back().valid());
        for (std::size_t at = 0; at < noise.size(); at++)
            noise[at] = static_cast<std::uint8_t>((at + static_cast<std::size_t>(i)) * at * 2654435761u >> 13);
        (void)!send(bad.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    std::size_t before = client_.units.size();
    ASSERT_TRUE(client_.run_until(units(before + 25)));
    EXPECT_EQ(client_.opens.size(), 1u);
    EXPECT_TRUE(client_.closes.empty());
    // Whoever does not speak the protocol is sent away.
    ASSERT_TRUE(agent_->wait_for_error("does not speak the protocol"));
    EXPECT_EQ(client_.established, 1);
}

/// What the socket takes at once. Below 0: it is closed.
std::ptrdiff_t offer(const UniqueFd &fd, std::span<const std::uint8_t> bytes)
{
    const ssize_t sent = send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/// Says and hears HELLO until the two have met.
void introduce(const UniqueFd &fd, std::uint64_t nonce)
{
    wire::Handshake handshake({.name = "a program of the test's"});
    wire::Deframer deframer;
    deframer.reset(nonce);
    std::vector<std::uint8_t> bytes;
    wire::encode(handshake.start(nonce), bytes);
    for (int tries = 0; tries < 10 && !handshake.established(); ++tries) {
        ASSERT_EQ(offer(fd, bytes), static_cast<std::ptrdiff_t>(bytes.size()));
        bytes.clear();
        std::array<std::uint8_t, 4096> room;
        pollfd state{fd.get(), POLLIN, 0};
        ASSERT_EQ(poll(&state, 1, 5000), 1);
        const ssize_t got = recv(fd.get(), room.data(), room.size(), 0);
        ASSERT_GT(got, 0);
        deframer.feed(std::span(room).first(static_cast<std::size_t>(got)), [&](const wire::Message &message) {
            const auto *hello = std::get_if<wire::Hello>(&message);
            if (hello && handshake.receive(*hello).reply)
                wire::encode(handshake.resend(), bytes);
        });
    }
    ASSERT_TRUE(handshake.established());
    if (!bytes.empty())
        offer(fd, bytes);
}

TEST_F(AgentProgram, flood_is_read_no_faster_than_allowed_and_who_does_not_read_is_disconnected)
{
    start();
    const UniqueFd flooding = connect(), deaf = connect();
    introduce(flooding, 7);
    introduce(deaf, 8);
    wire::StreamOpen open;
    open.stream = 1;
    open.codec = wire::Codec::kMjpeg;
    open.coded_width = open.coded_height = 96;
    std::vector<std::uint8_t> flood;
    for (; open.stream <= 2; ++open.stream) // of one alone they would be too many
        wire::encode(open, flood);
    wire::Geometry geometry{
        .stream = 1, .serial = 0, .target = {0, 0, 96, 96}, .crop = {}, .placeholder = {}, .visible = {}};
    std::vector<std::uint8_t> ping;
    wire::encode(wire::Ping{1, 2}, ping);
    bool given_up = false;
    std::vector<std::uint8_t> room(65536);
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    std::size_t taken = 0;
    double lasted = 0;
    while ((lasted = seconds()) < 2 || (!given_up && lasted < 60)) {
        for (; lasted < 2 && flood.size() < 60'000; ++geometry.serial) {
            geometry.stream = 1 + geometry.serial % 2;
            wire::encode(geometry, flood);
        }
        const std::ptrdiff_t sent = offer(flooding, flood);
        ASSERT_GE(sent, 0) << "who reads is not disconnected";
        taken += lasted < 2 ? static_cast<std::size_t>(sent) : 0;
        flood.erase(flood.begin(), flood.begin() + sent);
        while (recv(flooding.get(), room.data(), room.size(), MSG_DONTWAIT) > 0) {
        }
        given_up = given_up || offer(deaf, ping) < 0; // 1,000 a second are no flood
        usleep(1000);
    }
    std::vector<std::uint8_t> one;
    wire::encode(geometry, one);
    const std::size_t messages = taken / one.size();
    // 4,000 a second, those of two seconds at once, and what socket and one read hold.
    EXPECT_LT(messages, 4 * 4000 + (512u << 10) / one.size());
    EXPECT_GT(messages, 8000u);
    EXPECT_TRUE(given_up);
    EXPECT_TRUE(agent_->wait_for_error("does not read what it is sent")) << agent_->errors();
    EXPECT_EQ(agent_->errors().find("not the protocol"), std::string::npos) << agent_->errors();
    EXPECT_EQ(client_.established, 1);
    RecordProperty("messages", static_cast<int>(messages));
    RecordProperty("seconds", static_cast<int>(seconds()));
}

TEST_F(AgentProgram, more_players_than_there_is_room_for_are_turned_away)
{
    start();
    std::vector<UniqueFd> players;
    for (int i = 0; i < 20; i++) {
        players.push_back(connect());
        ASSERT_TRUE(players.back().valid());
    }
    ASSERT_TRUE(agent_->wait_for_error("too many players"));
    std::uint8_t byte;
    auto closed = [&](const UniqueFd &fd) {
        pollfd state{fd.get(), POLLIN, 0};
        if (poll(&state, 1, 0) != 1)
            return false;
        ssize_t got = 1;
        while (got > 0)
            got = recv(fd.get(), &byte, 1, MSG_DONTWAIT);
        return got == 0;
    };
    ASSERT_TRUE(client_.run_until([&] { return closed(players.back()); }));
    EXPECT_FALSE(closed(players.front()));
}

TEST_F(AgentProgram, idle_agent_sleeps)
{
    start();
    client_.run_for(0.5);
    long before = agent_->sleeps();
    if (before < 0)
        GTEST_SKIP() << "no /proc to count wake-ups in";
    client_.run_for(3);
    EXPECT_EQ(agent_->sleeps() - before, 0) << "a client, no player";
    EXPECT_TRUE(agent_->running());
}

TEST_F(AgentProgram, agent_without_a_port_sleeps_until_the_port_comes)
{
    port_ = "org.spice-overlay.test.nothing";
    start_agent();
    ASSERT_TRUE(agent_->wait_for_error("waiting for it"));
    client_.run_for(2); // it looks a few times more at first
    long before = agent_->sleeps();
    if (before < 0)
        GTEST_SKIP() << "no /proc to count wake-ups in";
    client_.run_for(3);
    EXPECT_LE(agent_->sleeps() - before, 1) << "others may make devices meanwhile";
    agent_->signal(SIGTERM);
    EXPECT_EQ(agent_->wait(), 0);
}

TEST_F(AgentProgram, socket_handed_over_by_the_service_manager_is_used)
{
    listener_ = listen_unix(port_);
    UniqueFd handed = listen_unix(socket_);
    if (access("/usr/bin/env", X_OK) != 0 || access("/bin/sh", X_OK) != 0)
        GTEST_SKIP() << "no shell";
    std::string command = "exec 3<&" + std::to_string(handed.get())
                          + "; LISTEN_FDS=1 LISTEN_PID=$$ exec " AGENT_PROGRAM " --sessions any --verbose --port "
                          + port_;
    agent_ = std::make_unique<Program>(std::vector<std::string>{"-c", command}, handed.get(), "/bin/sh");
    ASSERT_TRUE(client_.accept(listener_.get()));
    ASSERT_TRUE(client_.run_until([&] { return client_.established == 1; })) << agent_->errors();
    UniqueFd player = connect();
    ASSERT_TRUE(player.valid());
    pollfd fd{player.get(), POLLIN, 0};
    EXPECT_EQ(poll(&fd, 1, 20'000), 1) << "the agent asks the player";
}

// ---- what people get wrong

struct Wrong {
    const char *name;
    std::vector<std::string> words; ///< "@x" is the file x of the test's directory
    int status;
    const char *message;
};

class WrongUse : public testing::TestWithParam<Wrong> {};

TEST_P(WrongUse, ends_with_a_message_and_a_status)
{
    TemporaryDirectory directory;
    std::string name = GetParam().name;
    std::vector<std::string> words = GetParam().words;
    for (std::string &word : words)
        if (word.starts_with('@'))
            word = directory / word.substr(1);
    write_bytes(directory / "file", std::vector<std::uint8_t>{1});
    UniqueFd other = listen_unix(directory / "taken");
    Program program(words, -1, AGENT_PROGRAM);
    EXPECT_EQ(program.wait(), GetParam().status);
    std::string said = program.errors();
    EXPECT_NE(said.find(GetParam().message), std::string::npos) << said;
    EXPECT_TRUE(said.starts_with("spice-overlay-agentd: ")) << said;
    EXPECT_EQ(std::ranges::count(said, '\n'), 1) << said;
}

INSTANTIATE_TEST_SUITE_P(
    AgentProgram, WrongUse,
    testing::Values(
        Wrong{"unknown_option", {"--louder"}, 2, "unknown option --louder"},
        Wrong{"value_missing", {"--port"}, 2, "--port wants a value"},
        Wrong{"argument", {"film.mkv"}, 2, "unexpected argument film.mkv"},
        Wrong{"sessions", {"--sessions", "all"}, 2, "logind, any or auto"},
        Wrong{"a_file_as_port", {"--sessions", "any", "--socket", "@sock", "--port", "@file"}, 1, "is not a port"},
        Wrong{"a_file_as_socket", {"--sessions", "any", "--socket", "@file", "--port", "@p"}, 1, "is not a socket"},
        Wrong{
            "a_second_agent", {"--sessions", "any", "--socket", "@taken", "--port", "@p"}, 1, "another agent listens"},
        Wrong{"no_directory",
              {"--sessions", "any", "--socket", "@none/sock", "--port", "@p"},
              1,
              "systemctl start spice-overlay-agentd.socket"}),
    [](const auto &parameter) { return std::string(parameter.param.name); });

TEST_F(AgentProgram, without_permission_it_says_what_to_do)
{
    if (geteuid() != 0 || access("/usr/bin/setpriv", X_OK) != 0)
        GTEST_SKIP() << "needs root, to give permissions up, and setpriv";
    // As one without rights, on a device that only root may open, and a directory that only root may write.
    chmod(directory_.operator/("").c_str(), 0711);
    auto as_nobody = [](std::vector<std::string> words) {
        words.insert(words.begin(),
                     {"--reuid=65534", "--regid=65534", "--clear-groups", AGENT_PROGRAM, "--sessions", "any"});
        return std::make_unique<Program>(words, -1, "/usr/bin/setpriv");
    };
    auto program = as_nobody({"--port", port_, "--socket", socket_});
    int status = program->wait();
    if (status == 127)
        GTEST_SKIP() << "the program cannot be reached without root's rights: " << program->errors();
    EXPECT_EQ(status, 1);
    EXPECT_NE(program->errors().find("start the agent by its unit"), std::string::npos) << program->errors();

    std::string open_directory = directory_ / "open";
    ASSERT_EQ(mkdir(open_directory.c_str(), 0777), 0);
    ASSERT_EQ(chmod(open_directory.c_str(), 0777), 0);
    std::string device = "/dev/console";
    if (access(device.c_str(), F_OK) != 0)
        GTEST_SKIP() << "no device of root's at hand";
    program = as_nobody({"--port", device, "--socket", open_directory + "/s"});
    EXPECT_EQ(program->wait(), 1);
    EXPECT_NE(program->errors().find("no permission to open the port"), std::string::npos) << program->errors();
    EXPECT_NE(program->errors().find("udev rule"), std::string::npos) << program->errors();
}

} // namespace
