// SPDX-License-Identifier: LGPL-2.1-or-later
// The real program, on a unix socket or a pty, against a model client.
#include "media_files.h"
#include "model_client.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

constexpr std::int64_t kMs = 1'000'000;

std::int64_t now_ns()
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

/// The number behind `"key": ` in the statistics; -1 when it is not there.
long statistic(const std::string &path, const std::string &key)
{
    auto bytes = read_bytes(path);
    std::string text(bytes.begin(), bytes.end());
    std::size_t at = text.find("\"" + key + "\": ");
    return at == std::string::npos ? -1 : std::strtol(text.c_str() + at + key.size() + 4, nullptr, 10);
}

class PlayProgram : public testing::Test {
protected:
    void SetUp() override
    {
        if (!has_ffmpeg() || !has_encoder("libx264"))
            GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
        ASSERT_TRUE(has_clip("short.mp4", 1, 25));
        ASSERT_TRUE(has_clip("long.mp4", 20, 50));
        listener_ = listen_unix(port_);
        ASSERT_TRUE(listener_.valid());
    }
    void TearDown() override
    {
        for (const std::string &error : client_.errors)
            ADD_FAILURE() << "the client saw: " << error;
    }

    static std::string clip(const std::string &name)
    {
        static TemporaryDirectory directory;
        return directory / name;
    }
    static bool has_clip(const std::string &name, int seconds, int group)
    {
        return access(clip(name).c_str(), R_OK) == 0
               || make_clip(clip(name),
                            {"-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", std::to_string(group),
                             "-b_strategy", "0", "-sc_threshold", "0"},
                            seconds);
    }

    void start(std::vector<std::string> words, int inherited = -1)
    {
        words.insert(words.end(), {"--port", port_, "--stats", stats_});
        program_ = std::make_unique<Program>(words, inherited);
        ASSERT_TRUE(client_.accept(listener_.get()));
    }
    /// With a geometry socket whose other end is in feed_.
    void start_with_feed(std::vector<std::string> words)
    {
        int ends[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        feed_.reset(ends[0]);
        UniqueFd theirs(ends[1]);
        words.insert(words.end(), {"--geometry-from", std::to_string(theirs.get())});
        start(std::move(words), theirs.get());
    }
    void tell(const std::string &line)
    {
        std::string text = line + "\n";
        ASSERT_EQ(write(feed_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    auto units(std::size_t count)
    {
        return [this, count] { return client_.units.size() >= count; };
    }

    TemporaryDirectory directory_;
    std::string port_ = directory_ / "port";
    std::string stats_ = directory_ / "stats.json";
    UniqueFd listener_;
    UniqueFd feed_;
    ModelClient client_;
    std::unique_ptr<Program> program_;
};

TEST_F(PlayProgram, plays_a_file_in_time_and_ends)
{
    start({clip("short.mp4"), "--rect", "10,20,320,240"});
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    EXPECT_EQ(client_.closes[0].reason, wire::Reason::kEndOfStream);
    EXPECT_EQ(program_->wait(), 0) << program_->errors();
    EXPECT_EQ(program_->errors(), "");

    ASSERT_EQ(client_.opens.size(), 1u);
    EXPECT_EQ(client_.opens[0].codec, wire::Codec::kH264);
    ASSERT_EQ(client_.geometries.size(), 1u);
    EXPECT_EQ(client_.geometries[0].target, (wire::Rect{10, 20, 320, 240}));
    EXPECT_EQ(client_.geometries[0].visible, (std::vector<wire::Rect>{{10, 20, 320, 240}}));
    ASSERT_EQ(client_.units.size(), 25u);
    std::size_t bytes = 0;
    for (const auto &unit : client_.units) {
        bytes += unit.data.size();
        EXPECT_EQ(unit.gap(), false);
    }
    EXPECT_TRUE(client_.units[0].key());
    EXPECT_GE(client_.units.back().arrived - client_.units.front().arrived, 900 * kMs) << "sent at once, not in time";
    EXPECT_EQ(statistic(stats_, "frames_sent"), 25);
    EXPECT_EQ(statistic(stats_, "frames_dropped"), 0);
    EXPECT_EQ(statistic(stats_, "key_frames"), 1);
    EXPECT_EQ(statistic(stats_, "bitstream_bytes"), static_cast<long>(bytes));
    EXPECT_GT(statistic(stats_, "wire_bytes"), static_cast<long>(bytes));
    EXPECT_EQ(statistic(stats_, "reconnects"), 0);
}

TEST_F(PlayProgram, a_picture_is_sent_before_it_is_to_be_seen)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(60)));
    std::vector<std::int64_t> margins;
    for (const auto &unit : client_.units)
        margins.push_back(unit.pts - unit.arrived);
    std::ranges::sort(margins);
    EXPECT_GE(margins[margins.size() / 10], -20 * kMs) << "most come in time even on a busy machine";
    // Four pictures at most are reordered, and a unit may go 45 ms before it is due.
    EXPECT_LE(margins.back(), 250 * kMs) << "and none long before";
}

TEST_F(PlayProgram, answers_pings_with_its_own_clock)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until([&] { return client_.established == 1; }));
    client_.send(wire::Ping{77, 123456});
    ASSERT_TRUE(client_.run_until([&] { return !client_.pongs.empty(); }));
    EXPECT_EQ(client_.pongs[0].id, 77u);
    EXPECT_EQ(client_.pongs[0].sent, 123456u);
    EXPECT_LE(client_.pongs[0].received, client_.pongs[0].replied);
    EXPECT_NEAR(static_cast<double>(client_.pongs[0].replied), static_cast<double>(now_ns()), 5e9);
}

