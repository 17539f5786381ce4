// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clips.h"
#include "driver.h"

#include "dmabuf/decoder/call_filter.h"
#include "dmabuf/decoder/capabilities.h"
#include "dmabuf/decoder/frame_pool.h"
#include "dmabuf/decoder/sandbox.h"
#include "dmabuf/formats.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

namespace spice_overlay {
namespace {

const std::string kProgram = SPICE_OVERLAY_DECODER;

#define NEED_FFMPEG()                                                                                                  \
    if (!can_encode("libx264"))                                                                                        \
    GTEST_SKIP() << "the ffmpeg program is missing, or has no encoder libx264"

Clip h264(int frames, const std::string &size = "320x180", const std::string &options = "-g 10")
{
    return make_clip("testsrc=s=" + size + ":r=30", "-pix_fmt yuv420p -c:v libx264 " + options, frames);
}

DecoderProcess::Config h264_config()
{
    return Driver::config(kProgram, wire::Codec::kH264, 320, 180);
}

std::string contents(const std::string &path)
{
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

bool same(const Driver::Picture &picture, const std::vector<std::uint8_t> &expected, std::size_t index)
{
    const std::size_t size = picture.pixels.size();
    return (index + 1) * size <= expected.size()
           && std::equal(picture.pixels.begin(), picture.pixels.end(),
                         expected.begin() + static_cast<std::ptrdiff_t>(index * size));
}

TEST(Slots, few_descriptors_serve_many_pictures)
{
    NEED_FFMPEG();
    const Clip clip = h264(120, "320x180", "-bf 2");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 120u);
    EXPECT_LE(driver.buffers, 12u);
    EXPECT_EQ(driver.buffers, driver.slots.size()) << "memory was made anew without need";
}

TEST(Slots, decoder_waits_for_a_viewer_that_keeps_its_pictures)
{
    NEED_FFMPEG();
    const Clip clip = h264(120);
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.window = 1000;
    for (const auto &unit : clip.units)
        ASSERT_TRUE(driver.feed(unit));
    ASSERT_TRUE(driver.wait([&] { return driver.held.size() >= 21; })) << driver.why;
    EXPECT_FALSE(driver.wait([&] { return driver.held.size() > 21; }, std::chrono::milliseconds(300)))
        << "decoded ahead without end";
    while (driver.pictures.size() < 110) {
        const std::size_t before = driver.pictures.size();
        driver.release_all();
        ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() > before; }))
            << "stuck after " << before << ' ' << driver.why;
    }
}

