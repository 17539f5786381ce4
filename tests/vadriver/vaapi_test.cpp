// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gpu.h"

#include <algorithm>
#include <cstdlib>

namespace spice_overlay {
namespace {

constexpr Kind kVp8{"vp8", wire::Codec::kVp8, "libvpx", "-auto-alt-ref 0", 320, 180};
constexpr Kind kVp9{"vp9", wire::Codec::kVp9, "libvpx-vp9", "-lag-in-frames 0", 320, 180};

class Surfaces : public testing::TestWithParam<Kind> {};

TEST_P(Surfaces, of_a_gpu_hold_the_same_pictures_as_software)
{
    const Kind &kind = GetParam();
    NEED_ENCODER(kind.encoder);
    Driver driver(Gpu(kind).config);
    shows_every_picture(driver, kind, "VA-API (spice-overlay driver for tests)");
    EXPECT_EQ(driver.buffers, driver.slots.size()) << "a surface's descriptors are sent once";
    EXPECT_LE(driver.slots.size(), 20u);
}

INSTANTIATE_TEST_SUITE_P(
    kinds, Surfaces,
    testing::Values(
        kVp8, kVp9, Kind{"vp8_odd", wire::Codec::kVp8, "libvpx", "-auto-alt-ref 0", 101, 77},
        Kind{"vp8_partitions", wire::Codec::kVp8, "libvpx", "-auto-alt-ref 0 -slices 4", 640, 360},
        Kind{"vp9_odd", wire::Codec::kVp9, "libvpx-vp9", "", 101, 77},
        Kind{"vp9_10_bit", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv420p10le -profile:v 2", 320, 180, true},
        Kind{"vp9_10_bit_odd", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv420p10le -profile:v 2", 101, 77, true}),
    [](const auto &test) { return test.param.name; });

TEST(Surfaces, hidden_frames_are_decoded_and_not_shown)
{
    NEED_ENCODER("libvpx-vp9");
    for (const Kind &kind :
         {Kind{"vp8_hidden", wire::Codec::kVp8, "libvpx", "-deadline good -auto-alt-ref 1 -lag-in-frames 16", 320, 180},
          Kind{"vp9_hidden", wire::Codec::kVp9, "libvpx-vp9", "-deadline good -auto-alt-ref 1 -lag-in-frames 16", 320,
               180}}) {
        const Clip &clip = clip_of(kind);
        const auto &expected = expected_of(kind);
        Driver driver(Gpu(kind).config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        for (const auto &unit : clip.units)
            ASSERT_TRUE(driver.feed(unit)) << driver.why;
        const std::size_t shown = expected.size() / picture_size(kind);
        ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() >= shown; }))
            << driver.why << driver.pictures.size();
        for (std::size_t i = 0; i < shown; ++i) {
            EXPECT_EQ(driver.pictures[i].fourcc, kFourccNv12);
            EXPECT_TRUE(std::equal(driver.pictures[i].pixels.begin(), driver.pictures[i].pixels.end(),
                                   expected.begin() + static_cast<std::ptrdiff_t>(i * picture_size(kind))))
                << kind.name << " picture " << i;
        }
    }
}

TEST(Surfaces, no_more_are_out_than_the_driver_has_and_decoding_waits_for_them)
{
    NEED_ENCODER("libvpx-vp9");
    waits_for_pictures_to_come_back(Gpu(kVp9).config, kVp9);
}

TEST(Surfaces, stream_of_another_size_gets_new_ones)
{
    NEED_ENCODER("libvpx-vp9");
    gives_a_stream_of_another_size_new_surfaces(kVp9, {"vp9_large", wire::Codec::kVp9, "libvpx-vp9", "", 640, 352});
}

TEST(Surfaces, planes_that_are_exported_apart_are_one_picture)
{
    NEED_ENCODER("libvpx-vp9");
    const Kind deep{"vp9_10_bit", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv420p10le -profile:v 2", 320, 180, true};
    for (const char *layers : {"separate", "objects"})
        for (const Kind &kind : {kVp8, deep}) {
            const Variable variable("LIBVA_TEST_LAYERS", layers);
            const Clip &clip = clip_of(kind);
            Driver driver(Gpu(kind).config);
            ASSERT_TRUE(driver.decoder) << driver.start_error;
            ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
            EXPECT_EQ(check_pictures(driver, kind, clip), static_cast<std::size_t>(kFrames)) << layers;
        }
}

// ---- steps down

class StepsDown : public testing::TestWithParam<std::tuple<Kind, Mishap>> {};

TEST_P(StepsDown, without_losing_or_repeating_a_picture_and_says_why_once)
{
    const auto &[kind, mishap] = GetParam();
    NEED_ENCODER(kind.encoder);
    const Variable variable("LIBVA_TEST_FAULT", mishap.fault);
    Driver driver(Gpu(kind).config);
    EXPECT_EQ(steps_down(driver, kind, mishap), mishap.surfaces);
}

INSTANTIATE_TEST_SUITE_P(
    mishaps, StepsDown,
    testing::Combine(testing::Values(kVp8, kVp9),
                     testing::Values(Mishap{"export_refused", "export", "does not export its memory", 0},
                                     Mishap{"modifier_not_taken", "modifier",
                                            "does not take its memory (NV12, modifier 0x1", 0},
                                     Mishap{"lines_beyond_the_memory", "stride", "ends outside its memory", 0},
                                     Mishap{"other_memory_than_decoded_into", "memory", "first picture is wrong", 0},
                                     Mishap{"no_surfaces", "allocation", "makes no surfaces", 0},
                                     Mishap{"black", "black", "first picture is wrong", 0},
                                     Mishap{"surfaces_lost_from_the_first", "lost", "fails to decode", 0},
                                     Mishap{"surfaces_lost_in_the_middle_of_a_group", "lost:13", "fails to decode", 13},
                                     Mishap{"surfaces_lost_at_a_key_frame", "lost:20", "fails to decode", 20})),
    [](const auto &test) { return std::string(std::get<0>(test.param).name) + "_" + std::get<1>(test.param).name; });

TEST(Hardware, that_hangs_ends_the_process_with_the_reason)
{
    NEED_ENCODER("libvpx");
    const Variable variable("LIBVA_TEST_FAULT", "hang:5");
    const Clip &clip = clip_of(kVp8);
    Driver driver(Gpu(kVp8).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip.units));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find("hangs"), std::string::npos) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 4u); // the fifth is decoded, and never ready
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware) << "so that the viewer knows what to do without";
}