TEST_F(PlayProgram, loops_with_times_that_only_grow)
{
    start({clip("short.mp4"), "--loop"});
    ASSERT_TRUE(client_.run_until(units(60)));
    std::vector<std::int64_t> shown;
    for (const auto &unit : client_.units)
        shown.push_back(unit.pts);
    std::ranges::sort(shown);
    for (std::size_t i = 1; i < 50; i++)
        EXPECT_NEAR(static_cast<double>(shown[i] - shown[i - 1]), 40e6, 1e6) << i;
    EXPECT_TRUE(client_.units[25].key());
    EXPECT_TRUE(client_.units[25].gap());
    EXPECT_TRUE(program_->running());
}

TEST_F(PlayProgram, a_signal_closes_the_stream_and_writes_the_statistics)
{
    for (int number : {SIGINT, SIGTERM}) {
        client_.closes.clear();
        client_.opens.clear();
        client_.units.clear();
        start({clip("long.mp4")});
        ASSERT_TRUE(client_.run_until(units(5)));
        program_->signal(number);
        ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
        EXPECT_EQ(client_.closes[0].reason, wire::Reason::kClosedByUser);
        EXPECT_EQ(program_->wait(), 0);
        EXPECT_GE(statistic(stats_, "frames_sent"), 5);
    }
}

TEST_F(PlayProgram, refused_for_all_streams_it_ends_with_the_reason_and_status_3)
{
    client_.refuses_with = wire::Reason::kUnsupportedProfile;
    start({clip("long.mp4"), clip("short.mp4")});
    ASSERT_TRUE(client_.run_until([&] { return !client_.port_open(); }));
    EXPECT_EQ(program_->wait(), 3);
    EXPECT_NE(
        program_->errors().find(std::string("redirect refused: ") + wire::describe(wire::Reason::kUnsupportedProfile)),
        std::string::npos)
        << program_->errors();
    EXPECT_EQ(statistic(stats_, "frames_sent"), 0);
    auto text = read_bytes(stats_);
    std::string all(text.begin(), text.end());
    EXPECT_NE(all.find(wire::describe(wire::Reason::kUnsupportedProfile)), std::string::npos);
}

TEST_F(PlayProgram, one_refused_of_two_does_not_end_the_other)
{
    client_.gives_credit = false;
    start({clip("long.mp4"), clip("short.mp4")});
    ASSERT_TRUE(client_.run_until([&] { return client_.opens.size() == 2; }));
    client_.send(wire::StreamClose{1, wire::Reason::kDecoderFailed});
    client_.gives_credit = true;
    client_.give_credit(2);
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    EXPECT_EQ(client_.closes[0].stream, 2u);
    EXPECT_EQ(client_.units.size(), 25u);
    EXPECT_EQ(program_->wait(), 0);
    EXPECT_NE(program_->errors().find("redirect ended by the client"), std::string::npos);
}