TEST(Slots, frames_in_flight_are_as_many_as_threads_and_references_and_three)
{
    NEED_FFMPEG();
    struct {
        const char *name;
        wire::Codec codec;
        const char *encoder;
        const char *options;
        unsigned references; ///< pictures that the stream keeps, those that wait for their turn included
        bool frame_threads;
    } const cases[] = {
        {"H.264", wire::Codec::kH264, "libx264", "-refs 3 -bf 2 -x264-params b-pyramid=none", 4, true},
        {"H.264 without B", wire::Codec::kH264, "libx264", "-refs 1 -bf 0", 1, true},
        {"HEVC", wire::Codec::kHevc, "libx265", "-bf 2 -x265-params log-level=error:ref=3:b-pyramid=0", 5, true},
        {"VP8", wire::Codec::kVp8, "libvpx", "-deadline realtime -cpu-used 8 -auto-alt-ref 0", 3, false},
        {"VP9", wire::Codec::kVp9, "libvpx-vp9", "-deadline realtime -cpu-used 8 -lag-in-frames 0", 8, true},
        {"MPEG-2", wire::Codec::kMpeg2, "mpeg2video", "-bf 2", 2, false},
        {"MJPEG", wire::Codec::kMjpeg, "mjpeg", "-strict unofficial", 0, false},
    };
    for (const auto &c : cases) {
        if (!can_encode(c.encoder))
            continue;
        const Clip clip = make_clip("testsrc2=s=320x180:r=30",
                                    std::string("-pix_fmt yuv420p -g 30 -c:v ") + c.encoder + " " + c.options, 90);
        for (const unsigned threads : {1u, 2u, 4u}) {
            if (threads > 1 && !c.frame_threads)
                continue;
            DecoderProcess::Config config = Driver::config(kProgram, c.codec, 320, 180);
            config.threads = threads;
            config.stream.frame_rate_num = 5000; // so many pixels in a second that all threads are wanted
            config.fourccs = {kFourccYu12, kFourccXrgb8888};
            Driver driver(config);
            ASSERT_TRUE(driver.decoder) << driver.start_error;
            driver.hold = true;
            driver.keep_pixels = false;
            driver.window = FramePool::kUnitsWaiting - 1; // and the place where to drain
            // A viewer that is slow: it gives frames back when no more come for a while.
            const auto give_back = [&](std::size_t before) {
                const auto moved = [&] { return driver.pictures.size() + driver.units_consumed > before; };
                if (driver.wait(moved, std::chrono::milliseconds(20)))
                    return true;
                for (; driver.held.size() > 1; driver.held.erase(driver.held.begin()))
                    driver.decoder->release(driver.held.front());
                return driver.wait(moved);
            };
            const auto progress = [&] { return driver.pictures.size() + driver.units_consumed; };
            for (const auto &unit : clip.units) {
                while (driver.units_sent - driver.units_consumed >= driver.window)
                    ASSERT_TRUE(give_back(progress())) << c.name << ": stuck; " << driver.why;
                ASSERT_TRUE(driver.feed(unit)) << driver.why;
            }
            driver.decoder->drain();
            while (driver.pictures.size() < clip.units.size())
                ASSERT_TRUE(give_back(progress())) << c.name << ": stuck; " << driver.why;
            // Where nothing is reordered FFmpeg's frame threads keep the picture that they have given out until the next unit.
            const unsigned given_out = threads > 1 && c.references == 1 ? 1 : 0;
            EXPECT_LE(driver.slots.size(), threads + c.references + given_out + 3)
                << c.name << " by " << threads << " threads";
        }
    }
}

TEST(Slots, one_picture_given_back_at_a_time_keeps_the_stream_going)
{
    NEED_FFMPEG();
    const Clip clip = h264(100);
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.window = 1000;
    for (const auto &unit : clip.units)
        ASSERT_TRUE(driver.feed(unit));
    driver.decoder->drain();
    while (driver.pictures.size() < 100) {
        // As a presenter does: the next is shown, then the one before comes back.
        const std::size_t before = driver.pictures.size();
        if (driver.held.size() > 1) {
            driver.decoder->release(driver.held.front());
            driver.held.erase(driver.held.begin());
            continue;
        }
        ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() > before; }))
            << "stuck after " << before << ' ' << driver.why;
    }
}

TEST(Stream, change_of_resolution_brings_new_memory_and_right_pictures)
{
    NEED_FFMPEG();
    const Clip small = h264(10);
    const Clip large = h264(10, "642x358");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    std::vector<Driver::Unit> units = small.units;
    for (const Clip *clip : {&large, &small, &large}) {
        for (Driver::Unit unit : clip->units) {
            unit.pts += static_cast<std::int64_t>(units.size() / 10) * 1'000'000'000;
            units.push_back(std::move(unit));
        }
    }
    ASSERT_TRUE(driver.feed_all(units)) << driver.why << " after " << driver.pictures.size();
    ASSERT_EQ(driver.pictures.size(), 40u);
    const auto small_pictures = reference(small, "yuv420p");
    const auto large_pictures = reference(large, "yuv420p");
    for (std::size_t i = 0; i < 40; ++i)
        ASSERT_TRUE(same(driver.pictures[i], i / 10 % 2 ? large_pictures : small_pictures, i % 10)) << "picture " << i;
}

TEST(Stream, nothing_of_an_old_epoch_comes_after_a_flush)
{
    NEED_FFMPEG();
    const Clip clip = h264(60, "320x180", "-bf 3 -g 60");
    const auto expected = reference(clip, "yuv420p");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.window = 100;
    for (std::uint32_t epoch = 1; epoch <= 20; ++epoch) {
        for (std::size_t i = 0; i < 3 * epoch; ++i)
            ASSERT_TRUE(driver.feed(clip.units[i]));
        driver.decoder->flush(epoch);
        driver.epoch = epoch;
        driver.pictures.clear();
    }
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    ASSERT_EQ(driver.pictures.size(), 60u);
    for (std::size_t i = 0; i < 60; ++i) {
        EXPECT_EQ(driver.pictures[i].frame.epoch, 20u);
        ASSERT_TRUE(same(driver.pictures[i], expected, i)) << "picture " << i;
    }
    EXPECT_EQ(driver.units_consumed, driver.units_sent) << "a unit's credit was lost";
}

