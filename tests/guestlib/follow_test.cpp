// SPDX-License-Identifier: LGPL-2.1-or-later
// A stream that follows a window, on a real X server.
#include "fixture.h"
#include "tests/tracker/desk.h"
#include "tests/tracker/x_server.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>

using namespace spice_overlay;
using namespace spice_overlay::test;
using guest::testing_tools::Desk;
using guest::testing_tools::XServer;

namespace {

class Following : public Library {
protected:
    void SetUp() override
    {
        if (!guest::testing_tools::installed("Xvfb"))
            GTEST_SKIP() << "Xvfb is not installed";
        Library::SetUp();
        server_ = XServer::start();
        ASSERT_TRUE(server_);
        desk_ = std::make_unique<Desk>(server_->display());
        connect_relay();
        stream_ = open(told_);
        ASSERT_TRUE(relay_.run_until([&] { return relay_.opens.size() == 1; }));
    }
    /// The relay says what becomes of the stream.
    void say(wire::Reason reason) { relay_.send(wire::StreamState{relay_.opens[0].stream, reason}); }
    bool placed(const wire::Rect &target, std::uint64_t visible)
    {
        return relay_.run_until([&] {
            if (relay_.geometries.empty())
                return false;
            const wire::Geometry &last = relay_.geometries.back();
            std::uint64_t area = 0;
            for (const wire::Rect &rect : last.visible)
                area += std::uint64_t{rect.width} * rect.height;
            return last.target == target && area == visible && told_.visible() == visible
                   && told_.width() == target.width && told_.height() == target.height;
        });
    }

    /// The sockets of this process whose peer's name has `text` in it.
    static std::size_t descriptors_to(const std::string &text)
    {
        std::size_t count = 0;
        for (int fd = 0; fd < 200; fd++) {
            sockaddr_un peer{};
            socklen_t length = sizeof peer;
            if (getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &length) == 0 && peer.sun_family == AF_UNIX)
                count +=
                    std::string(peer.sun_path[0] ? peer.sun_path : peer.sun_path + 1).find(text) != std::string::npos;
        }
        return count;
    }

    std::unique_ptr<XServer> server_;
    std::unique_ptr<Desk> desk_;
    Told told_;
    StreamPtr stream_;
};

TEST_F(Following, a_window_is_followed_while_the_stream_is_redirected_and_only_then)
{
    std::size_t before = descriptors_to("X11-unix");
    xcb_window_t window = desk_->create({.x = 20, .y = 30, .width = 320, .height = 240});
    desk_->sync();
    ASSERT_EQ(spice_overlay_stream_follow_window(stream_.get(), server_->display().c_str(), window, 1, -1), 0)
        << spice_overlay_guest_error();
    ASSERT_TRUE(relay_.run_until([&] { return !relay_.geometries.empty() && descriptors_to("X11-unix") == before; }))
        << "nobody looks at the screen while the player shows the video itself";
    EXPECT_TRUE(relay_.geometries.back().visible.empty());

    say(wire::Reason::kNone);
    ASSERT_TRUE(placed({20, 60, 320, 180}, 320 * 180)) << "16:9 in the middle of 4:3";
    desk_->move(window, 40, 50);
    desk_->sync();
    ASSERT_TRUE(placed({40, 80, 320, 180}, 320 * 180));
    desk_->create({.x = 0, .y = 0, .width = 140, .height = 400, .override_redirect = true});
    desk_->sync();
    ASSERT_TRUE(placed({40, 80, 320, 180}, 220 * 180));
    EXPECT_EQ(relay_.geometries.back().placeholder, std::nullopt);

    say(wire::Reason::kNoClient);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.geometries.back().visible.empty(); })) << "no stale place";
    ASSERT_TRUE(relay_.run_until([&] { return descriptors_to("X11-unix") == before; }));
    say(wire::Reason::kNone);
    ASSERT_TRUE(placed({40, 80, 320, 180}, 220 * 180));
    desk_->destroy(window);
    desk_->sync();
    ASSERT_TRUE(relay_.run_until([&] { return relay_.geometries.back().visible.empty() && told_.width() == 0; }));
}

TEST_F(Following, a_window_is_found_by_its_colour)
{
    say(wire::Reason::kNone);
    std::int32_t colour = spice_overlay_key_colour();
    ASSERT_EQ(spice_overlay_stream_follow_colour(stream_.get(), server_->display().c_str(), 0, colour), 0)
        << spice_overlay_guest_error();
    desk_->create({.x = 64, .y = 48, .width = 320, .height = 180, .colour = static_cast<std::uint32_t>(colour)});
    desk_->sync();
    ASSERT_TRUE(placed({64, 48, 320, 180}, 320 * 180));
    EXPECT_EQ(relay_.geometries.back().placeholder, static_cast<std::uint32_t>(colour));
    spice_overlay_rect place = {1, 2, 640, 360};
    spice_overlay_stream_set_region(stream_.get(), 0, &place, &place, 1, -1);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.geometries.back().target.x == 1; })) << "the last call holds";
}

TEST_F(Following, an_x_server_that_goes_takes_nothing_but_the_picture_with_it)
{
    say(wire::Reason::kNone);
    xcb_window_t window = desk_->create({.x = 20, .y = 30, .width = 320, .height = 180});
    desk_->sync();
    ASSERT_EQ(spice_overlay_stream_follow_window(stream_.get(), server_->display().c_str(), window, 0, -1), 0);
    ASSERT_TRUE(placed({20, 30, 320, 180}, 320 * 180));
    server_->stop();
    ASSERT_TRUE(relay_.run_until([&] { return relay_.geometries.back().visible.empty(); }));
    ASSERT_EQ(submit(stream_, unit(true), monotonic_now(), SPICE_OVERLAY_UNIT_KEY), 0);
    ASSERT_TRUE(relay_.run_until([&] { return relay_.units.size() == 1; }));
}

TEST_F(Following, a_display_that_is_not_there_is_an_error_that_says_so)
{
    errno = 0;
    EXPECT_EQ(spice_overlay_stream_follow_window(stream_.get(), ":123456", 5, 0, -1), -1);
    EXPECT_NE(errno, 0);
    EXPECT_NE(std::string(spice_overlay_guest_error()).find(":123456"), std::string::npos)
        << spice_overlay_guest_error();
    EXPECT_EQ(spice_overlay_stream_follow_colour(stream_.get(), ":123456", 0, 0x123456), -1);
    EXPECT_EQ(spice_overlay_stream_follow_window(stream_.get(), server_->display().c_str(), 0, 0, -1), -1);
}

} // namespace
