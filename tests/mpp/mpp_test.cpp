// SPDX-License-Identifier: LGPL-2.1-or-later
// FFmpeg's rkmpp decoders in the production decoder, in its sandbox, on a double of Rockchip's MPP. They are asynchronous: pictures come some
// twenty units late.
#include "dmabuf/decoder/sandbox.h"
#include "tests/vadriver/gpu.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

namespace spice_overlay {
namespace {

constexpr char kName[] = "a decoder of the system's own (DRM PRIME)";
#define FAST "-preset veryfast -x264-params keyint=20:min-keyint=20:scenecut=0"
constexpr Kind kPlain{"h264", wire::Codec::kH264, "libx264", FAST " -bf 0", 320, 180};
constexpr Kind kReordered{"h264_reordered", wire::Codec::kH264, "libx264", FAST " -bf 3 -b_strategy 0", 320, 180};

constexpr Kind kShortGroups{"h264_short_groups",
                            wire::Codec::kH264,
                            "libx264",
                            "-preset veryfast -bf 2 -x264-params keyint=5:min-keyint=5:scenecut=0",
                            320,
                            180};

constexpr Kind kOpenGroups{"h264_open_groups",
                           wire::Codec::kH264,
                           "libx264",
                           "-preset veryfast -bf 3 -x264-params keyint=20:min-keyint=20:scenecut=0:open-gop=1",
                           320,
                           180};
#define FAST_HEVC "-preset ultrafast -x265-params keyint=20:min-keyint=20:scenecut=0:log-level=none"
constexpr Kind kHevc{"hevc", wire::Codec::kHevc, "libx265", FAST_HEVC, 320, 180}; // groups are open
constexpr Kind kVp9{"vp9", wire::Codec::kVp9, "libvpx-vp9", "", 320, 180};

/// Decoders that start while it lives have a libavcodec with the rkmpp decoders. (The ffmpeg program, which makes the clips, is not to
/// have it.)
struct WithMpp : Variable {
    WithMpp() : Variable("LD_LIBRARY_PATH", std::getenv("TEST_MPP_LIBRARIES")) {}
};

struct MppDriver : Driver {
    explicit MppDriver(const DecoderProcess::Config &config) : MppDriver(config, WithMpp()) {}

private:
    MppDriver(const DecoderProcess::Config &config, const WithMpp &) : Driver(config) {}
};

#define NEED_MPP(kind)                                                                                                 \
    NEED_ENCODER((kind).encoder);                                                                                      \
    if (!std::getenv("TEST_MPP_LIBRARIES"))                                                                            \
    GTEST_SKIP() << "is run by mpp_test.py, which makes an FFmpeg with rkmpp"

class MppPictures : public testing::TestWithParam<Kind> {};

TEST_P(MppPictures, are_the_same_as_software_makes_and_lie_in_its_memory)
{
    const Kind &kind = GetParam();
    NEED_MPP(kind);
    MppDriver driver(Gpu(kind).config);
    shows_every_picture(driver, kind, kName);
}

INSTANTIATE_TEST_SUITE_P(kinds, MppPictures,
                         testing::Values(kPlain, kReordered, kShortGroups, kOpenGroups,
                                         Kind{"h264_odd", wire::Codec::kH264, "libx264", FAST " -bf 2", 102, 78}, kHevc,
                                         Kind{"hevc_closed_groups", wire::Codec::kHevc, "libx265",
                                              FAST_HEVC ":open-gop=0", 320, 180},
                                         Kind{"vp8", wire::Codec::kVp8, "libvpx", "", 320, 180}, kVp9),
                         [](const auto &test) { return test.param.name; });

/// The clip again, later: from `times` lengths of it on.
std::vector<Driver::Unit> later(const Kind &kind, int times)
{
    std::vector<Driver::Unit> units = clip_of(kind).units;
    const std::int64_t length = (units[1].pts - units[0].pts) * 2 * kFrames;
    for (Driver::Unit &unit : units)
        unit.pts += times * std::abs(length);
    return units;
}

/// Pictures from `first` on are those of the whole clip, in order.
void expect_clip(const Driver &driver, const Kind &kind, std::size_t first)
{
    const auto &expected = expected_of(kind);
    const std::size_t size = picture_size(kind);
    ASSERT_GE(driver.pictures.size(), first + kFrames);
    for (std::size_t i = 0; i < kFrames; ++i) {
        const auto &pixels = driver.pictures[first + i].pixels;
        EXPECT_TRUE(
            pixels.size() == size
            && std::equal(pixels.begin(), pixels.end(), expected.begin() + static_cast<std::ptrdiff_t>(i * size)))
            << "picture " << first + i;
    }
}

TEST(Mpp, goes_on_after_it_has_been_drained)
{
    for (const Kind &kind : {kReordered, kShortGroups, kOpenGroups, kHevc, kVp9}) {
        NEED_MPP(kind);
        MppDriver driver(Gpu(kind).config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        for (int round = 0; round < 3; ++round) {
            for (const auto &unit : later(kind, round))
                ASSERT_TRUE(driver.feed(unit)) << driver.why;
            driver.decoder->drain();
            const std::size_t before = std::size_t(round) * kFrames;
            ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == before + kFrames; }))
                << kind.name << ", round " << round << ": " << driver.pictures.size() << ' ' << driver.why;
            expect_clip(driver, kind, before);
        }
        ASSERT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
        EXPECT_TRUE(driver.paths[0].hardware) << driver.paths[0].why;
    }
}

