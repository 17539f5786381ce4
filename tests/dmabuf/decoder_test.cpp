// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clips.h"
#include "driver.h"

#include "dmabuf/decoder/capabilities.h"
#include "dmabuf/formats.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace spice_overlay {
namespace {

const std::string kProgram = SPICE_OVERLAY_DECODER;

#define NEED_ENCODER(encoder)                                                                                                                  \
    if (!can_encode(encoder))                                                                                                                  \
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

class Direct : public testing::TestWithParam<Case> {};

TEST_P(Direct, pictures_equal_the_ffmpeg_programs_byte_for_byte_in_order)
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
        ASSERT_TRUE(std::equal(picture.pixels.begin(), picture.pixels.end(), expected.begin() + static_cast<std::ptrdiff_t>(i * size)))
            << "picture " << i;
    }
    EXPECT_LE(driver.slots.size(), 24u);
}

INSTANTIATE_TEST_SUITE_P(codecs, Direct,
                         testing::Values(Case{"h264", wire::Codec::kH264, "libx264", "-bf 0 -g 12", 640, 360},
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
                                         Case{"av1", wire::Codec::kAv1, "libsvtav1", "-preset 12", 640, 360},
                                         Case{"mpeg2", wire::Codec::kMpeg2, "mpeg2video", "-b:v 4M -bf 2", 640, 360},
                                         Case{"mpeg2_odd", wire::Codec::kMpeg2, "mpeg2video", "-b:v 2M", 322, 178}),
                         [](const auto &test) { return test.param.name; });

} // namespace
} // namespace spice_overlay
