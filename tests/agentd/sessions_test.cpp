// SPDX-License-Identifier: LGPL-2.1-or-later
// Whose video is shown. logind is a mock on a bus of its own (mock_logind.py), since sessions of this machine cannot be
// switched by a test; everything else is real.
#include "agent_program.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

/// A player that says nothing but who it is.
class SilentPlayer {
public:
    explicit SilentPlayer(UniqueFd fd) : fd_(std::move(fd))
    {
        deframer_.reset(kNonce);
        say(handshake_.start(kNonce));
    }
    /// What it was told last of the client.
    std::optional<wire::Reason> told()
    {
        std::uint8_t buffer[4096];
        for (ssize_t got; (got = recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;)
            deframer_.feed(std::span(buffer).first(static_cast<std::size_t>(got)),
                           [this](const wire::Message &message) {
                               const auto *hello = std::get_if<wire::Hello>(&message);
                               if (hello && handshake_.receive(*hello).reply)
                                   say(handshake_.resend());
                               if (const auto *client = std::get_if<wire::ClientState>(&message))
                                   told_ = client->reason;
                           });
        return told_;
    }

private:
    void say(const wire::Message &message)
    {
        std::vector<std::uint8_t> bytes;
        wire::encode(message, bytes);
        ASSERT_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    }

    static constexpr std::uint64_t kNonce = 55;
    UniqueFd fd_;
    wire::Handshake handshake_{wire::Hello{.name = "a silent player"}};
    wire::Deframer deframer_;
    std::optional<wire::Reason> told_;
};

class AgentSessions : public AgentWithClip {
protected:
    void SetUp() override
    {
        AgentWithClip::SetUp();
        if (IsSkipped())
            return;
        int ends[2];
        ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
        UniqueFd theirs(ends[0]);
        commands_.reset(ends[1]);
        std::filesystem::create_directory(directory_ / "processes");
        logind_ = std::make_unique<Program>(
            std::vector<std::string>{MOCK_LOGIND, std::to_string(theirs.get()), directory_ / "processes"}, theirs.get(),
            "/usr/bin/python3");
        if (!logind_->wait_for_error("address ")) {
            if (logind_->errors().find("No module named") != std::string::npos)
                GTEST_SKIP() << "python3-dbusmock is not installed";
            FAIL() << logind_->errors();
        }
        std::string said = logind_->errors();
        std::string address = said.substr(said.find("address ") + 8);
        setenv("DBUS_SYSTEM_BUS_ADDRESS", address.substr(0, address.find('\n')).c_str(), 1);
        sessions_ = "logind";
    }
    void TearDown() override
    {
        AgentWithClip::TearDown();
        unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
        commands_.reset(); // it ends by that
        if (logind_) {
            EXPECT_EQ(logind_->wait(), 0) << logind_->errors();
        }
    }
    void tell(const std::string &line)
    {
        std::string text = line + "\n";
        ASSERT_EQ(write(commands_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
        done_++;
        ASSERT_TRUE(client_.run_until([this] {
            std::string said = logind_->errors();
            int count = 0;
            for (std::size_t at = 0; (at = said.find("done\n", at)) != std::string::npos; at++)
                count++;
            return count >= done_;
        })) << line
            << ": " << logind_->errors();
    }
    /// A player of a session, from its first moment: its process belongs to the session before it connects.
    std::unique_ptr<Program> play_in(const std::string &session)
    {
        std::string command = "echo -n /org/freedesktop/login1/session/" + session + " >"
                              + (directory_ / "processes/$$") + "; exec " PLAY_PROGRAM " " + clip()
                              + " --loop --quiet --port " + socket_;
        return std::make_unique<Program>(std::vector<std::string>{"-c", command}, -1, "/bin/sh");
    }
    auto closed(std::size_t count)
    {
        return [this, count] { return client_.closes.size() >= count; };
    }

    const std::string me_ = std::to_string(geteuid());
    std::unique_ptr<Program> logind_;
    UniqueFd commands_;
    int done_ = 0;
};

TEST_F(AgentSessions, switch_of_sessions_takes_one_picture_away_and_brings_the_other)
{
    tell("session 1 " + me_ + " yes");
    tell("session 2 " + me_ + " no");
    start();
    auto one = play_in("1");
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
    auto two = play_in("2");
    ASSERT_TRUE(agent_->wait_for_error(wire::describe(wire::Reason::kSessionInactive)));
    EXPECT_EQ(client_.opens.size(), 1u);

    tell("set 1 Active no");
    ASSERT_TRUE(client_.run_until(closed(1)));
    EXPECT_EQ(client_.closes[0], (wire::StreamClose{1, wire::Reason::kSessionInactive}));
    tell("set 2 Active yes");
    ASSERT_TRUE(client_.run_until(units_of(2, 10)));
    EXPECT_TRUE(client_.units_of(2)[0].key());

    tell("set 2 Active no");
    tell("set 1 Active yes");
    ASSERT_TRUE(client_.run_until(units_of(3, 10))) << "it is shown again";
    EXPECT_EQ(client_.closes.size(), 2u);
}

TEST_F(AgentSessions, only_who_has_a_session_is_shown_in_it)
{
    // A process has ended, a child of it has its connection, and its number is that of a process in another user's session now.
    const uid_t user = geteuid() ? geteuid() : 1001; // root's processes are shown in any session
    const std::string number = std::to_string(getpid());
    tell("session 1 " + std::to_string(user) + " no");
    tell("process " + number + " 1");
    start();
    ASSERT_EQ(chmod((directory_ / ".").c_str(), 0711), 0);
    ASSERT_EQ(seteuid(user), 0);
    UniqueFd connection = connect();
    ASSERT_EQ(seteuid(std::stoi(me_)), 0);
    ASSERT_TRUE(connection.valid());
    SilentPlayer player(std::move(connection));
    auto told = [&](wire::Reason reason) { return [&, reason] { return player.told() == reason; }; };
    ASSERT_TRUE(client_.run_until(told(wire::Reason::kSessionInactive)));
    tell("process " + number + " 2");
    tell("session 2 " + std::to_string(user + 1) + " yes");
    client_.run_for(0.5);
    EXPECT_EQ(player.told(), wire::Reason::kSessionInactive);
    tell("process " + number + " 3");
    tell("session 3 " + std::to_string(user) + " yes");
    ASSERT_TRUE(client_.run_until(told(wire::Reason::kNone))) << "its user's own";
}

TEST_F(AgentSessions, root_is_shown_in_the_session_that_it_works_in)
{
    if (geteuid() != 0)
        GTEST_SKIP() << "takes root";
    tell("session 1 1000 yes");
    start();
    auto player = play_in("1");
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
}

TEST_F(AgentSessions, locked_screen_shows_no_video)
{
    tell("session 1 " + me_ + " yes");
    start();
    auto player = play_in("1");
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
    tell("set 1 LockedHint yes");
    ASSERT_TRUE(client_.run_until(closed(1)));
    std::size_t before = client_.units.size();
    client_.run_for(0.5);
    EXPECT_EQ(client_.units.size(), before);
    tell("set 1 LockedHint no");
    ASSERT_TRUE(client_.run_until(units_of(2, 10)));
}

TEST_F(AgentSessions, only_a_local_session_of_a_user_is_shown)
{
    tell("session 1 " + me_ + " yes");
    tell("set 1 Remote yes");
    start();
    auto player = play_in("1");
    ASSERT_TRUE(agent_->wait_for_error(wire::describe(wire::Reason::kSessionInactive)));
    tell("set 1 Class greeter");
    tell("set 1 Remote no");
    client_.run_for(0.5);
    EXPECT_TRUE(client_.opens.empty());
    tell("set 1 Class user");
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
}

TEST_F(AgentSessions, process_outside_of_sessions_belongs_to_its_users_display)
{
    tell("session 1 " + me_ + " yes");
    start();
    auto player = play();
    ASSERT_TRUE(agent_->wait_for_error(wire::describe(wire::Reason::kSessionInactive)))
        << "the user has no display yet";
    EXPECT_TRUE(client_.opens.empty());
    player.reset();
    tell("display " + me_ + " 1");
    player = play();
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
}

TEST_F(AgentSessions, agent_sleeps_between_changes)
{
    tell("session 1 " + me_ + " yes");
    start();
    client_.run_for(0.5);
    long before = agent_->sleeps();
    if (before < 0)
        GTEST_SKIP() << "no /proc to count wake-ups in";
    client_.run_for(2);
    EXPECT_EQ(agent_->sleeps() - before, 0);
}

TEST_F(AgentSessions, agent_that_loses_the_bus_ends_and_says_so)
{
    start();
    commands_.reset();
    EXPECT_EQ(logind_->wait(), 0);
    EXPECT_EQ(agent_->wait(), 1);
    EXPECT_NE(agent_->errors().find("system bus"), std::string::npos) << agent_->errors();
}

} // namespace
