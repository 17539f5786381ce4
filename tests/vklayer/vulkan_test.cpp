// SPDX-License-Identifier: LGPL-2.1-or-later
// Decoding by Vulkan in the production decoder, in its sandbox, on Mesa's software driver with the layer of the tests above it.
#include "tests/vadriver/gpu.h"

#include <algorithm>
#include <filesystem>

namespace spice_overlay {
namespace {

constexpr char kName[] = "Vulkan (spice-overlay layer for tests)";
#define FAST "-preset veryfast -x264-params keyint=20:min-keyint=20:scenecut=0"
constexpr Kind kPlain{"h264", wire::Codec::kH264, "libx264", FAST " -bf 0", 320, 180};
constexpr Kind kReordered{"h264_reordered", wire::Codec::kH264, "libx264", FAST " -bf 3 -b_strategy 0", 320, 180};

bool have_software_driver()
{
    for (const char *folder : {"/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"}) {
        std::error_code none;
        for (const auto &entry : std::filesystem::directory_iterator(folder, none))
            if (entry.path().filename().string().starts_with("lvp"))
                return true;
    }
    return false;
}

#define NEED_VULKAN(kind)                                                                                              \
    NEED_ENCODER((kind).encoder);                                                                                      \
    if (!have_software_driver())                                                                                       \
    GTEST_SKIP() << "Mesa's software driver for Vulkan is missing (package mesa-vulkan-drivers)"

class VulkanSurfaces : public testing::TestWithParam<Kind> {};

TEST_P(VulkanSurfaces, of_a_gpu_hold_the_same_pictures_as_software)
{
    const Kind &kind = GetParam();
    NEED_VULKAN(kind);
    Driver driver(Gpu(kind).config);
    shows_every_picture(driver, kind, kName);
    EXPECT_EQ(driver.buffers, driver.slots.size()) << "a surface's descriptor is sent once";
    EXPECT_LE(driver.slots.size(), 32u);
}

INSTANTIATE_TEST_SUITE_P(
    kinds, VulkanSurfaces,
    testing::Values(kPlain, kReordered,
                    Kind{"h264_baseline", wire::Codec::kH264, "libx264", FAST " -profile:v baseline", 320, 180},
                    Kind{"h264_slices", wire::Codec::kH264, "libx264", FAST " -bf 2 -slices 4", 640, 352},
                    Kind{"h264_references", wire::Codec::kH264, "libx264", FAST " -bf 2 -refs 8", 320, 180},
                    Kind{"h264_odd", wire::Codec::kH264, "libx264", FAST " -bf 2", 102, 78},
                    Kind{"h264_interlaced", wire::Codec::kH264, "libx264", FAST " -bf 2 -flags +ilme+ildct", 320, 192}),
    [](const auto &test) { return test.param.name; });

TEST(VulkanSurfaces, no_more_are_out_than_the_viewer_may_have_and_decoding_waits_for_them)
{
    NEED_VULKAN(kPlain);
    waits_for_pictures_to_come_back(Gpu(kPlain).config, kPlain);
}

TEST(VulkanSurfaces, stream_of_another_size_gets_new_ones)
{
    NEED_VULKAN(kPlain);
    gives_a_stream_of_another_size_new_surfaces(kPlain,
                                                {"h264_large", wire::Codec::kH264, "libx264", FAST " -bf 0", 640, 352});
}

// ---- steps down

class VulkanStepsDown : public testing::TestWithParam<Mishap> {};

TEST_P(VulkanStepsDown, without_losing_or_repeating_a_picture_and_says_why_once)
{
    const Mishap &mishap = GetParam();
    NEED_VULKAN(kPlain);
    const Variable variable("VK_TEST_FAULT", mishap.fault);
    Driver driver(Gpu(kPlain).config);
    EXPECT_EQ(steps_down(driver, kPlain, mishap), mishap.surfaces);
}

INSTANTIATE_TEST_SUITE_P(
    mishaps, VulkanStepsDown,
    testing::Values(Mishap{"modifier_not_taken", "modifier", "into no layout of NV12 that the compositor takes", 0},
                    Mishap{"export_refused", "export", "does not export its memory", 0},
                    Mishap{"lines_beyond_the_memory", "stride", "ends outside its memory", 0},
                    Mishap{"other_memory_than_decoded_into", "memory", "first picture is wrong", 0},
                    Mishap{"no_memory", "allocation", "makes no surface", 0},
                    Mishap{"black", "black", "first picture is wrong", 0},
                    Mishap{"device_lost_from_the_first", "lost", "fails to decode", 0},
                    Mishap{"device_lost_in_the_middle_of_a_group", "lost:13", "fails to decode", 13},
                    Mishap{"device_lost_at_a_key_frame", "lost:20", "fails to decode", 20}),
    [](const auto &test) { return std::string(test.param.name); });

TEST(VulkanDevice, that_runs_out_of_memory_is_left_at_that_picture)
{
    // Each picture is kept as a reference: there is no old surface to decode into.
    const Kind kind{"h264_kept", wire::Codec::kH264, "libx264", FAST " -bf 0 -refs 8", 320, 180};
    NEED_VULKAN(kind);
    const Variable variable("VK_TEST_FAULT", "allocation:3");
    Driver driver(Gpu(kind).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kind).units)) << driver.why;
    EXPECT_EQ(check_shown_pictures(driver, kind), 3u);
    ASSERT_EQ(driver.paths.size(), 2u);
    EXPECT_NE(driver.paths[1].why.find("makes no surface"), std::string::npos) << driver.paths[1].why;
}

