// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clips.h"
#include "driver.h"

#include "dmabuf/decoder/capabilities.h"
#include "dmabuf/formats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace spice_overlay {
namespace {

const std::string kProgram = SPICE_OVERLAY_DECODER;

#define NEED_ENCODER(encoder)                                                                                          \
    if (!can_encode(encoder))                                                                                          \
    GTEST_SKIP() << "the ffmpeg program is missing, or has no encoder " << (encoder)

struct Case {
    const char *name;
    wire::Codec codec;
    const char *encoder;
    const char *options;
    std::uint32_t width;
    std::uint32_t height;
};

void PrintTo(const Case &c, std::ostream *out)
{
    *out << c.name;
}

Clip clip_of(const Case &c, int frames)
{
    return make_clip("testsrc=s=" + std::to_string(c.width) + "x" + std::to_string(c.height) + ":r=30",
                     std::string("-pix_fmt yuv420p -c:v ") + c.encoder + " " + c.options, frames);
}

class Unconverted : public testing::TestWithParam<Case> {};

TEST_P(Unconverted, pictures_equal_the_ffmpeg_programs_byte_for_byte_in_order)
{
    const Case &c = GetParam();
    NEED_ENCODER(c.encoder);
    const Clip clip = clip_of(c, 40);
    ASSERT_EQ(clip.units.size(), 40u);
    const auto expected = reference(clip, "yuv420p");
    const std::size_t size = c.width * c.height + 2 * ((c.width + 1) / 2 * ((c.height + 1) / 2));
    ASSERT_EQ(expected.size(), 40 * size);

    Driver driver(Driver::config(kProgram, c.codec, c.width, c.height));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    ASSERT_EQ(driver.pictures.size(), 40u);

    std::vector<std::int64_t> times;
    for (const auto &unit : clip.units)
        times.push_back(unit.pts);
    std::sort(times.begin(), times.end());
    for (std::size_t i = 0; i < 40; ++i) {
        const auto &picture = driver.pictures[i];
        EXPECT_EQ(picture.fourcc, kFourccYu12);
        EXPECT_EQ(picture.frame.pts, times[i]) << "picture " << i;
        ASSERT_EQ(picture.frame.crop.width, c.width);
        ASSERT_EQ(picture.frame.crop.height, c.height);
        ASSERT_EQ(picture.pixels.size(), size);
        ASSERT_TRUE(std::equal(picture.pixels.begin(), picture.pixels.end(),
                               expected.begin() + static_cast<std::ptrdiff_t>(i * size)))
            << "picture " << i;
    }
    EXPECT_LE(driver.slots.size(), 24u);
}

INSTANTIATE_TEST_SUITE_P(
    codecs, Unconverted,
    testing::Values(
        Case{"h264", wire::Codec::kH264, "libx264", "-bf 0 -g 12", 640, 360},
        Case{"h264_b_frames", wire::Codec::kH264, "libx264", "-bf 3 -b_strategy 0 -g 24", 640, 360},
        Case{"h264_slices", wire::Codec::kH264, "libx264", "-bf 2 -x264-params slices=4", 640, 352},
        Case{"h264_odd", wire::Codec::kH264, "libx264", "-bf 2", 642, 358},
        Case{"h264_large", wire::Codec::kH264, "libx264", "-preset ultrafast", 2560, 1440},
        Case{"hevc", wire::Codec::kHevc, "libx265", "-x265-params log-level=error:bframes=2", 640, 360},
        Case{"hevc_odd", wire::Codec::kHevc, "libx265", "-x265-params log-level=error", 642, 358},
        Case{"vp8", wire::Codec::kVp8, "libvpx", "-b:v 1M -auto-alt-ref 0 -deadline realtime -cpu-used 8", 640, 360},
        Case{"vp8_odd", wire::Codec::kVp8, "libvpx", "-b:v 1M -auto-alt-ref 0 -deadline realtime -cpu-used 8", 101, 77},
        Case{"vp9", wire::Codec::kVp9, "libvpx-vp9", "-b:v 1M -deadline realtime -cpu-used 8", 640, 360},
        Case{"vp9_odd", wire::Codec::kVp9, "libvpx-vp9", "-b:v 1M -deadline realtime -cpu-used 8", 101, 77},
        Case{"hevc_frame_threads", wire::Codec::kHevc, "libx265", "-preset ultrafast -x265-params log-level=error",
             1920, 1080},
        Case{"vp9_frame_threads", wire::Codec::kVp9, "libvpx-vp9", "-b:v 4M -deadline realtime -cpu-used 8", 1922,
             1082},
        Case{"av1", wire::Codec::kAv1, "libsvtav1", "-preset 12", 640, 360},
        Case{"mpeg2", wire::Codec::kMpeg2, "mpeg2video", "-b:v 4M -bf 2", 640, 360},
        Case{"mpeg2_odd", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M", 322, 178}),
    [](const auto &test) { return test.param.name; });

/// Everything moves across all edges: later pictures are predicted from what lies beyond those of earlier ones, which have been shown.
class Moving : public testing::TestWithParam<Case> {};

TEST_P(Moving, pictures_whose_edges_cut_through_blocks_are_predicted_from_what_was_decoded)
{
    const Case &c = GetParam();
    NEED_ENCODER(c.encoder);
    const std::string size = std::to_string(c.width) + ":" + std::to_string(c.height);
    const Clip clip = make_clip("testsrc2=s=" + std::to_string(2 * c.width) + "x" + std::to_string(2 * c.height)
                                    + ":r=30,crop=" + size + ":" + std::to_string(c.width / 2)
                                    + "*(1+sin(n/5)):" + std::to_string(c.height / 2) + "*(1+cos(n/7))",
                                std::string("-pix_fmt yuv420p -c:v ") + c.encoder + " " + c.options, 60);
    ASSERT_EQ(clip.units.size(), 60u);
    const auto expected = reference(clip, "yuv420p");
    Driver driver(Driver::config(kProgram, c.codec, c.width, c.height));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.window = 2; // a picture is shown before the next unit comes
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    ASSERT_EQ(driver.pictures.size(), 60u);
    std::size_t at = 0;
    unsigned wrong = 0;
    for (const auto &picture : driver.pictures) {
        EXPECT_EQ(picture.fourcc, kFourccYu12);
        const std::size_t bytes = picture.pixels.size();
        ASSERT_LE(at + bytes, expected.size());
        wrong +=
            std::equal(picture.pixels.begin(), picture.pixels.end(), expected.begin() + static_cast<std::ptrdiff_t>(at))
                ? 0
                : 1;
        at += bytes;
    }
    EXPECT_EQ(at, expected.size());
    EXPECT_EQ(wrong, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    codecs, Moving,
    testing::Values(
        Case{"mpeg2_b_frames", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M -bf 2 -g 30", 200, 120},
        Case{"mpeg2", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M -bf 0 -g 60", 200, 120},
        Case{"mpeg2_low_delay", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M -bf 0 -g 60 -flags low_delay -strict -2",
             200, 120},
        Case{"mpeg2_interlaced", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M -bf 2 -g 30 -flags ilme+ildct", 208, 112},
        Case{"mpeg1", wire::Codec::kMpeg2, "mpeg1video", "-b:v 2M -bf 2 -g 30", 200, 120},
        Case{"h264", wire::Codec::kH264, "libx264", "-bf 2 -g 30", 202, 118},
        Case{"hevc", wire::Codec::kHevc, "libx265", "-g 30 -x265-params log-level=error:bframes=2", 202, 118},
        Case{"vp8", wire::Codec::kVp8, "libvpx", "-b:v 1M -auto-alt-ref 0 -deadline realtime -cpu-used 8", 203, 117},
        Case{"vp9", wire::Codec::kVp9, "libvpx-vp9", "-b:v 1M -deadline realtime -cpu-used 8 -lag-in-frames 0", 203,
             117},
        Case{"av1", wire::Codec::kAv1, "libsvtav1", "-preset 12", 202, 118}),
    [](const auto &test) { return test.param.name; });

TEST(Shown, picture_shown_twice_has_a_slot_for_each_time)
{
    NEED_ENCODER("libvpx-vp9");
    const Clip clip =
        make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8", 1);
    ASSERT_EQ(clip.units.size(), 1u);
    Driver driver(Driver::config(kProgram, wire::Codec::kVp9, 320, 180));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    std::vector<Driver::Unit> units = clip.units;
    for (std::int64_t time = 1; time <= 3; ++time)
        units.push_back({{0x88}, time, false}); // VP9, show_existing_frame, reference 0
    ASSERT_TRUE(driver.feed_all(units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    ASSERT_EQ(driver.pictures.size(), 4u);
    EXPECT_EQ(driver.slots.size(), 4u);
    for (const auto &picture : driver.pictures) {
        EXPECT_EQ(picture.fourcc, kFourccYu12);
        EXPECT_EQ(picture.pixels, driver.pictures[0].pixels);
    }
}

// ---- streams whose parameter sets or sequence headers come with STREAM_OPEN alone

class Headers : public testing::TestWithParam<Case> {};

TEST_P(Headers, that_come_with_the_streams_opening_alone_serve_after_every_flush_too)
{
    const Case &c = GetParam();
    NEED_ENCODER(c.encoder);
    Clip clip = clip_of(c, 24);
    ASSERT_EQ(clip.units.size(), 24u);
    const auto expected = reference(clip, "yuv420p");
    DecoderProcess::Config config = Driver::config(kProgram, c.codec, c.width, c.height);
    config.stream.extradata = take_headers(c.codec, clip.units);
    ASSERT_FALSE(config.stream.extradata.empty());

    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    const auto expect_all = [&](const char *when) {
        driver.pictures.clear();
        ASSERT_TRUE(driver.feed_all(clip.units))
            << when << ": " << driver.why << " after " << driver.pictures.size() << " pictures";
        std::vector<std::uint8_t> pixels;
        for (const Driver::Picture &picture : driver.pictures)
            pixels.insert(pixels.end(), picture.pixels.begin(), picture.pixels.end());
        EXPECT_TRUE(pixels == expected) << when;
    };
    expect_all("at the start");
    expect_all("after a drain");
    for (std::size_t i = 0; i < 5; ++i)
        ASSERT_TRUE(driver.feed(clip.units[i])) << driver.why;
    driver.decoder->flush(1);
    driver.epoch = 1;
    expect_all("after a flush");
}

INSTANTIATE_TEST_SUITE_P(
    codecs, Headers,
    testing::Values(Case{"h264", wire::Codec::kH264, "libx264", "-bf 2 -g 12", 320, 180},
                    Case{"h264_frame_threads", wire::Codec::kH264, "libx264", "-preset ultrafast -bf 2", 1920, 1080},
                    Case{"hevc", wire::Codec::kHevc, "libx265", "-g 12 -x265-params log-level=error:bframes=2", 320,
                         180},
                    Case{"av1", wire::Codec::kAv1, "libsvtav1", "-preset 12 -g 12", 320, 180},
                    Case{"mpeg2", wire::Codec::kMpeg2, "mpeg2video", "-b:v 4M -bf 2 -g 12", 320, 176}),
    [](const auto &test) { return test.param.name; });

TEST(Extradata, is_not_looked_at_before_the_first_unit)
{
    NEED_ENCODER("libx264");
    const Clip clip = make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuv420p -c:v libx264", 3);
    DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 320, 180);
    config.stream.extradata = {1, 100,
                               0}; // of MP4, which the protocol does not know, and cut off: FFmpeg does not open by it
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 3u);
}

TEST(Extradata, of_more_slices_than_an_access_unit_may_have_ends_the_stream)
{
    NEED_ENCODER("libx264");
    const Clip clip = make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuv420p -c:v libx264", 3);
    DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 320, 180);
    const std::uint8_t slice[] = {0, 0, 1, 0x65, 0x88};
    for (int i = 0; i < 1030; ++i)
        config.stream.extradata.insert(config.stream.extradata.end(), std::begin(slice), std::end(slice));
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    (void)driver.feed(clip.units[0]);
    EXPECT_FALSE(driver.wait([] { return false; }));
    EXPECT_EQ(driver.reason, wire::Reason::kTooLarge) << driver.why;
}

// ---- pictures that are converted

struct Conversion {
    const char *name;
    wire::Codec codec;
    const char *encoder;
    const char *options;
    std::uint32_t width;
    std::uint32_t height;
    std::uint8_t yuv_matrix;        ///< the compositor's
    wire::ColourDescription stream; ///< what STREAM_OPEN says
    bool xrgb_only;
    const char *reference; ///< options of the reference decode
};

void PrintTo(const Conversion &c, std::ostream *out)
{
    *out << c.name;
}

class Converted : public testing::TestWithParam<Conversion> {};

TEST_P(Converted, pictures_are_what_the_ffmpeg_program_makes_of_them)
{
    const Conversion &c = GetParam();
    NEED_ENCODER(c.encoder);
    const Clip clip = make_clip("testsrc=s=" + std::to_string(c.width) + "x" + std::to_string(c.height) + ":r=30",
                                std::string("-c:v ") + c.encoder + " " + c.options, 12);
    ASSERT_EQ(clip.units.size(), 12u);
    const auto expected = reference(clip, "bgr0", c.reference);
    const std::size_t size = std::size_t{4} * c.width * c.height;
    ASSERT_EQ(expected.size(), 12 * size);

    DecoderProcess::Config config = Driver::config(kProgram, c.codec, c.width, c.height);
    config.yuv_matrix = c.yuv_matrix;
    config.stream.colour = c.stream;
    if (c.xrgb_only)
        config.fourccs = {kFourccXrgb8888};
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    ASSERT_EQ(driver.pictures.size(), 12u);
    for (std::size_t i = 0; i < 12; ++i) {
        const auto &picture = driver.pictures[i];
        ASSERT_EQ(picture.fourcc, kFourccXrgb8888);
        EXPECT_EQ(picture.buffer_width, c.width) << "exactly as large as the picture";
        EXPECT_EQ(picture.buffer_height, c.height);
        ASSERT_EQ(picture.pixels.size(), size);
        int worst = 0;
        for (std::size_t k = 0; k < size; ++k) {
            if (k % 4 != 3) // X is anything
                worst = std::max(worst, std::abs(picture.pixels[k] - expected[i * size + k]));
        }
        ASSERT_LE(worst, 1) << "picture " << i;
    }
}

constexpr wire::ColourDescription kUntagged{};
constexpr wire::ColourDescription kBt709{1, 1, 1, 0};
constexpr wire::ColourDescription kFullRange{2, 2, 2, 1};

INSTANTIATE_TEST_SUITE_P(
    colours, Converted,
    testing::Values(
        Conversion{"h264_420_where_only_xrgb", wire::Codec::kH264, "libx264", "-pix_fmt yuv420p", 640, 360, 6,
                   kUntagged, true, ""},
        Conversion{"h264_420_odd_crop", wire::Codec::kH264, "libx264", "-pix_fmt yuv420p", 642, 358, 6, kUntagged, true,
                   ""},
        Conversion{"vp9_odd_size", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv420p -deadline realtime -cpu-used 8",
                   101, 77, 6, kUntagged, true, ""},
        Conversion{"h264_444", wire::Codec::kH264, "libx264", "-pix_fmt yuv444p", 321, 181, 6, kUntagged, false, ""},
        Conversion{"h264_422", wire::Codec::kH264, "libx264", "-pix_fmt yuv422p", 320, 180, 6, kUntagged, false, ""},
        Conversion{"h264_10_bit", wire::Codec::kH264, "libx264", "-pix_fmt yuv420p10le", 320, 180, 6, kUntagged, false,
                   ""},
        Conversion{"hevc_10_bit", wire::Codec::kHevc, "libx265", "-pix_fmt yuv420p10le -x265-params log-level=error",
                   320, 180, 6, kUntagged, false, ""},
        Conversion{"vp9_444", wire::Codec::kVp9, "libvpx-vp9", "-pix_fmt yuv444p -deadline realtime -cpu-used 8", 320,
                   180, 6, kUntagged, false, ""},
        Conversion{"mjpeg_full_range", wire::Codec::kMjpeg, "mjpeg", "-pix_fmt yuvj420p -q:v 3", 320, 180, 6, kUntagged,
                   false, ""},
        Conversion{"mjpeg_422", wire::Codec::kMjpeg, "mjpeg", "-pix_fmt yuvj422p -q:v 3", 320, 180, 6, kUntagged, false,
                   ""},
        Conversion{"h264_full_range", wire::Codec::kH264, "libx264",
                   "-pix_fmt yuv420p -vf scale=out_range=full -color_range pc", 320, 180, 6, kUntagged, false, ""},
        Conversion{"h264_bt709_where_compositor_thinks_601", wire::Codec::kH264, "libx264",
                   "-pix_fmt yuv420p -vf scale=out_color_matrix=bt709 -colorspace bt709", 320, 180, 6, kUntagged, false,
                   ""},
        Conversion{"h264_bt601_where_compositor_thinks_709", wire::Codec::kH264, "libx264",
                   "-pix_fmt yuv420p -colorspace smpte170m", 320, 180, 1, kUntagged, false, ""},
        Conversion{"bt709_by_stream_open_alone", wire::Codec::kH264, "libx264", "-pix_fmt yuv420p", 320, 180, 6, kBt709,
                   false, "-vf scale=in_color_matrix=bt709"},
        Conversion{"full_range_by_stream_open_alone", wire::Codec::kH264, "libx264", "-pix_fmt yuv420p", 320, 180, 6,
                   kFullRange, false, "-vf scale=in_range=full"}),
    [](const auto &test) { return test.param.name; });

TEST(Colour, bitstream_outranks_stream_open_and_both_names_of_bt601_are_direct)
{
    NEED_ENCODER("libx264");
    const Clip clip =
        make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuv420p -c:v libx264 -colorspace smpte170m -color_range tv", 3);
    DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 320, 180);
    config.yuv_matrix = 5;
    config.stream.colour = {1, 1, 1, 1};
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures[0].fourcc, kFourccYu12);
}

TEST(Colour, pictures_that_the_compositor_can_be_told_of_are_direct_and_say_what_they_are)
{
    NEED_ENCODER("libx264");
    struct Told {
        const char *options;
        YuvColourSet told;
        std::uint32_t fourcc;
        YuvColour colour;
    };
    const YuvColourSet all = set_of(YuvColour::kBt601) | set_of(YuvColour::kBt709) | set_of(YuvColour::kBt709Full);
    const Told cases[] = {
        {"-colorspace bt709", all, kFourccYu12, YuvColour::kBt709},
        {"-colorspace bt709 -color_range pc", all, kFourccYu12, YuvColour::kBt709Full},
        {"-colorspace smpte170m", all, kFourccYu12, YuvColour::kBt601},
        {"", all, kFourccYu12, YuvColour::kBt601},
        {"", 0, kFourccYu12, YuvColour::kUnsaid},
        {"-colorspace bt709", set_of(YuvColour::kBt601), kFourccXrgb8888, YuvColour::kUnsaid},
        {"-colorspace bt2020nc", all, kFourccXrgb8888, YuvColour::kUnsaid},
        {"-colorspace smpte170m -color_range pc", all, kFourccXrgb8888, YuvColour::kUnsaid},
    };
    for (const Told &c : cases) {
        const Clip clip = make_clip("color=gray:s=320x180:r=30,format=yuv420p",
                                    std::string("-c:v libx264 ") + c.options, 3);
        DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 320, 180);
        config.yuv_matrix = 6;
        config.told_colours = c.told;
        Driver driver(config);
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        ASSERT_TRUE(driver.feed_all(clip.units)) << c.options << ": " << driver.why;
        EXPECT_EQ(driver.pictures[0].fourcc, c.fourcc) << c.options << " told " << c.told;
        EXPECT_EQ(driver.pictures[0].frame.colour, c.colour) << c.options << " told " << c.told;
    }
}

TEST(Colour, format_that_the_presenter_likes_less_than_xrgb_is_not_used)
{
    NEED_ENCODER("libx264");
    const Clip clip = make_clip("testsrc=s=320x180:r=30", "-pix_fmt yuv420p -c:v libx264", 3);
    DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 320, 180);
    config.fourccs = {kFourccXrgb8888, kFourccYu12};
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why;
    EXPECT_EQ(driver.pictures[0].fourcc, kFourccXrgb8888);
}

} // namespace
} // namespace spice_overlay