TEST_F(PlayProgram, several_files_share_the_port)
{
    start({clip("short.mp4"), clip("long.mp4"), clip("short.mp4")});
    ASSERT_TRUE(client_.run_until([&] { return client_.closes.size() == 2; }));
    EXPECT_EQ(client_.opens.size(), 3u);
    EXPECT_EQ(client_.units_of(1).size(), 25u);
    EXPECT_EQ(client_.units_of(3).size(), 25u);
    EXPECT_GE(client_.units_of(2).size(), 20u);
    EXPECT_TRUE(program_->running());
}

TEST_F(PlayProgram, without_credit_it_drops_and_recovers_at_a_key_unit)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(10)));
    client_.gives_credit = false;
    client_.run_for(4);
    std::size_t before = client_.units.size();
    EXPECT_LE(before, 10u + 2 * client_.unit_window);
    client_.gives_credit = true;
    client_.give_credit(1);
    ASSERT_TRUE(client_.run_until(units(before + 5)));
    EXPECT_TRUE(client_.units[before].key() && client_.units[before].gap());
    EXPECT_GT(client_.units[before].pts, now_ns() - 1000 * kMs) << "what it sends is old";
    program_->signal(SIGTERM);
    EXPECT_EQ(program_->wait(), 0);
    EXPECT_GT(statistic(stats_, "frames_dropped"), 20);
}

TEST_F(PlayProgram, a_lost_decoder_gets_a_key_unit_at_once)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(20)));
    client_.send(wire::NeedKey{1});
    std::size_t before = client_.units.size();
    ASSERT_TRUE(client_.run_until(
        [&] {
            return std::any_of(client_.units.begin() + static_cast<std::ptrdiff_t>(before), client_.units.end(),
                               [](const auto &unit) { return unit.key() && unit.gap(); });
        },
        1.0))
        << "the key unit before was not sent again";
}