TEST(Mpp, drained_before_anything_came_out_shows_what_there_is)
{
    NEED_MPP(kReordered);
    const std::size_t few = 3;
    MppDriver driver(Gpu(kReordered).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.decoder->drain();
    const auto units = clip_of(kReordered).units;
    for (std::size_t i = 0; i < few; ++i)
        ASSERT_TRUE(driver.feed(units[i])) << driver.why;
    driver.decoder->drain();
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == few; })) << driver.pictures.size() << driver.why;
    EXPECT_TRUE(driver.paths.back().hardware) << driver.paths.back().why;
    EXPECT_EQ(driver.pictures[0].fourcc, kFourccNv12);
}

TEST(Mpp, goes_on_after_a_flush)
{
    NEED_MPP(kReordered);
    MppDriver driver(Gpu(kReordered).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    const auto units = clip_of(kReordered).units;
    for (std::size_t i = 0; i < 30; ++i)
        ASSERT_TRUE(driver.feed(units[i])) << driver.why;
    driver.decoder->flush(++driver.epoch);
    driver.pictures.clear();
    for (const auto &unit : units) // the same times again
        ASSERT_TRUE(driver.feed(unit)) << driver.why;
    driver.decoder->drain();
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == kFrames; })) << driver.pictures.size() << driver.why;
    EXPECT_EQ(check_shown_pictures(driver, kReordered), static_cast<std::size_t>(kFrames));
    EXPECT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
}

TEST(Mpp, headers_that_come_with_the_streams_opening_alone_serve_after_a_flush_and_where_it_fails)
{
    for (const Kind &kind : {kReordered, kOpenGroups, kHevc}) {
        NEED_MPP(kind);
        DecoderProcess::Config config = Gpu(kind).config;
        auto units = clip_of(kind).units;
        config.stream.extradata = take_headers(kind.codec, units);
        ASSERT_FALSE(config.stream.extradata.empty());
        for (const char *fault : {"", "error:23"}) {
            const Variable variable("mpp_test_fault", fault);
            MppDriver driver(config);
            ASSERT_TRUE(driver.decoder) << driver.start_error;
            for (std::size_t i = 0; i < 10; ++i)
                ASSERT_TRUE(driver.feed(units[i])) << driver.why;
            driver.decoder->flush(++driver.epoch);
            driver.pictures.clear();
            ASSERT_TRUE(driver.feed_all(units)) << kind.name << fault << ": " << driver.why << driver.pictures.size();
            expect_clip(driver, kind, 0);
            EXPECT_EQ(driver.paths.size(), *fault ? 2u : 1u) << driver.paths.back().why;
            EXPECT_TRUE(driver.paths.front().hardware) << driver.paths.front().why;
        }
    }
}

TEST(Mpp, stream_of_another_size_gets_new_surfaces)
{
    const Kind large{"h264_large", wire::Codec::kH264, "libx264", FAST " -bf 0", 640, 352};
    NEED_MPP(large);
    static_cast<void>(expected_of(kPlain));
    static_cast<void>(expected_of(large));
    const WithMpp libraries;
    gives_a_stream_of_another_size_new_surfaces(kPlain, large);
}