TEST(Stream, decoding_goes_on_at_the_next_key_after_a_drain)
{
    NEED_FFMPEG();
    const Clip clip = h264(20, "320x180", "-bf 3 -g 60");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    driver.pictures.clear();
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 20u);
}

TEST(Units, survive_beside_oversized_ones)
{
    NEED_FFMPEG();
    const Clip clip = make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuvj420p -c:v mjpeg -q:v 2", 30);
    const auto expected = reference(clip, "bgr0");
    Driver driver(Driver::config(kProgram, wire::Codec::kMjpeg, 320, 180));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.window = 3;
    std::size_t sent = 0;
    for (std::size_t i = 0; i < 90; ++i) {
        Driver::Unit unit = clip.units[i % 30];
        // What follows the end of a JPEG picture is ignored.
        unit.data.resize(i % 30 == 29 ? wire::kMaxAccessUnit : 700'000 + i * 1000, 0);
        unit.pts = static_cast<std::int64_t>(i);
        ASSERT_TRUE(driver.feed(unit)) << "unit " << i << ' ' << driver.why;
        sent += unit.data.size();
    }
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == 90; })) << driver.why;
    EXPECT_GT(sent, 100u << 20);
    for (std::size_t i = 0; i < 90; ++i) {
        ASSERT_EQ(driver.pictures[i].frame.pts, static_cast<std::int64_t>(i));
        for (std::size_t k = 0; k < driver.pictures[i].pixels.size(); ++k) {
            if (k % 4 != 3) {
                ASSERT_NEAR(driver.pictures[i].pixels[k], expected[i % 30 * driver.pictures[i].pixels.size() + k], 1)
                    << "picture " << i;
            }
        }
    }
}

// ---- damage

TEST(Damage, flipped_bits_and_cut_units_do_not_end_a_stream_of_which_something_decodes)
{
    NEED_FFMPEG();
    const Clip clip = h264(200, "320x180", "-g 10 -bf 2");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.keep_pixels = false;
    std::mt19937 random(7);
    for (std::size_t i = 0; i < clip.units.size(); ++i) {
        Driver::Unit unit = clip.units[i];
        if (i % 3 == 1)
            unit.data.resize(1 + random() % unit.data.size());
        if (i % 3 == 2) {
            for (int k = 0; k < 8; ++k)
                unit.data[random() % unit.data.size()] ^= static_cast<std::uint8_t>(1u << random() % 8);
        }
        ASSERT_TRUE(driver.feed(unit)) << "unit " << i << ' ' << driver.why;
    }
    ASSERT_TRUE(driver.wait([&] { return driver.units_consumed == 200; })) << driver.why;
    EXPECT_EQ(driver.failures, 0u);
    EXPECT_GT(driver.pictures.size(), 20u);
}

class Garbage : public testing::TestWithParam<wire::Codec> {};

TEST_P(Garbage, ends_the_stream_with_a_reason)
{
    Driver driver(Driver::config(kProgram, GetParam(), 320, 180));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.keep_pixels = false;
    std::mt19937 random(11);
    for (int i = 0; i < 300 && driver.failures == 0; ++i) {
        Driver::Unit unit{std::vector<std::uint8_t>(1 + random() % 3000), i, i % 10 == 0};
        for (auto &byte : unit.data)
            byte = static_cast<std::uint8_t>(random());
        (void)driver.feed(unit);
    }
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_TRUE(driver.reason == wire::Reason::kDecoderFailed || driver.reason == wire::Reason::kUnsupportedProfile)
        << driver.why;
    EXPECT_TRUE(driver.pictures.empty());
}

INSTANTIATE_TEST_SUITE_P(codecs, Garbage,
                         testing::Values(wire::Codec::kH264, wire::Codec::kHevc, wire::Codec::kVp9, wire::Codec::kAv1,
                                         wire::Codec::kMpeg2, wire::Codec::kMjpeg));

