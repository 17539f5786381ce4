// SPDX-License-Identifier: LGPL-2.1-or-later
// Whose video is shown. logind is a mock on a bus of its own (mock_logind.py), since sessions of this machine cannot be
// switched by a test; everything else is real.
#include "agent_program.h"

#include <fcntl.h>

#include <algorithm>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

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

    std::unique_ptr<Program> logind_;
    UniqueFd commands_;
    int done_ = 0;
};

TEST_F(AgentSessions, switch_of_sessions_takes_one_picture_away_and_brings_the_other)
{
    tell("session 1 1000 yes");
    tell("session 2 1001 no");
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

TEST_F(AgentSessions, locked_screen_shows_no_video)
{
    tell("session 1 1000 yes");
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
    tell("session 1 1000 yes");
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
    std::string me = std::to_string(geteuid());
    tell("session 1 " + me + " yes");
    start();
    auto player = play();
    ASSERT_TRUE(agent_->wait_for_error(wire::describe(wire::Reason::kSessionInactive)))
        << "the user has no display yet";
    EXPECT_TRUE(client_.opens.empty());
    player.reset();
    tell("display " + me + " 1");
    player = play();
    ASSERT_TRUE(client_.run_until(units_of(1, 10)));
}

TEST_F(AgentSessions, agent_sleeps_between_changes)
{
    tell("session 1 1000 yes");
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