TEST(Mpp, no_more_surfaces_are_out_than_it_can_spare_and_decoding_waits_for_them)
{
    NEED_MPP(kPlain);
    MppDriver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.window = kFrames;
    for (const auto &unit : clip_of(kPlain).units)
        ASSERT_TRUE(driver.feed(unit)) << driver.why;
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() >= 3; })) << driver.pictures.size();
    // Longer than a unit may wait for the device, which refers to 9 of its 16.
    EXPECT_FALSE(driver.wait([&] { return driver.pictures.size() > 6; }, std::chrono::milliseconds(1500)));
    driver.hold = false;
    driver.release_all();
    driver.decoder->drain();
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == kFrames; })) << driver.pictures.size();
    EXPECT_EQ(check_shown_pictures(driver, kPlain), static_cast<std::size_t>(kFrames));
    EXPECT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
}

// FFmpeg asks for pictures only when all surfaces are in use: at the rate of a film they would come in bursts of fifteen.
TEST(Mpp, is_late_by_few_units_once_its_surfaces_are_in_use)
{
    NEED_MPP(kPlain);
    MppDriver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    std::vector<std::size_t> late;
    for (int round = 0; round < 3; ++round)
        for (const auto &unit : later(kPlain, round)) {
            ASSERT_TRUE(driver.feed(unit)) << driver.why;
            ASSERT_TRUE(driver.wait([&] { return driver.units_consumed == driver.units_sent; })) << driver.why;
            std::this_thread::sleep_for(std::chrono::milliseconds(15)); // the device has nothing to do by then
            late.push_back(driver.units_sent - driver.pictures.size());
        }
    EXPECT_TRUE(driver.paths.back().hardware) << driver.paths.back().why;
    late.erase(late.begin(), late.begin() + kFrames);
    std::nth_element(late.begin(), late.begin() + kFrames, late.end());
    EXPECT_LE(late[kFrames], 8u) << "by the median; in bursts it is 12";
}

TEST(Mpp, that_takes_longer_for_a_picture_than_anybody_waits_loses_none)
{
    NEED_MPP(kShortGroups);
    const Variable variable("mpp_test_fault", "slow:10");
    MppDriver driver(Gpu(kShortGroups).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kShortGroups).units)) << driver.why << driver.pictures.size();
    EXPECT_EQ(check_shown_pictures(driver, kShortGroups), static_cast<std::size_t>(kFrames));
    EXPECT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
}

// ---- steps down

class MppStepsDown : public testing::TestWithParam<std::tuple<Kind, Mishap>> {};

TEST_P(MppStepsDown, without_losing_or_repeating_a_picture_and_says_why_once)
{
    const auto &[kind, mishap] = GetParam();
    NEED_MPP(kind);
    const Variable variable("mpp_test_fault", mishap.fault);
    MppDriver driver(Gpu(kind).config);
    // It decodes ahead: when it fails, pictures that it has decoded may not have been asked for.
    EXPECT_LE(steps_down(driver, kind, mishap), mishap.surfaces);
}

INSTANTIATE_TEST_SUITE_P(
    mishaps, MppStepsDown,
    testing::Combine(testing::Values(kReordered, kShortGroups),
                     testing::Values(Mishap{"lines_of_another_length", "stride", "first picture is wrong", 0},
                                     Mishap{"lines_beyond_the_memory", "beyond", "ends outside its memory", 0},
                                     Mishap{"other_memory_than_decoded_into", "memory", "first picture is wrong", 0},
                                     Mishap{"black", "black", "first picture is wrong", 0},
                                     Mishap{"error_from_the_first", "error", "fails to decode", 0},
                                     Mishap{"error_in_the_middle", "error:23", "fails to decode", 23},
                                     Mishap{"damaged_pictures", "errinfo:23", "fails to decode", 23},
                                     Mishap{"nothing_decoded_from_the_first", "stall", "decodes nothing any more", 0},
                                     Mishap{"nothing_decoded_from_the_middle_on", "stall:23",
                                            "decodes nothing any more", 23})),
    [](const auto &test) { return std::string(std::get<0>(test.param).name) + "_" + std::get<1>(test.param).name; });