TEST(Damage, random_damage_never_makes_the_process_say_what_it_must_not)
{
    NEED_FFMPEG();
    struct {
        wire::Codec codec;
        const char *options;
    } const cases[] = {
        {wire::Codec::kH264, "-c:v libx264 -bf 2"},
        {wire::Codec::kHevc, "-c:v libx265 -x265-params log-level=error"},
        {wire::Codec::kVp8, "-c:v libvpx -deadline realtime -cpu-used 8"},
        {wire::Codec::kVp9, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"},
        {wire::Codec::kMpeg2, "-c:v mpeg2video"},
        {wire::Codec::kMjpeg, "-c:v mjpeg -strict unofficial"},
    };
    std::mt19937 random(13);
    for (const auto &c : cases) {
        const Clip clip = make_clip("testsrc=s=320x180:r=30", std::string("-pix_fmt yuv420p ") + c.options, 40);
        for (int round = 0; round < 5; ++round) {
            Driver driver(Driver::config(kProgram, c.codec, 320, 180));
            ASSERT_TRUE(driver.decoder) << driver.start_error;
            for (Driver::Unit unit : clip.units) {
                for (std::size_t k = 0; k < 1 + unit.data.size() / 200; ++k)
                    unit.data[random() % unit.data.size()] = static_cast<std::uint8_t>(random());
                if (!driver.feed(unit))
                    break;
            }
            (void)driver.wait([&] { return driver.units_consumed == driver.units_sent; });
            EXPECT_EQ(driver.why.find("must not"), std::string::npos) << c.options << ": " << driver.why;
            EXPECT_EQ(driver.why.find("by itself"), std::string::npos) << c.options << ": " << driver.why;
        }
    }
}

TEST(Limits, picture_larger_than_allowed_ends_the_stream_whatever_was_announced)
{
    NEED_FFMPEG();
    const Clip clip = h264(3, "8320x64", "");
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    (void)driver.feed(clip.units[0]);
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.reason, wire::Reason::kTooLarge) << driver.why;
}

TEST(Limits, stream_announced_too_large_or_empty_is_refused)
{
    struct {
        std::uint32_t width, height;
        wire::Reason reason;
    } const cases[] = {
        {8193, 16, wire::Reason::kTooLarge},   {16, 8193, wire::Reason::kTooLarge},
        {8192, 8192, wire::Reason::kTooLarge}, {0, 16, wire::Reason::kBadParameters},
        {16, 0, wire::Reason::kBadParameters},
    };
    for (const auto &c : cases) {
        Driver driver(Driver::config(kProgram, wire::Codec::kH264, c.width, c.height));
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        EXPECT_FALSE(driver.wait([] { return false; }));
        EXPECT_EQ(driver.reason, c.reason) << c.width << 'x' << c.height << ' ' << driver.why;
    }
}

TEST(Limits, access_unit_of_more_slices_than_allowed_ends_the_stream)
{
    NEED_FFMPEG();
    const Clip clip = h264(2);
    for (const std::size_t more : {std::size_t{0}, std::size_t{1030}}) {
        Driver driver(h264_config());
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        Driver::Unit unit = clip.units[0];
        const std::uint8_t slice[] = {0, 0, 1, 0x65, 0x88};
        for (std::size_t i = 0; i < more; ++i)
            unit.data.insert(unit.data.end(), std::begin(slice), std::end(slice));
        (void)driver.feed(unit);
        driver.decoder->drain();
        EXPECT_EQ(driver.wait([&] { return !driver.pictures.empty(); }), more == 0) << driver.why;
        EXPECT_EQ(driver.reason, more == 0 ? wire::Reason::kNone : wire::Reason::kTooLarge) << driver.why;
    }
}

TEST(Limits, unknown_codec_is_refused)
{
    Driver driver(Driver::config(kProgram, static_cast<wire::Codec>(99), 320, 180));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.reason, wire::Reason::kUnsupportedCodec) << driver.why;
}

