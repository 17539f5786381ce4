// SPDX-License-Identifier: LGPL-2.1-or-later
// The real agent and real players behind a real libspice-server, and the client's own side of the conversation.
#include "portclient/base/clock.h"
#include "portclient/session.h"
#include "tests/guest/media_files.h"
#include "tests/host/test_client.h"
#include "tests/host/test_process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

using namespace spice_overlay;
namespace tools = spice_overlay::host::testing_tools;

namespace {

constexpr char kScene[] = "desktop 320x200\nwindow notes 20 20 200 120\n";

/// A SPICE client whose port speaks the protocol, and that takes every unit for shown.
class Viewer : public Session::Listener {
public:
    explicit Viewer(const std::string &spice) : client_(spice), session_(hello(), *this) {}

    /// Takes in what has come through the port; `done` after that.
    bool run_until(const std::function<bool()> &done)
    {
        return tools::wait_until([&] {
            take();
            return done();
        });
    }
    /// Lets bytes come and takes none in: how many.
    std::size_t unread() const { return client_.port_data.size(); }

    struct Stream {
        std::size_t units = 0;
        std::size_t keys = 0;
        bool first_is_key = false;
        std::int64_t first_pts = 0;
        bool closed = false;
    };
    std::map<std::uint32_t, Stream> streams;
    [[nodiscard]] Session &session() { return session_; }
    [[nodiscard]] std::size_t units(std::uint32_t stream) { return streams[stream].units; }

    wire::Reason open(const wire::StreamOpen &stream) override
    {
        streams[stream.stream] = {};
        return wire::Reason::kNone;
    }
    void geometry(const wire::Geometry &) override {}
    void access_unit(const wire::AccessUnit &unit) override
    {
        Stream &stream = streams[unit.stream];
        if (stream.units++ == 0) {
            stream.first_is_key = unit.flags & wire::kKey;
            stream.first_pts = unit.pts;
        }
        stream.keys += (unit.flags & wire::kKey) != 0;
        session_.units_done(unit.stream, 1, monotonic_now());
        session_.presented(unit.stream, 1);
    }
    void play_state(const wire::PlayState &) override {}
    void close(std::uint32_t stream, wire::Reason) override { streams[stream].closed = true; }
    void transmit(std::span<const std::uint8_t> bytes) override { client_.send_to_port({bytes.begin(), bytes.end()}); }

private:
    static wire::Hello hello()
    {
        wire::Hello hello;
        hello.name = "test viewer";
        hello.max_streams = 8;
        hello.codecs = {{wire::Codec::kH264, 0, -1, -1, 0, 0}, {wire::Codec::kMjpeg, 0, -1, -1, 0, 0}};
        return hello;
    }
    void take()
    {
        bool open = client_.port_events.ends_with("OPENED ");
        if (open != std::exchange(open_, open)) {
            if (open)
                session_.port_opened(monotonic_now(), fresh_nonce());
            else
                session_.port_closed();
        }
        auto bytes = std::exchange(client_.port_data, {});
        if (!bytes.empty())
            session_.feed(bytes, monotonic_now());
        (void)session_.tick(monotonic_now());
    }

    tools::Client client_;
    Session session_;
    bool open_ = false;
};

class AgentBehindServer : public testing::Test {
protected:
    void SetUp() override
    {
        if (!test::has_ffmpeg() || !test::has_encoder("libx264"))
            GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
        ASSERT_TRUE(
            test::make_clip(path("light.mp4"), {"-c:v", "libx264", "-g", "50", "-bf", "0", "-sc_threshold", "0"}, 4));
        host_.emplace(kScene, std::vector<std::string>{"--port-socket", path("port")});
        ASSERT_TRUE(host_->ready()) << host_->program().output();
        agent_ =
            start({AGENT_PROGRAM, "--port", path("port"), "--socket", path("agent"), "--sessions", "any", "--verbose"},
                  "agent.log");
    }
    void TearDown() override
    {
        if (HasFailure() && agent_)
            ADD_FAILURE() << "the agent said: " << agent_->output();
    }
    std::string path(const std::string &name) const { return directory_.path(name); }
    std::unique_ptr<tools::Program> start(std::vector<std::string> words, const std::string &log)
    {
        return std::make_unique<tools::Program>(std::move(words), path(log));
    }
    std::unique_ptr<tools::Program> play(const std::string &clip)
    {
        return start({PLAY_PROGRAM, path(clip), "--loop", "--quiet", "--port", path("agent")},
                     "play" + std::to_string(plays_++) + ".log");
    }

    tools::TemporaryDirectory directory_;
    std::optional<tools::HostProgram> host_;
    std::unique_ptr<tools::Program> agent_;
    int plays_ = 0;
};

TEST_F(AgentBehindServer, two_players_are_redirected_and_a_client_that_returns_sees_both_at_once)
{
    auto one = play("light.mp4"), two = play("light.mp4");
    {
        Viewer viewer(host_->spice());
        ASSERT_TRUE(viewer.run_until([&] { return viewer.units(1) > 60 && viewer.units(2) > 60; }));
        EXPECT_EQ(viewer.session().counters().protocol_errors, 0u);
    }
    // The host's socket, unlike a virtio port, does not hang up when the client goes: the agent notices that nobody reads.
    ASSERT_TRUE(agent_->wait_for_output("the client is gone"));
    ASSERT_TRUE(agent_->wait_for_output(wire::describe(wire::Reason::kLinkTooSlow)));
    // In the middle of a group the next key unit is up to two seconds away, yet the first unit is one, of before.
    Viewer viewer(host_->spice());
    ASSERT_TRUE(viewer.run_until([&] { return viewer.units(3) > 0 && viewer.units(4) > 0; }));
    std::int64_t now = monotonic_now();
    for (std::uint32_t stream : {3u, 4u}) {
        EXPECT_TRUE(viewer.streams[stream].first_is_key);
        EXPECT_LE(viewer.streams[stream].first_pts, now);
    }
    ASSERT_TRUE(viewer.run_until([&] { return viewer.units(3) > 60 && viewer.units(4) > 60; }));
    EXPECT_EQ(viewer.session().counters().protocol_errors, 0u);
    EXPECT_EQ(one->output(), "") << "the player was not disturbed";
}

TEST_F(AgentBehindServer, client_that_stalls_has_little_before_it_and_gets_the_videos_back)
{
    ASSERT_TRUE(test::make_clip(path("heavy.mp4"), {"-vf", "noise=alls=80:allf=t+u", "-c:v", "mjpeg", "-q:v", "4"}, 2,
                                "1280x720"));
    auto heavy = play("heavy.mp4"), light = play("light.mp4");
    Viewer viewer(host_->spice());
    ASSERT_TRUE(viewer.run_until([&] { return viewer.units(1) > 5 && viewer.units(2) > 5; }));
    // The SPICE client goes on, and keeps what comes; the part that speaks the protocol does not.
    ASSERT_TRUE(tools::wait_until(
        [&] { return agent_->output().find("the client reads nothing any more") != std::string::npos; }));
    EXPECT_GE(viewer.unread(), 150u * 1024) << "the clip is not heavy enough to show it";
    EXPECT_LE(viewer.unread(), (512u + 64u) * 1024);
    ASSERT_TRUE(agent_->wait_for_output(wire::describe(wire::Reason::kLinkTooSlow)));
    ASSERT_TRUE(viewer.run_until([&] {
        std::size_t back = 0;
        for (auto &[id, stream] : viewer.streams)
            back += !stream.closed && stream.units > 20;
        return back >= 2;
    }));
    EXPECT_EQ(viewer.session().counters().protocol_errors, 0u);
}

} // namespace