TEST_F(PlayProgram, the_geometry_socket_opens_places_pauses_seeks_and_closes)
{
    start_with_feed({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until([&] { return client_.established == 1; }));
    client_.run_for(0.3);
    EXPECT_TRUE(client_.opens.empty()) << "opened without being told to";

    tell("geometry 1 0 100 50 640 480 ff00aa 2 100 50 640 100 100 150 320 380");
    tell("open 1");
    ASSERT_TRUE(client_.run_until(units(10)));
    ASSERT_EQ(client_.geometries.size(), 1u);
    EXPECT_EQ(client_.geometries[0].placeholder, 0xff00aau);
    EXPECT_EQ(client_.geometries[0].visible.size(), 2u);

    tell("geometry 1 0 101 50 640 480 ff00aa 0");
    ASSERT_TRUE(client_.run_until([&] { return client_.geometries.size() == 2; }));
    EXPECT_GT(client_.geometries[1].serial, client_.geometries[0].serial);

    tell("pause 1");
    ASSERT_TRUE(client_.run_until([&] { return client_.states.size() == 1; }));
    EXPECT_EQ(client_.states[0].mode, wire::PlayMode::kPaused);
    client_.run_for(0.2);
    std::size_t paused_at = client_.units.size();
    client_.run_for(0.5);
    EXPECT_EQ(client_.units.size(), paused_at) << "goes on while paused";

    tell("resume 1");
    ASSERT_TRUE(client_.run_until(units(paused_at + 10)));
    EXPECT_FALSE(client_.units[paused_at].gap()) << "the next unit is the next unit";

    tell("seek 1 11");
    ASSERT_TRUE(client_.run_until([&] { return client_.units.back().epoch == 1; }));
    std::int64_t sought = now_ns();
    auto sent = std::ranges::find_if(client_.units, [](const auto &unit) { return unit.epoch == 1; });
    EXPECT_TRUE(sent->key() && sent->gap());
    EXPECT_NEAR(static_cast<double>(sought - sent->pts), 1e9, 0.3e9) << "from the key unit at 10 s";
    ASSERT_TRUE(client_.run_until([&] { return client_.units.back().pts > now_ns(); }, 5));

    tell("close 1");
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    EXPECT_EQ(client_.closes[0].stream, 1u);
    tell("open 1");
    ASSERT_TRUE(client_.run_until([&] { return client_.opens.size() == 2; }));
    EXPECT_EQ(client_.opens[1].stream, 2u);
    ASSERT_TRUE(client_.run_until([&] { return client_.units_of(2).size() > 3; }));
    EXPECT_EQ(client_.units_of(2)[0].data, client_.units[0].data) << "from the start of the file";
}

TEST_F(PlayProgram, hostile_lines_on_the_geometry_socket_change_nothing)
{
    start_with_feed({clip("long.mp4")});
    tell("open 7");
    tell("geometry 1 0 0 0 10 10 - 5 1");
    tell(std::string(100'000, 'x'));
    tell("seek 1 -5");
    tell("open 1");
    ASSERT_TRUE(client_.run_until(units(5)));
    EXPECT_TRUE(client_.geometries.empty());
    EXPECT_NE(program_->errors().find("a line was left out"), std::string::npos);
}

TEST_F(PlayProgram, ends_when_the_desktop_is_gone)
{
    start_with_feed({clip("long.mp4"), "--loop"});
    tell("open 1");
    ASSERT_TRUE(client_.run_until(units(5)));
    feed_.reset();
    listener_.reset();
    unlink(port_.c_str());
    client_.hang_up();
    EXPECT_EQ(program_->wait(), 1);
}

TEST_F(PlayProgram, a_seek_in_a_pause_sends_all_up_to_the_picture_though_the_client_says_nothing)
{
    start_with_feed({clip("long.mp4")});
    tell("open 1");
    ASSERT_TRUE(client_.run_until(units(10)));
    tell("pause 1");
    ASSERT_TRUE(client_.run_until([&] { return client_.states.size() == 1; }));
    client_.gives_credit = false;
    client_.unit_window = 100;
    client_.give_credit(1);
    std::int64_t sought = now_ns();
    tell("seek 1 10.6");
    ASSERT_TRUE(client_.run_until([&] { return client_.units.back().epoch == 1; }));
    auto there = [&](const auto &unit) { return unit.epoch == 1 && unit.pts > sought - 50 * kMs; };
    EXPECT_TRUE(client_.run_until([&] { return std::ranges::any_of(client_.units, there); }, 2))
        << "the unit sent last is shown " << (sought - client_.units.back().pts) / kMs << " ms before the position";
}

TEST_F(PlayProgram, while_paused_nothing_wakes_it)
{
    start_with_feed({clip("long.mp4")});
    tell("open 1");
    ASSERT_TRUE(client_.run_until(units(10)));
    tell("pause 1");
    ASSERT_TRUE(client_.run_until([&] { return client_.states.size() == 1; }));
    client_.run_for(0.3); // the last credit has been taken in
    long before = program_->sleeps();
    if (before < 0)
        GTEST_SKIP() << "no /proc to count wake-ups in";
    client_.run_for(1.5);
    EXPECT_EQ(program_->sleeps(), before);
}

TEST_F(PlayProgram, geometry_overtakes_a_large_unit)
{
    // One large picture, and credit that lets it pass in parts only.
    ASSERT_TRUE(ffmpeg({"-f", "lavfi", "-i", "nullsrc=size=1280x720:rate=25,geq=random(1)*255:128:128", "-t", "0.4",
                        "-c:v", "mjpeg", "-q:v", "2", directory_ / "large.mkv"}));
    client_.window = 40'000;
    client_.gives_credit = false;
    start_with_feed({directory_ / "large.mkv"});
    tell("open 1");
    ASSERT_TRUE(client_.run_until([&] { return !client_.opens.empty(); }));
    client_.give_credit(1);
    ASSERT_TRUE(client_.run_until([&] { return std::ranges::count(client_.order, "unit 1") == 1; }));
    tell("geometry 1 0 5 6 7 8 - 0");
    ASSERT_TRUE(client_.run_until([&] { return !client_.geometries.empty(); }));
    EXPECT_TRUE(client_.units.empty()) << "the geometry waited for the whole unit";
    client_.gives_credit = true;
    client_.give_credit(1);
    ASSERT_TRUE(client_.run_until(units(1)));
    EXPECT_GT(client_.units[0].data.size(), 200'000u);
}

TEST_F(PlayProgram, a_client_that_vanishes_and_returns_is_shown_the_present)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(10)));
    std::int64_t began = client_.units[0].pts;
    std::size_t before = client_.units.size();
    client_.hang_up();
    ASSERT_TRUE(program_->wait_for_error("the port is gone"));
    ASSERT_TRUE(client_.accept(listener_.get()));
    ASSERT_TRUE(client_.run_until(units(before + 40)));
    EXPECT_EQ(client_.opens.size(), 2u);
    EXPECT_EQ(client_.units[before].stream, 2u);
    EXPECT_TRUE(client_.units[before].key());
    // The clock has run on: the same pictures have the same times as before.
    for (std::size_t i = before; i < client_.units.size(); i++)
        EXPECT_NEAR(static_cast<double>((client_.units[i].pts - began) % (40 * kMs)), 0, 1e5);
    program_->signal(SIGTERM);
    EXPECT_EQ(program_->wait(), 0);
    EXPECT_EQ(statistic(stats_, "reconnects"), 1);
    EXPECT_EQ(statistic(stats_, "port_losses"), 1);
}

TEST_F(PlayProgram, a_new_hello_on_the_same_port_begins_everything_anew)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(10)));
    std::size_t before = client_.units.size();
    client_.begin();
    ASSERT_TRUE(client_.run_until([&] { return client_.opens.size() == 2; }));
    ASSERT_TRUE(client_.run_until(units(before + 10)));
    EXPECT_EQ(client_.units.back().stream, 2u);
    EXPECT_EQ(client_.units_of(2)[0].serial, 0u);
    EXPECT_TRUE(client_.units_of(2)[0].key());
}