TEST(Limits, kind_of_picture_that_ffmpeg_has_no_code_for_is_refused)
{
    NEED_FFMPEG();
    Clip clip = make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuvj420p -c:v mjpeg", 10);
    Driver driver(Driver::config(kProgram, wire::Codec::kMjpeg, 320, 180));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    for (Driver::Unit &unit : clip.units) {
        // SOF0: length, precision, height, width, components, then an identifier and the sampling factors of each.
        const std::uint8_t marker[] = {0xff, 0xc0};
        auto header = std::search(unit.data.begin(), unit.data.end(), std::begin(marker), std::end(marker));
        ASSERT_NE(header, unit.data.end());
        header[11] = 0x33; // three luma samples across and down
        if (!driver.feed(unit))
            break;
    }
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.reason, wire::Reason::kUnsupportedProfile) << driver.why;
}

// ---- the process

TEST(Process, killed_in_the_middle_of_a_stream_is_reported_with_the_signal)
{
    NEED_FFMPEG();
    const Clip clip = h264(30);
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    for (std::size_t i = 0; i < 10; ++i)
        ASSERT_TRUE(driver.feed(clip.units[i]));
    ASSERT_TRUE(driver.wait([&] { return !driver.pictures.empty(); })) << driver.why;
    ASSERT_EQ(::kill(driver.decoder->pid(), SIGKILL), 0);
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find("SIGKILL"), std::string::npos) << driver.why;
    EXPECT_TRUE(driver.decoder->send({}));

    // A fresh one resumes at the next key frame.
    Driver next(h264_config());
    ASSERT_TRUE(next.decoder) << next.start_error;
    ASSERT_TRUE(next.feed_all({clip.units.begin() + 10, clip.units.end()})) << next.why;
}

TEST(Process, has_no_descriptor_but_its_own_and_loads_no_codec_into_the_viewer)
{
    NEED_FFMPEG();
    const int leak = ::open("/dev/zero", O_RDONLY); // without close-on-exec, as careless libraries do
    const Clip clip = h264(10);
    Driver driver(h264_config());
    driver.keep_pixels = false;
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    const std::string proc = "/proc/" + std::to_string(driver.decoder->pid());
    std::vector<std::string> targets;
    for (const auto &entry : std::filesystem::directory_iterator(proc + "/fd"))
        targets.push_back(std::filesystem::read_symlink(entry.path()).string());
    EXPECT_EQ(std::count(targets.begin(), targets.end(), "/dev/zero"), 0);
    EXPECT_LE(targets.size(), 4u) << "standard descriptors and the socket";
    EXPECT_NE(contents(proc + "/maps").find("spice-overlay-frame"), std::string::npos);
    EXPECT_EQ(contents("/proc/self/maps").find("spice-overlay-frame"), std::string::npos)
        << "the viewer's side maps frames";
    EXPECT_EQ(contents("/proc/self/maps").find("libavcodec"), std::string::npos);
    ::close(leak);
}

