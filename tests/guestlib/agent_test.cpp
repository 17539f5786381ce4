// SPDX-License-Identifier: LGPL-2.1-or-later
// The library with the real agent, and a model of the client on the agent's port.
#include "fixture.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

/// Resident memory of this process, in bytes.
long resident()
{
    long pages = 0, whole = 0;
    FILE *file = std::fopen("/proc/self/statm", "r");
    if (!file || std::fscanf(file, "%ld %ld", &whole, &pages) != 2)
        pages = 0;
    if (file)
        std::fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

class WithAgent : public Library {
protected:
    void SetUp() override
    {
        Library::SetUp();
        listener_.reset();
        unlink(path_.c_str());
        port_listener_ = listen_unix(port_);
        ASSERT_TRUE(port_listener_.valid());
        start_agent();
        ASSERT_TRUE(accept_client());
        guest_.reset(spice_overlay_guest_new(path_.c_str(), "test 1"));
    }
    void TearDown() override
    {
        stop_source();
        if (HasFailure())
            std::fprintf(stderr, "the agent says:\n%s", agent_->errors().c_str());
        stream_.reset();
        guest_.reset();
        agent_.reset();
        Library::TearDown();
    }
    void start_agent()
    {
        agent_ = std::make_unique<Program>(
            std::vector<std::string>{"--port", port_, "--socket", path_, "--sessions", "any", "--verbose"});
    }
    bool accept_client()
    {
        int before = peer_.established;
        return peer_.accept(port_listener_.get()) && peer_.run_until([&] { return peer_.established > before; });
    }
    bool told_state(spice_overlay_reason reason)
    {
        return peer_.run_until([&] { return told_.state() == reason; });
    }
    /// A film that plays on at 50 pictures a second; a key unit begins it, and then there are only those that are asked for.
    void start_source(std::size_t size = 1000)
    {
        source_ = std::thread([this, size] {
            for (int i = 0, asked = -1; !stop_; i++) {
                std::int64_t now = monotonic_now();
                int wanted = told_.need_keys();
                bool key = std::exchange(asked, wanted) != wanted;
                if (submit(stream_, unit(key, i % 2 == 0, size), now + 40 * kMs, key ? SPICE_OVERLAY_UNIT_KEY : 0) != 0)
                    refused_++;
                slowest_ = std::max(slowest_.load(), monotonic_now() - now);
                usleep(20'000);
            }
        });
    }
    void stop_source()
    {
        stop_ = true;
        if (source_.joinable())
            source_.join();
    }

    std::string port_ = directory_ / "port";
    UniqueFd port_listener_;
    std::unique_ptr<Program> agent_;
    Told told_;
    StreamPtr stream_;
    std::thread source_;
    std::atomic<bool> stop_ = false;
    std::atomic<int> refused_ = 0;
    std::atomic<std::int64_t> slowest_ = 0;
};

TEST_F(WithAgent, a_stream_reaches_the_client_and_returns_with_it)
{
    ASSERT_EQ(meanwhile(peer_, [&] { return check(10'000); }), SPICE_OVERLAY_REASON_NONE);
    stream_ = open(told_);
    spice_overlay_rect place = {10, 20, 640, 360};
    spice_overlay_stream_set_region(stream_.get(), 0, &place, &place, 1, 0x102030);
    start_source();
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() >= 20; }));
    EXPECT_EQ(peer_.geometries.back().target, (wire::Rect{10, 20, 640, 360}));

    peer_.hang_up();
    ASSERT_TRUE(told_.wait_state(SPICE_OVERLAY_REASON_NO_CLIENT));
    EXPECT_EQ(check(0), SPICE_OVERLAY_REASON_NO_CLIENT);
    std::size_t before = peer_.units.size();
    ASSERT_TRUE(accept_client());
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() > before + 20; }));
    EXPECT_TRUE(peer_.units[before].key());
    EXPECT_EQ(told_.need_keys(), 0);
}

TEST_F(WithAgent, an_agent_that_is_killed_in_mid_stream_is_replaced_by_the_next)
{
    stream_ = open(told_);
    start_source();
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() >= 20; }));
    agent_->signal(SIGKILL);
    EXPECT_EQ(agent_->wait(), -2);
    ASSERT_TRUE(told_.wait_state(SPICE_OVERLAY_REASON_NO_AGENT));
    std::size_t before = peer_.units.size();
    start_agent();
    peer_.opens.clear(); // another agent, which counts anew
    ASSERT_TRUE(accept_client());
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() > before + 20; }));
    EXPECT_TRUE(peer_.units[before].key()) << "the group of pictures was kept, and nobody had to be asked";
    EXPECT_EQ(told_.need_keys(), 0);
    EXPECT_EQ(refused_, 0);
}

TEST_F(WithAgent, an_agent_that_is_stopped_holds_nobody_and_goes_on_afterwards)
{
    stream_ = open(told_);
    start_source(50'000);
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() >= 20; }));
    long before = resident();
    agent_->signal(SIGSTOP);
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NO_AGENT)) << "it is told in the end";
    EXPECT_LT(resident() - before, 40 << 20);
    EXPECT_LT(slowest_, 1'000 * kMs) << "nothing blocks; the limit is for a busy machine";
    agent_->signal(SIGCONT);
    ASSERT_TRUE(told_state(SPICE_OVERLAY_REASON_NONE));
    peer_.errors.clear(); // the cut of an agent that was stopped in mid-write
    std::size_t units = peer_.units.size();
    ASSERT_TRUE(peer_.run_until([&] { return peer_.units.size() > units + 20; }));
}

} // namespace