TEST(Mpp, that_stops_while_time_begins_anew_loses_nothing)
{
    NEED_MPP(kShortGroups);
    // Among them those that fail between the last picture of the old time and the first of the new.
    for (unsigned decoded = 40; decoded < 52; ++decoded) {
        const Variable variable("mpp_test_fault", ("error:" + std::to_string(decoded)).c_str());
        MppDriver driver(Gpu(kShortGroups).config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        for (int round = 0; round < 2; ++round)
            for (const auto &unit : clip_of(kShortGroups).units) // without a flush
                ASSERT_TRUE(driver.feed(unit)) << driver.why;
        driver.decoder->drain();
        ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == 2u * kFrames; }))
            << decoded << ": " << driver.pictures.size() << driver.why;
        expect_clip(driver, kShortGroups, 0);
        expect_clip(driver, kShortGroups, kFrames);
        EXPECT_FALSE(driver.paths.back().hardware);
    }
}

TEST(Mpp, that_cannot_be_opened_is_not_tried_and_the_reason_said)
{
    NEED_MPP(kPlain);
    for (const char *fault : {"init", "support"}) {
        const Variable variable("mpp_test_fault", fault);
        MppDriver driver(Gpu(kPlain).config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
        EXPECT_EQ(check_shown_pictures(driver, kPlain), 0u);
        ASSERT_EQ(driver.paths.size(), 1u);
        EXPECT_FALSE(driver.paths[0].hardware);
        EXPECT_NE(driver.paths[0].why.find("cannot start FFmpeg's h264_rkmpp decoder"), std::string::npos)
            << driver.paths[0].why;
        if (::access("/dev/mpp_service", F_OK) != 0) {
            EXPECT_NE(driver.paths[0].why.find("there is no /dev/mpp_service: load"), std::string::npos)
                << driver.paths[0].why;
        }
        EXPECT_NE(driver.paths[0].why.find("; Vulkan: "), std::string::npos)
            << "what comes after it is tried: " << driver.paths[0].why;
    }
}

TEST(Mpp, that_hangs_ends_the_process_with_the_reason)
{
    NEED_MPP(kPlain);
    const Variable variable("mpp_test_fault", "hang:20");
    MppDriver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip_of(kPlain).units));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find("hangs"), std::string::npos) << driver.why;
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware) << "so that the viewer knows what to do without";
}

TEST(Mpp, that_crashes_ends_the_process_and_is_known_to_have_been_at_work)
{
    NEED_MPP(kPlain);
    const Variable variable("mpp_test_fault", "crash:20");
    MppDriver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip_of(kPlain).units));
    EXPECT_EQ(driver.failures, 1u);
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
}

TEST(Mpp, that_is_to_be_used_always_is_not_looked_at)
{
    NEED_MPP(kPlain);
    const Variable variable("mpp_test_fault", "black");
    Gpu gpu(kPlain);
    gpu.config.hardware = ipc::HardwareUse::kAlways;
    MppDriver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
    EXPECT_EQ(driver.pictures[0].pixels, driver.pictures[39].pixels) << "black, all of them";
}

/// What /proc says of each of a process's threads in `field` of their status.
std::multiset<std::string> of_threads(int pid, const std::string &field)
{
    std::multiset<std::string> values;
    for (const auto &task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
        std::ifstream status(task.path() / "status");
        for (std::string line; std::getline(status, line);)
            if (line.starts_with(field + ":\t"))
                values.insert(line.substr(field.size() + 2));
    }
    return values;
}

// They start when the device is opened, which is before Landlock: nothing else is to be left to them.
TEST(MppThreads, have_no_privileges_and_are_under_the_filter)
{
    NEED_MPP(kPlain);
    if (kSanitized)
        GTEST_SKIP() << "a sanitizer's build has no filter";
    MppDriver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
    ASSERT_TRUE(driver.paths.back().hardware) << driver.paths.back().why;
    const int pid = driver.decoder->pid();
    const auto filters = of_threads(pid, "Seccomp");
    EXPECT_GE(filters.size(), 3u) << "the main one, the watchdog's and the device's";
    EXPECT_EQ(filters.count("2"), filters.size());
    const auto privileges = of_threads(pid, "NoNewPrivs");
    EXPECT_EQ(privileges.count("1"), filters.size());
    for (const char *set : {"CapEff", "CapPrm", "CapInh"}) {
        const auto capabilities = of_threads(pid, set);
        EXPECT_EQ(capabilities.count("0000000000000000"), filters.size()) << set;
    }
}

} // namespace
} // namespace spice_overlay
