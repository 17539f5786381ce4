// SPDX-License-Identifier: LGPL-2.1-or-later
// FFmpeg's rkmpp decoders in the production decoder, in its sandbox, on a double of Rockchip's MPP. They are asynchronous: pictures come some
// twenty units late.
#include "dmabuf/decoder/sandbox.h"
#include "tests/vadriver/gpu.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

namespace spice_overlay {
namespace {

constexpr char kName[] = "a decoder of the system's own (DRM PRIME)";
#define FAST "-preset veryfast -x264-params keyint=20:min-keyint=20:scenecut=0"
constexpr Kind kPlain{"h264", wire::Codec::kH264, "libx264", FAST " -bf 0", 320, 180};
constexpr Kind kReordered{"h264_reordered", wire::Codec::kH264, "libx264", FAST " -bf 3 -b_strategy 0", 320, 180};

/// A decoder whose libavcodec has the rkmpp decoders. (The ffmpeg program, which makes the clips, is not to have it.)
struct MppDriver : Driver {
    explicit MppDriver(const DecoderProcess::Config &config) : MppDriver(config, libraries()) {}

private:
    MppDriver(const DecoderProcess::Config &config, const Variable &) : Driver(config) {}
    static Variable libraries() { return {"LD_LIBRARY_PATH", std::getenv("TEST_MPP_LIBRARIES")}; }
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
    const Clip &clip = clip_of(kind);
    ASSERT_EQ(clip.units.size(), static_cast<std::size_t>(kFrames));
    MppDriver driver(Gpu(kind).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    EXPECT_EQ(check_shown_pictures(driver, kind), static_cast<std::size_t>(kFrames));
    ASSERT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
    EXPECT_TRUE(driver.paths[0].hardware) << driver.paths[0].why;
    EXPECT_EQ(driver.paths[0].name, kName);
    EXPECT_EQ(driver.failures, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    kinds, MppPictures,
    testing::Values(kPlain, kReordered, Kind{"h264_odd", wire::Codec::kH264, "libx264", FAST " -bf 2", 102, 78},
                    Kind{"hevc", wire::Codec::kHevc, "libx265",
                         "-preset ultrafast -x265-params keyint=20:min-keyint=20:scenecut=0:log-level=none", 320, 180},
                    Kind{"vp8", wire::Codec::kVp8, "libvpx", "", 320, 180},
                    Kind{"vp9", wire::Codec::kVp9, "libvpx-vp9", "", 320, 180}),
    [](const auto &test) { return test.param.name; });

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