TEST(Hardware, that_crashes_ends_the_process_and_is_known_to_have_been_at_work)
{
    NEED_ENCODER("libvpx");
    const Variable variable("LIBVA_TEST_FAULT", "crash:5");
    const Clip &clip = clip_of(kVp8);
    Driver driver(Gpu(kVp8).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    EXPECT_FALSE(driver.feed_all(clip.units));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find("killed by SIG"), std::string::npos) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 5u);
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
}

TEST(Hardware, that_does_not_know_the_codec_is_not_tried)
{
    NEED_ENCODER("libx264");
    const Kind kind{"h264", wire::Codec::kH264, "libx264", "-preset ultrafast", 320, 180};
    const Clip &clip = clip_of(kind);
    Driver driver(Gpu(kind).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(check_pictures(driver, kind, clip), 0u);
    ASSERT_FALSE(driver.paths.empty());
    EXPECT_FALSE(driver.paths.back().hardware);
    EXPECT_NE(driver.paths.back().why.find("does not decode this kind of stream"), std::string::npos)
        << driver.paths.back().why;
}

TEST(Hardware, whose_driver_is_missing_is_said_to_be)
{
    NEED_ENCODER("libvpx");
    const Variable variable("LIBVA_DRIVERS_PATH", "/nonexistent");
    const Clip &clip = clip_of(kVp8);
    Driver driver(Gpu(kVp8).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(check_pictures(driver, kVp8, clip), 0u);
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_NE(driver.paths[0].why.find("libva finds no driver"), std::string::npos) << driver.paths[0].why;
}

TEST(Hardware, whose_memory_the_compositor_does_not_take_is_left_alone)
{
    NEED_ENCODER("libvpx");
    Gpu gpu(kVp8);
    gpu.config.surfaces = {};
    gpu.config.surfaces.add(kFourccNv12, kTiled);
    const Clip &clip = clip_of(kVp8);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(check_pictures(driver, kVp8, clip), 0u);
    EXPECT_NE(driver.paths.back().why.find("(NV12, modifier linear)"), std::string::npos) << driver.paths.back().why;
}

TEST(Hardware, that_is_to_be_used_always_is_not_looked_at)
{
    NEED_ENCODER("libvpx");
    const Variable variable("LIBVA_TEST_FAULT", "black");
    Gpu gpu(kVp8);
    gpu.config.hardware = ipc::HardwareUse::kAlways;
    const Clip &clip = clip_of(kVp8);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    ASSERT_EQ(driver.paths.size(), 1u);
    EXPECT_TRUE(driver.paths[0].hardware);
    EXPECT_EQ(driver.pictures[0].pixels, driver.pictures[39].pixels) << "black, all of them";
}

TEST(Hardware, whose_colours_the_compositor_would_get_wrong_is_left_alone)
{
    NEED_ENCODER("libvpx-vp9");
    const Kind kind{"vp9_bt709", wire::Codec::kVp9, "libvpx-vp9", "-colorspace bt709 -color_range tv", 320, 180};
    Gpu gpu(kind);
    gpu.config.yuv_matrix = 6;
    Driver driver(gpu.config);
    const Clip &clip = clip_of(kind);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), static_cast<std::size_t>(kFrames));
    EXPECT_EQ(driver.pictures[0].fourcc, kFourccXrgb8888);
    EXPECT_NE(driver.paths.back().why.find("colours"), std::string::npos) << driver.paths.back().why;
}