TEST(Process, decodes_in_its_sandbox_unless_told_otherwise)
{
    NEED_FFMPEG();
    const Clip clip = h264(10);
    for (const bool sandbox : {true, false}) {
        DecoderProcess::Config config = h264_config();
        config.sandbox = sandbox;
        Driver driver(config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
        // Each thread, FFmpeg's as well.
        unsigned threads = 0;
        for (const auto &task :
             std::filesystem::directory_iterator("/proc/" + std::to_string(driver.decoder->pid()) + "/task")) {
            ++threads;
            const std::string status = contents(task.path() / "status");
            const auto has = [&](const char *line) { return status.find(line) != std::string::npos; };
            EXPECT_EQ(has("NoNewPrivs:\t1"), sandbox) << status;
            EXPECT_EQ(has("Seccomp:\t2"), sandbox && !kSanitized && have_call_filter()) << status;
            if (sandbox) {
                EXPECT_TRUE(has("CapPrm:\t0000000000000000")) << status;
            }
        }
        EXPECT_GE(threads, 2u);
    }
}

TEST(Process, is_the_kernels_first_choice_when_memory_runs_out_and_has_few_descriptors)
{
    NEED_FFMPEG();
    const Clip clip = h264(3);
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    const std::string proc = "/proc/" + std::to_string(driver.decoder->pid());
    EXPECT_EQ(contents(proc + "/oom_score_adj"), "1000\n");
    const std::string limits = contents(proc + "/limits");
    const auto line = limits.find("Max open files");
    ASSERT_NE(line, std::string::npos);
    EXPECT_EQ(std::stoul(limits.substr(line + 26)), 128u) << limits;
}

TEST(Process, waits_while_its_account_has_too_many_descriptors_on_their_way)
{
    NEED_FFMPEG();
    const Clip clip = h264(3);
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    constexpr std::size_t kMany = 200; // more than a decoder may have open
    std::array<std::uint8_t, CMSG_SPACE(kMany * sizeof(int))> ancillary{};
    char byte = 0;
    iovec vector{&byte, 1};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = ancillary.data();
    header.msg_controllen = ancillary.size();
    cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(kMany * sizeof(int));
    const std::vector<int> many(kMany, STDIN_FILENO);
    std::memcpy(CMSG_DATA(rights), many.data(), kMany * sizeof(int));
    ASSERT_EQ(::sendmsg(ours.get(), &header, 0), 1);
    for (const auto &unit : clip.units)
        ASSERT_TRUE(driver.feed(unit));
    EXPECT_FALSE(driver.wait([&] { return !driver.pictures.empty(); }, std::chrono::milliseconds(100)));
    EXPECT_EQ(driver.why, "");
    theirs.reset(); // nobody receives them any more
    EXPECT_TRUE(driver.wait([&] { return !driver.pictures.empty(); })) << driver.why;
}

TEST(Process, frame_memory_cannot_be_shrunk_under_the_compositor)
{
    NEED_FFMPEG();
    class Keeper : public DecoderProcess::Listener {
    public:
        void buffer(FrameBuffer buffer) override { fds.push_back(std::move(buffer.fd)); }
        void frame(const DecodedFrame &) override {}
        void consumed(std::uint32_t) override {}
        void failed(wire::Reason, const std::string &) override {}
        std::vector<UniqueFd> fds;
    } keeper;
    const Clip clip = h264(1);
    auto decoder = DecoderProcess::start(h264_config(), keeper);
    ASSERT_TRUE(decoder) << decoder.error().message;
    wire::AccessUnit unit;
    unit.flags = wire::kKey;
    unit.data = clip.units[0].data;
    ASSERT_TRUE((*decoder)->send(unit));
    (*decoder)->drain();
    const auto end = std::chrono::steady_clock::now() + Driver::kDeadline;
    while (keeper.fds.empty() && std::chrono::steady_clock::now() < end)
        (*decoder)->dispatch();
    ASSERT_FALSE(keeper.fds.empty());
    EXPECT_EQ(::ftruncate(keeper.fds[0].get(), 0), -1);
    // The descriptor outlives its process: the compositor may still be reading.
    decoder->reset();
    struct stat info = {};
    EXPECT_EQ(::fstat(keeper.fds[0].get(), &info), 0);
    EXPECT_GT(info.st_size, 320 * 180);
}

TEST(Dmabufs, are_the_memory_of_the_memfds_beside_them_and_are_told_of_once)
{
    NEED_FFMPEG();
    class Keeper : public DecoderProcess::Listener {
    public:
        void buffer(FrameBuffer buffer) override { buffers.push_back(std::move(buffer)); }
        void frame(const DecodedFrame &frame) override
        {
            ++frames;
            decoder->release(frame.slot);
        }
        void consumed(std::uint32_t units) override { waiting -= units; }
        void failed(wire::Reason, const std::string &text) override { why = text; }
        std::unique_ptr<DecoderProcess> decoder;
        std::vector<FrameBuffer> buffers;
        std::size_t frames = 0;
        std::size_t waiting = 0;
        std::string why;
    } keeper;
    const Clip clip = h264(60);
    DecoderProcess::Config config = h264_config();
    config.allocator = Allocator::kStandIn;
    config.dmabuf_fourccs = {kFourccYu12};
    auto started = DecoderProcess::start(config, keeper);
    ASSERT_TRUE(started) << started.error().message;
    keeper.decoder = std::move(*started);
    const auto end = std::chrono::steady_clock::now() + Driver::kDeadline;
    const auto dispatch_while = [&](const auto &condition) {
        while (condition() && keeper.why.empty() && std::chrono::steady_clock::now() < end) {
            pollfd poll{keeper.decoder->fd(), POLLIN, 0};
            ::poll(&poll, 1, 100);
            keeper.decoder->dispatch();
        }
    };
    for (const Driver::Unit &sent : clip.units) {
        wire::AccessUnit unit;
        unit.flags = sent.key ? wire::kKey : 0;
        unit.pts = sent.pts;
        unit.data = sent.data;
        dispatch_while([&] { return keeper.waiting >= 4; });
        ASSERT_TRUE(keeper.decoder->send(unit)) << keeper.why;
        ++keeper.waiting;
    }
    keeper.decoder->drain();
    dispatch_while([&] { return keeper.frames < clip.units.size(); });
    ASSERT_EQ(keeper.frames, clip.units.size()) << keeper.why;
    EXPECT_LT(keeper.buffers.size(), 20u) << "buffers are made anew instead of used again";
    for (const FrameBuffer &buffer : keeper.buffers) {
        ASSERT_TRUE(buffer.fd.valid());
        ASSERT_TRUE(buffer.image);
        EXPECT_EQ(buffer.image->modifier(), kModifierLinear);
        ASSERT_EQ(buffer.image->plane_count(), 3u);
        struct stat memory = {};
        struct stat dmabuf = {};
        ::fstat(buffer.fd.get(), &memory);
        ::fstat(buffer.image->plane(0).fd, &dmabuf);
        EXPECT_EQ(memory.st_ino, dmabuf.st_ino);
        EXPECT_EQ(buffer.image->plane(2).offset, buffer.planes[2].offset);
        // Decoders want lines of chroma to begin where GPUs import them.
        EXPECT_EQ(buffer.image->plane(1).stride % 256, 0u);
        EXPECT_EQ(buffer.size % static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), 0u);
    }
}