TEST_F(PlayProgram, a_malformed_message_begins_a_new_conversation)
{
    const std::vector<std::uint8_t> malformed[] = {
        {0, 0, 0, 0},                             // a size below the header's
        {6, 0, 0x22, 0, 1, 0},                    // CREDIT, too short
        {8, 0, 0x24, 0, 0, 0, 0, 0},              // NEED_KEY of stream 0
        {12, 0, 0x24, 0, 1, 0, 0, 0, 9, 9, 9, 9}, // NEED_KEY, too long
    };
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(5)));
    int conversations = 1;
    for (const auto &bytes : malformed) {
        client_.send_bytes(bytes);
        conversations++;
        ASSERT_TRUE(client_.run_until([&] { return client_.established == conversations; })) << conversations;
        std::size_t before = client_.units.size();
        ASSERT_TRUE(client_.run_until(units(before + 5))) << conversations;
        EXPECT_EQ(client_.opens.size(), static_cast<unsigned>(conversations));
    }
    EXPECT_NE(program_->errors().find("what is not the protocol"), std::string::npos);
}

TEST_F(PlayProgram, a_message_that_never_ends_begins_a_new_conversation)
{
    start({clip("long.mp4"), "--loop"});
    ASSERT_TRUE(client_.run_until(units(5)));
    client_.send_bytes(std::vector<std::uint8_t>(75'000, 0xee)); // one unknown message, and the beginning of another
    ASSERT_TRUE(client_.run_until([&] { return client_.established == 2; }));
    std::size_t before = client_.units.size();
    ASSERT_TRUE(client_.run_until(units(before + 5)));
}

TEST_F(PlayProgram, garbage_before_the_handshake_is_skipped)
{
    program_ = std::make_unique<Program>(std::vector<std::string>{clip("short.mp4"), "--port", port_});
    UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
    ASSERT_TRUE(fd.valid());
    std::vector<std::uint8_t> garbage(70'001, 0x04);
    ASSERT_EQ(write(fd.get(), garbage.data(), garbage.size()), static_cast<ssize_t>(garbage.size()));
    client_.use(std::move(fd));
    ASSERT_TRUE(client_.run_until(units(25)));
}

TEST_F(PlayProgram, messages_about_unknown_streams_are_ignored)
{
    start({clip("long.mp4")});
    ASSERT_TRUE(client_.run_until(units(5)));
    client_.send(wire::Credit{99, 1 << 20, 100});
    client_.send(wire::NeedKey{99});
    client_.send(wire::StreamReject{99, wire::Reason::kTooLarge});
    client_.send(wire::StreamClose{99, wire::Reason::kTooLarge});
    client_.send(wire::Feedback{99, 0, 1, 2, 3, 4});
    std::size_t before = client_.units.size();
    ASSERT_TRUE(client_.run_until(units(before + 10)));
    EXPECT_EQ(client_.established, 1);
}

TEST_F(PlayProgram, a_client_of_no_common_version_gets_nothing_and_the_next_one_everything)
{
    program_ = std::make_unique<Program>(std::vector<std::string>{clip("short.mp4"), "--port", port_});
    UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
    ASSERT_TRUE(fd.valid());
    wire::Hello future;
    future.role = wire::Role::kClient;
    future.min_version = 7;
    future.max_version = 9;
    future.name = "from the future";
    wire::Handshake handshake(future);
    wire::Deframer deframer;
    deframer.reset(5);
    std::vector<std::uint8_t> bytes;
    wire::encode(handshake.start(5), bytes);
    ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    for (bool answered = false; !answered;) {
        std::uint8_t buffer[4096];
        ssize_t got = read(fd.get(), buffer, sizeof buffer);
        ASSERT_GT(got, 0);
        deframer.feed(std::span(buffer, static_cast<std::size_t>(got)), [&](const wire::Message &message) {
            if (auto *hello = std::get_if<wire::Hello>(&message); hello && handshake.receive(*hello).reply) {
                bytes.clear();
                wire::encode(handshake.resend(), bytes);
                ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
                answered = true;
            }
        });
    }
    ASSERT_TRUE(program_->wait_for_error("from the future"));
    client_.use(std::move(fd));
    ASSERT_TRUE(client_.run_until(units(25)));
}

TEST_F(PlayProgram, a_pty_serves_as_port_and_is_opened_again_when_it_was_replaced)
{
    std::string link = directory_ / "pty";
    auto make_pty = [&] {
        UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        EXPECT_TRUE(master.valid() && grantpt(master.get()) == 0 && unlockpt(master.get()) == 0);
        unlink(link.c_str());
        EXPECT_EQ(symlink(ptsname(master.get()), link.c_str()), 0);
        return master;
    };
    if (UniqueFd probe(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        !probe.valid() || grantpt(probe.get()) != 0 || unlockpt(probe.get()) != 0 || !ptsname(probe.get())
        || access(ptsname(probe.get()), R_OK | W_OK) != 0)
        GTEST_SKIP() << "no pseudo terminal can be had here: mount devpts on /dev/pts";
    UniqueFd master = make_pty();
    program_ = std::make_unique<Program>(std::vector<std::string>{clip("long.mp4"), "--port", link});
    // The terminal has no raw mode until the program sets it; it repeats its HELLO, and so do we.
    client_.use(std::move(master));
    auto keep_asking = [&](int wanted) {
        return [this, wanted, next = now_ns() + 500 * kMs]() mutable {
            if (client_.established < wanted && client_.port_open() && now_ns() > next) {
                client_.begin();
                next = now_ns() + 500 * kMs;
            }
            return client_.established >= wanted;
        };
    };
    ASSERT_TRUE(client_.run_until(keep_asking(1)));
    ASSERT_TRUE(client_.run_until(units(10)));

    std::size_t before = client_.units.size();
    client_.hang_up();
    master = make_pty();
    ASSERT_TRUE(program_->wait_for_error("the port is gone"));
    client_.use(std::move(master));
    ASSERT_TRUE(client_.run_until(keep_asking(2)));
    ASSERT_TRUE(client_.run_until(units(before + 10)));
    EXPECT_GE(client_.units.back().stream, 2u);
}

TEST_F(PlayProgram, a_virtio_port_with_nobody_behind_it_causes_no_busy_loop)
{
    // Like a virtio port without a client, /dev/null is always readable and gives nothing.
    program_ = std::make_unique<Program>(
        std::vector<std::string>{clip("short.mp4"), "--port", "/dev/null", "--stats", stats_});
    client_.run_for(0.5);
    long before = program_->sleeps();
    if (before < 0)
        GTEST_SKIP() << "no /proc to count wake-ups in";
    client_.run_for(2);
    EXPECT_TRUE(program_->running());
    EXPECT_LE(program_->sleeps() - before, 6);
    program_->signal(SIGTERM);
    EXPECT_EQ(program_->wait(), 0) << program_->errors();
    EXPECT_EQ(statistic(stats_, "frames_sent"), 0);
}

TEST_F(PlayProgram, a_file_cut_off_plays_what_is_there_and_says_so)
{
    std::string path = directory_ / "cut.mkv";
    ASSERT_TRUE(make_clip(path, {"-c:v", "libx264", "-preset", "veryfast"}, 4));
    auto bytes = read_bytes(path);
    write_bytes(path, std::span(bytes).first(bytes.size() / 3));
    start({path});
    ASSERT_TRUE(client_.run_until([&] { return !client_.closes.empty(); }));
    EXPECT_EQ(program_->wait(), 0);
    EXPECT_GT(client_.units.size(), 15u);
    EXPECT_LT(client_.units.size(), 80u);
    EXPECT_NE(program_->errors().find("cut.mkv: is cut off"), std::string::npos) << program_->errors();
}

// ---- what people get wrong

struct Wrong {
    const char *name;
    std::vector<std::string> words; ///< "@x" is the file x of the test's directory
    int status;
    const char *message;
};

/// A file whose pictures have no size: neither the container nor the bitstream tells one.
std::vector<std::uint8_t> without_size(std::vector<std::uint8_t> file)
{
    auto find = [&](const char(&name)[5]) { return std::search(file.begin(), file.end(), name, name + 4); };
    auto entry = find("mp4v"), data = find("mdat"), track = find("tkhd");
    if (entry == file.end() || data == file.end() || track == file.end())
        return {};
    std::fill_n(entry + 28, 4, 0);
    std::fill_n(track + 80, 8, 0);
    std::fill(data + 4, data < track ? find("moov") - 4 : file.end(), 0);
    return file;
}

class WrongUse : public testing::TestWithParam<Wrong> {
protected:
    static void SetUpTestSuite()
    {
        if (!has_ffmpeg() || !has_encoder("libx264"))
            return;
        directory_ = std::make_unique<TemporaryDirectory>();
        TemporaryDirectory &directory = *directory_;
        ASSERT_TRUE(make_clip(directory / "good.mp4", {"-c:v", "libx264"}, 1));
        ASSERT_TRUE(ffmpeg({"-f", "lavfi", "-i", "sine", "-t", "1", directory / "audio.mp4"}));
        ASSERT_TRUE(ffmpeg({"-f",
                            "lavfi",
                            "-i",
                            "sine",
                            "-f",
                            "lavfi",
                            "-i",
                            "color=size=64x64",
                            "-map",
                            "0",
                            "-map",
                            "1",
                            "-t",
                            "1",
                            "-frames:v",
                            "1",
                            "-c:v",
                            "mjpeg",
                            "-disposition:v",
                            "attached_pic",
                            directory / "cover.mp4"}));
        ASSERT_TRUE(make_clip(directory / "old.avi", {"-c:v", "mpeg4"}, 1));
        ASSERT_TRUE(make_clip(directory / "wide.mkv", {"-c:v", "mjpeg"}, 1, "8208x16"));
        ASSERT_TRUE(make_clip(directory / "jpeg.mp4", {"-c:v", "mjpeg"}, 1));
        auto sizeless = without_size(read_bytes(directory / "jpeg.mp4"));
        ASSERT_FALSE(sizeless.empty());
        write_bytes(directory / "sizeless.mp4", sizeless);
        write_bytes(directory / "empty.mp4", {});
        auto good = read_bytes(directory / "good.mp4");
        write_bytes(directory / "cut.mp4", std::span(good).first(good.size() / 2));
        std::vector<std::uint8_t> noise(50'000);
        for (std::size_t i = 0; i < noise.size(); i++)
            noise[i] = static_cast<std::uint8_t>(i * i * 2654435761u >> 13);
        write_bytes(directory / "noise.mp4", noise);
        write_bytes(directory / "secret.mp4", good);
        ASSERT_EQ(chmod((directory / "secret.mp4").c_str(), 0), 0);
        listen_unix(directory / "deaf").reset(); // the socket's file stays, nobody listens
    }
    static void TearDownTestSuite() { directory_.reset(); }

    static inline std::unique_ptr<TemporaryDirectory> directory_;
};

TEST_P(WrongUse, ends_with_a_message_and_a_status)
{
    if (!directory_)
        GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
    if (std::string(GetParam().name) == "no_permission" && geteuid() == 0)
        GTEST_SKIP() << "root may read everything";
    TemporaryDirectory &directory = *directory_;
    std::vector<std::string> words = GetParam().words;
    for (std::string &word : words)
        if (word.starts_with('@'))
            word = directory / word.substr(1);
    Program program(words);
    EXPECT_EQ(program.wait(), GetParam().status);
    std::string said = program.errors();
    EXPECT_NE(said.find(GetParam().message), std::string::npos) << said;
    EXPECT_TRUE(said.starts_with("spice-overlay-play: ")) << said;
    EXPECT_EQ(std::ranges::count(said, '\n'), 1) << said;
}

INSTANTIATE_TEST_SUITE_P(
    PlayProgram, WrongUse,
    testing::Values(
        Wrong{"no_arguments", {}, 2, "no FILE given"},
        Wrong{"place_without_a_port", {"@good.mp4", "--rect", "0,0,9,9"}, 2, "go with --port"},
        Wrong{"unknown_option", {"@good.mp4", "--louder"}, 2, "unknown option --louder"},
        Wrong{"value_missing", {"@good.mp4", "--port"}, 2, "--port wants a value"},
        Wrong{"bad_rectangle", {"@good.mp4", "--port", "@x", "--rect", "1,2,3"}, 2, "is not X,Y,W,H"},
        Wrong{"two_places",
              {"@good.mp4", "--port", "@x", "--rect", "1,2,3,4", "--geometry-from", "3"},
              2,
              "exclude each other"},
        Wrong{"no_such_file", {"@nothing.mp4", "--port", "@deaf"}, 1, "nothing.mp4: no such file"},
        Wrong{"a_directory", {"@", "--port", "@deaf"}, 1, "is a directory"},
        Wrong{"an_empty_file", {"@empty.mp4", "--port", "@deaf"}, 1, "empty.mp4: is an empty file"},
        Wrong{"audio_only",
              {"@audio.mp4", "--port", "@deaf"},
              1,
              "has no video that can be redirected: it holds audio only (aac)"},
        Wrong{"audio_with_a_cover", {"@cover.mp4", "--port", "@deaf"}, 1, "has no video that can be redirected"},
        Wrong{"unsupported_codec", {"@old.avi", "--port", "@deaf"}, 1, "its codec is mpeg4"},
        Wrong{"zero_size", {"@sizeless.mp4", "--port", "@deaf"}, 1, "its picture size is 0x0"},
        Wrong{"huge_size", {"@wide.mkv", "--port", "@deaf"}, 1, "its picture size is 8208x16"},
        Wrong{"not_a_video", {"@noise.mp4", "--port", "@deaf"}, 1, "is not a media file"},
        Wrong{"cut_before_its_index", {"@cut.mp4", "--port", "@deaf"}, 1, "is not a media file, or too damaged"},
        Wrong{"no_permission", {"@secret.mp4", "--port", "@deaf"}, 1, "Permission denied"},
        Wrong{"no_such_port", {"@good.mp4", "--port", "/dev/virtio-ports/nothing"}, 1, "there is no such port"},
        Wrong{"a_file_as_port", {"@good.mp4", "--port", "@good.mp4"}, 1, "is not a port"},
        Wrong{"a_deaf_port", {"@good.mp4", "--port", "@deaf"}, 1, "nobody listens"},
        Wrong{
            "no_geometry_socket", {"@good.mp4", "--port", "@deaf", "--geometry-from", "@none"}, 1, "--geometry-from: "},
        Wrong{"geometry_descriptor_closed",
              {"@good.mp4", "--port", "@deaf", "--geometry-from", "99"},
              1,
              "99 is not an open"}),
    [](const auto &parameter) { return std::string(parameter.param.name); });

} // namespace