// ---- pictures that the GPU converts for the compositor

constexpr Kind kDeep{"vp9_10_bit", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv420p10le -profile:v 2", 320, 180,
                     true};

/// A GPU with a post-processor, and what the compositor takes of it.
struct ProcessingGpu : Gpu {
    Variable processing{"LIBVA_TEST_PROCESSING", "1"};
    ProcessingGpu(const Kind &kind, std::initializer_list<FormatSet::Entry> accepted) : Gpu(kind)
    {
        config.surfaces = {};
        for (const auto &[fourcc, modifier] : accepted)
            config.surfaces.add(fourcc, modifier);
    }
};

/// Every picture has come out once, in RGB that is what the ffmpeg program makes of it (`from`, the colours, in its words) but for how
/// chroma is filtered. Returns how many there are before the first in another format.
std::size_t check_rgb(const Driver &driver, const Kind &kind, const Clip &clip, const std::string &from)
{
    if (!driver.paths.back().processed) {
        ADD_FAILURE() << driver.paths.back().why;
        return 0;
    }
    const auto expected = reference(clip, "bgr0", "-vf scale=in_color_matrix=" + from);
    const std::size_t size = std::size_t{4} * kind.width * kind.height;
    EXPECT_EQ(expected.size(), kFrames * size);
    EXPECT_EQ(driver.pictures.size(), static_cast<std::size_t>(kFrames));
    std::size_t rgb = 0;
    for (std::size_t i = 0; i < std::min(driver.pictures.size(), clip.units.size()); ++i) {
        const auto &picture = driver.pictures[i];
        EXPECT_EQ(picture.frame.pts, clip.units[i].pts) << "picture " << i;
        EXPECT_EQ(picture.frame.colour, YuvColour::kUnsaid);
        EXPECT_EQ(picture.fourcc, kFourccXrgb8888);
        EXPECT_EQ(picture.pixels.size(), size);
        if (picture.pixels.size() != size || expected.size() != kFrames * size)
            continue;
        ++rgb;
        std::size_t sum = 0;
        std::size_t far = 0;
        for (std::size_t k = 0; k < size; ++k) {
            if (k % 4 == 3)
                continue;
            const int off = std::abs(picture.pixels[k] - expected[i * size + k]);
            sum += static_cast<std::size_t>(off);
            far += off > 12 ? 1 : 0;
        }
        EXPECT_LT(sum, size / 4 * 3 * 3) << "picture " << i << " is off by "
                                         << static_cast<double>(sum) / (size * 3 / 4.0);
        EXPECT_LT(far, size / 12) << "picture " << i; // along edges between colours
    }
    return rgb;
}