TEST(Dmabufs, that_cannot_be_made_leave_the_stream_in_plain_memory)
{
    NEED_FFMPEG();
    const Clip clip = h264(10);
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const Allocator allocator : {Allocator::kUdmabuf, Allocator::kDmaHeap, Allocator::kDisplay}) {
        DecoderProcess::Config config = h264_config();
        config.allocator = allocator;
        config.device = nothing.get();
        config.dmabuf_fourccs = {kFourccYu12};
        Driver driver(config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        EXPECT_TRUE(driver.feed_all(clip.units)) << driver.why;
        EXPECT_EQ(driver.pictures.size(), clip.units.size());
    }
}

TEST(Process, dies_with_its_viewer)
{
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t viewer = ::fork();
    ASSERT_GE(viewer, 0);
    if (viewer == 0) {
        auto *driver = new Driver(h264_config());
        const int pid = driver->decoder ? driver->decoder->pid() : -1;
        (void)!::write(ends[1], &pid, sizeof pid);
        for (;;)
            ::pause();
    }
    int decoder = -1;
    ASSERT_EQ(::read(ends[0], &decoder, sizeof decoder), static_cast<ssize_t>(sizeof decoder));
    ASSERT_GT(decoder, 0);
    EXPECT_EQ(::kill(decoder, 0), 0);
    ::kill(viewer, SIGKILL);
    ::waitpid(viewer, nullptr, 0);
    const auto gone = [&] {
        const std::string status = contents("/proc/" + std::to_string(decoder) + "/status");
        return status.empty() || status.find("State:\tZ") != std::string::npos;
    };
    const auto end = std::chrono::steady_clock::now() + Driver::kDeadline;
    while (!gone() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(gone());
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(Process, is_ended_and_collected_with_its_object)
{
    Driver driver(h264_config());
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    const int pid = driver.decoder->pid();
    driver.decoder.reset();
    const auto end = std::chrono::steady_clock::now() + Driver::kDeadline;
    while (::kill(pid, 0) == 0 && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Capabilities, name_every_codec_once_with_the_largest_size)
{
    auto capabilities = decoder_capabilities(kProgram);
    ASSERT_TRUE(capabilities) << capabilities.error().message;
    ASSERT_GE(capabilities->size(), 5u);
    for (std::size_t i = 0; i < capabilities->size(); ++i) {
        EXPECT_EQ((*capabilities)[i].max_width, wire::kMaxCodedSide);
        if (i > 0) {
            EXPECT_LT((*capabilities)[i - 1].codec, (*capabilities)[i].codec);
        }
    }
}

} // namespace
} // namespace spice_overlay