TEST(VulkanDevice, that_is_lost_while_pictures_wait_for_their_turn_loses_none)
{
    NEED_VULKAN(kReordered);
    const Variable variable("VK_TEST_FAULT", "lost:13");
    Driver driver(Gpu(kReordered).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kReordered).units)) << driver.why;
    const std::size_t surfaces = check_shown_pictures(driver, kReordered);
    EXPECT_GT(surfaces, 0u);
    EXPECT_LE(surfaces, 13u);
    EXPECT_EQ(driver.paths.size(), 2u);
}

struct Refusal {
    const char *fault;
    const char *why;
};

TEST(VulkanDevice, that_cannot_be_of_use_is_not_tried_and_the_reason_said)
{
    NEED_VULKAN(kPlain);
    for (const Refusal &refusal :
         {Refusal{"no-modifiers", "does not export its memory"}, Refusal{"no-video", "decodes no video"},
          Refusal{"node", "there is no driver for this GPU, only"}}) {
        const Variable variable("VK_TEST_FAULT", refusal.fault);
        Driver driver(Gpu(kPlain).config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
        EXPECT_EQ(check_shown_pictures(driver, kPlain), 0u);
        ASSERT_EQ(driver.paths.size(), 1u);
        EXPECT_FALSE(driver.paths[0].hardware);
        EXPECT_NE(driver.paths[0].why.find(std::string("Vulkan: ")), std::string::npos) << driver.paths[0].why;
        EXPECT_NE(driver.paths[0].why.find(refusal.why), std::string::npos) << driver.paths[0].why;
    }
}

TEST(VulkanDevice, whose_memory_the_compositor_does_not_take_is_left_alone)
{
    NEED_VULKAN(kPlain);
    Gpu gpu(kPlain);
    gpu.config.surfaces = {};
    gpu.config.surfaces.add(kFourccNv12, kTiled);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
    EXPECT_EQ(check_shown_pictures(driver, kPlain), 0u);
    EXPECT_NE(driver.paths.back().why.find("no layout of NV12"), std::string::npos) << driver.paths.back().why;
}

TEST(VulkanDevice, that_does_not_decode_this_kind_of_stream_is_left_at_once)
{
    const Kind deep{"h264_10_bit", wire::Codec::kH264, "libx264", FAST " -pix_fmt yuv420p10le", 320, 180, true};
    NEED_VULKAN(deep);
    Driver driver(Gpu(deep).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(deep).units)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), static_cast<std::size_t>(kFrames));
    EXPECT_FALSE(driver.paths.back().hardware);
    EXPECT_NE(driver.paths.back().why.find("does not decode this kind of stream"), std::string::npos)
        << driver.paths.back().why;
}

TEST(VulkanDevice, that_is_to_be_used_always_is_not_looked_at)
{
    NEED_VULKAN(kPlain);
    const Variable variable("VK_TEST_FAULT", "black");
    Gpu gpu(kPlain);
    gpu.config.hardware = ipc::HardwareUse::kAlways;
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kPlain).units)) << driver.why;
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
    EXPECT_EQ(driver.pictures[0].pixels, driver.pictures[39].pixels) << "black, all of them";
}

TEST(VulkanDevice, that_hangs_ends_the_process_with_the_reason)
{
    NEED_VULKAN(kPlain);
    const Variable variable("VK_TEST_FAULT", "hang:5");
    Driver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip_of(kPlain).units));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find("hangs"), std::string::npos) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 4u); // the fifth is decoded, and never ready
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware) << "so that the viewer knows what to do without";
}

TEST(VulkanDevice, that_crashes_ends_the_process_and_is_known_to_have_been_at_work)
{
    NEED_VULKAN(kPlain);
    const Variable variable("VK_TEST_FAULT", "crash:5");
    Driver driver(Gpu(kPlain).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip_of(kPlain).units));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_EQ(driver.pictures.size(), 5u);
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
}

} // namespace
} // namespace spice_overlay