TEST(Processing, gives_a_compositor_the_format_that_it_takes_and_every_picture_is_right)
{
    NEED_ENCODER("libvpx-vp9");
    for (const Kind &kind : {kVp8, kVp9, kDeep}) {
        const ProcessingGpu gpu(kind, {{kFourccNv12, kTiled}, {kFourccXrgb8888, kModifierLinear}});
        const Clip &clip = clip_of(kind);
        Driver driver(gpu.config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
        EXPECT_EQ(check_rgb(driver, kind, clip, "bt601"), static_cast<std::size_t>(kFrames));
        ASSERT_EQ(driver.paths.size(), 2u);
        EXPECT_FALSE(driver.paths[0].processed);
        EXPECT_TRUE(driver.paths[1].hardware && driver.paths[1].processed);
        EXPECT_EQ(driver.paths[1].name, "VPP to XR24 after VA-API (spice-overlay driver for tests)");
        EXPECT_NE(driver.paths[1].why.find("does not take its memory"), std::string::npos) << driver.paths[1].why;
        EXPECT_EQ(driver.buffers, driver.slots.size()) << "a surface's descriptors are sent once";
        EXPECT_LE(driver.slots.size(), 12u);
    }
}

TEST(Processing, keeps_yuv_where_only_the_modifier_is_wrong)
{
    NEED_ENCODER("libvpx-vp9");
    for (const Kind &kind : {kVp8, kVp9, kDeep}) {
        const Variable variable("LIBVA_TEST_FAULT", "modifier"); // what is decoded into is said to be tiled
        const ProcessingGpu gpu(kind, {{kFourccXrgb8888, kModifierLinear},
                                       {kFourccNv12, kTiled + 1},
                                       {kFourccNv12, kModifierLinear},
                                       {kFourccP010, kModifierLinear}});
        const Clip &clip = clip_of(kind);
        Driver driver(gpu.config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
        ASSERT_TRUE(driver.paths.back().processed) << driver.paths.back().why;
        EXPECT_EQ(check_pictures(driver, kind, clip), static_cast<std::size_t>(kFrames)) << kind.name;
        ASSERT_EQ(driver.paths.size(), 2u);
        EXPECT_NE(driver.paths[1].name.find(kind.deep ? "VPP to P010" : "VPP to NV12"), std::string::npos)
            << driver.paths[1].name;
    }
}

TEST(Processing, makes_8_bits_of_10_where_the_compositor_takes_no_more)
{
    NEED_ENCODER("libvpx-vp9");
    const ProcessingGpu gpu(kDeep, {{kFourccNv12, kModifierLinear}});
    const Clip &clip = clip_of(kDeep);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    const auto &expected = expected_of(kDeep); // 10 bits in 16
    ASSERT_EQ(driver.pictures.size(), static_cast<std::size_t>(kFrames));
    for (std::size_t i = 0; i < kFrames; ++i) {
        const auto &pixels = driver.pictures[i].pixels;
        ASSERT_EQ(pixels.size() * 2, picture_size(kDeep)) << fourcc_name(driver.pictures[i].fourcc);
        std::size_t wrong = 0;
        for (std::size_t k = 0; k < pixels.size(); ++k) {
            const std::size_t at = i * picture_size(kDeep) + 2 * k;
            wrong += std::abs(pixels[k] - ((expected[at] | expected[at + 1] << 8) >> 2)) > 1 ? 1 : 0;
        }
        EXPECT_EQ(wrong, 0u) << "picture " << i;
    }
    EXPECT_NE(driver.paths.back().name.find("VPP to NV12"), std::string::npos) << driver.paths.back().why;
}

TEST(Processing, makes_rgb_of_colours_that_the_compositor_would_get_wrong)
{
    NEED_ENCODER("libvpx-vp9");
    const Kind kind{"vp9_bt709", wire::Codec::kVp9, "libvpx-vp9", "-colorspace bt709 -color_range tv", 320, 180};
    ProcessingGpu gpu(kind, {{kFourccNv12, kModifierLinear}, {kFourccXrgb8888, kModifierLinear}});
    gpu.config.yuv_matrix = 6;
    const Clip &clip = clip_of(kind);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(check_rgb(driver, kind, clip, "bt709"), static_cast<std::size_t>(kFrames));
    EXPECT_TRUE(driver.paths.back().processed) << driver.paths.back().why;
    EXPECT_NE(driver.paths.back().why.find("colours"), std::string::npos) << driver.paths.back().why;
}

TEST(Processing, goes_on_with_a_stream_of_another_size)
{
    NEED_ENCODER("libvpx-vp9");
    const Kind large{"vp9_large", wire::Codec::kVp9, "libvpx-vp9", "", 640, 352};
    const Variable variable("LIBVA_TEST_FAULT", "modifier");
    const ProcessingGpu gpu(kVp9, {{kFourccNv12, kModifierLinear}});
    std::vector<Driver::Unit> units = clip_of(kVp9).units;
    const std::int64_t end = units.back().pts + 1;
    for (Driver::Unit unit : clip_of(large).units) {
        unit.pts += end;
        units.push_back(unit);
    }
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(units)) << driver.why;
    ASSERT_EQ(driver.pictures.size(), 2u * kFrames);
    const auto &expected = expected_of(large);
    for (std::size_t i = 0; i < kFrames; ++i) {
        const auto &pixels = driver.pictures[kFrames + i].pixels;
        EXPECT_EQ(driver.pictures[kFrames + i].fourcc, kFourccNv12);
        EXPECT_TRUE(std::equal(pixels.begin(), pixels.end(),
                               expected.begin() + static_cast<std::ptrdiff_t>(i * picture_size(large))))
            << "picture " << i;
    }
    EXPECT_EQ(driver.paths.size(), 2u) << "said once";
}

TEST(Processing, waits_for_a_viewer_that_keeps_its_pictures)
{
    NEED_ENCODER("libvpx-vp9");
    const Variable variable("LIBVA_TEST_FAULT", "modifier");
    const ProcessingGpu gpu(kVp9, {{kFourccNv12, kModifierLinear}});
    waits_for_pictures_to_come_back(gpu.config, kVp9);
}

class ProcessingStepsDown : public testing::TestWithParam<std::tuple<Kind, Mishap>> {};

TEST_P(ProcessingStepsDown, once_and_without_losing_or_repeating_a_picture)
{
    const auto &[kind, mishap] = GetParam();
    NEED_ENCODER(kind.encoder);
    const Variable variable("LIBVA_TEST_FAULT", mishap.fault);
    const ProcessingGpu gpu(kind, {{kFourccXrgb8888, kModifierLinear}});
    const Clip &clip = clip_of(kind);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    EXPECT_EQ(check_pictures(driver, kind, clip), 0u);
    std::size_t rgb = 0;
    while (rgb < driver.pictures.size() && driver.pictures[rgb].fourcc == kFourccXrgb8888)
        ++rgb;
    EXPECT_EQ(rgb, mishap.surfaces);
    ASSERT_EQ(driver.paths.size(), mishap.surfaces > 0 ? 3u : 2u);
    EXPECT_FALSE(driver.paths.back().hardware);
    EXPECT_NE(driver.paths.back().why.find(mishap.why), std::string::npos) << driver.paths.back().why;
    EXPECT_EQ(driver.failures, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    mishaps, ProcessingStepsDown,
    testing::Combine(testing::Values(kVp8, kVp9),
                     testing::Values(Mishap{"refused", "processing", "fails to convert", 0},
                                     Mishap{"black", "processing-black", "first picture is wrong", 0},
                                     Mishap{"refused_in_the_middle", "processing:13", "fails to convert", 12},
                                     Mishap{"refused_at_a_key_frame", "processing:21", "fails to convert", 20})),
    [](const auto &test) { return std::string(std::get<0>(test.param).name) + "_" + std::get<1>(test.param).name; });

TEST(Processing, with_the_wrong_matrix_is_found_out)
{
    NEED_ENCODER("libvpx-vp9");
    const Kind kind{"vp9_bt709", wire::Codec::kVp9, "libvpx-vp9", "-colorspace bt709 -color_range tv", 320, 180};
    const Variable variable("LIBVA_TEST_FAULT", "processing-colours");
    ProcessingGpu gpu(kind, {{kFourccXrgb8888, kModifierLinear}});
    gpu.config.yuv_matrix = 6;
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kind).units)) << driver.why;
    EXPECT_FALSE(driver.paths.back().hardware);
    EXPECT_NE(driver.paths.back().why.find("first picture"), std::string::npos) << driver.paths.back().why;
}

TEST(Processing, that_a_driver_lacks_is_named_with_what_it_was_needed_for)
{
    NEED_ENCODER("libvpx");
    Gpu gpu(kVp8);
    gpu.config.surfaces = {};
    gpu.config.surfaces.add(kFourccXrgb8888, kModifierLinear);
    Driver driver(gpu.config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip_of(kVp8).units)) << driver.why;
    EXPECT_EQ(check_pictures(driver, kVp8, clip_of(kVp8)), 0u);
    EXPECT_NE(driver.paths.back().why.find("does not take its memory"), std::string::npos) << driver.paths.back().why;
    EXPECT_NE(driver.paths.back().why.find("converts no pictures"), std::string::npos) << driver.paths.back().why;
}

} // namespace
} // namespace spice_overlay
