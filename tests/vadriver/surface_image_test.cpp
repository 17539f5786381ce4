// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/decoder/surface_image.h"

#include "dmabuf/memfd.h"

#include <gtest/gtest.h>

namespace spice_overlay {
namespace {

constexpr std::uint32_t kR8 = fourcc_code('R', '8', ' ', ' ');
constexpr std::uint32_t kGr88 = fourcc_code('G', 'R', '8', '8');
constexpr std::uint32_t kR16 = fourcc_code('R', '1', '6', ' ');
constexpr std::uint32_t kGr32 = fourcc_code('G', 'R', '3', '2');

/// A picture of 62x30 in lines of 64 samples, 32 of them: luma, then chroma.
AVDRMFrameDescriptor composed(std::uint32_t format = kFourccNv12, int sample = 1)
{
    AVDRMFrameDescriptor d{};
    d.nb_objects = 1;
    d.nb_layers = 1;
    d.layers[0].format = format;
    d.layers[0].nb_planes = 2;
    d.layers[0].planes[0] = {0, 0, 64 * sample};
    d.layers[0].planes[1] = {0, 64 * 32 * sample, 64 * sample};
    return d;
}

AVDRMFrameDescriptor separate(std::uint32_t luma, std::uint32_t chroma, int sample = 1)
{
    AVDRMFrameDescriptor d = composed(luma, sample);
    d.nb_layers = 2;
    d.layers[0].nb_planes = 1;
    d.layers[1].format = chroma;
    d.layers[1].nb_planes = 1;
    d.layers[1].planes[0] = {0, 64 * 32 * sample, 64 * sample};
    return d;
}

Result<Image> image(const AVDRMFrameDescriptor &d, std::uint32_t width = 62, std::uint32_t height = 30,
                    std::size_t objects = 1)
{
    std::vector<UniqueFd> fds;
    for (std::size_t i = 0; i < objects; ++i)
        fds.push_back(make_sealed_memfd("test", 8192).value());
    return image_of(d, std::move(fds), width, height, Image::Backing::kStandIn);
}

TEST(SurfaceImage, separate_layers_are_what_they_are_together)
{
    auto nv12 = image(separate(kR8, kGr88));
    ASSERT_TRUE(nv12) << nv12.error().message;
    EXPECT_EQ(nv12->fourcc(), kFourccNv12);
    EXPECT_EQ(nv12->plane(1).offset, 64u * 32);
    auto p010 = image(separate(kR16, kGr32, 2));
    ASSERT_TRUE(p010) << p010.error().message;
    EXPECT_EQ(p010->fourcc(), kFourccP010);

    AVDRMFrameDescriptor two = separate(kR8, kGr88);
    two.nb_objects = 2;
    two.layers[1].planes[0] = {1, 0, 64};
    auto apart = image(two, 62, 30, 2);
    ASSERT_TRUE(apart) << apart.error().message;
    EXPECT_NE(apart->plane(0).fd, apart->plane(1).fd);
}

TEST(SurfaceImage, odd_sides_become_even_where_there_is_memory)
{
    auto odd = image(composed(), 61, 29);
    ASSERT_TRUE(odd) << odd.error().message;
    EXPECT_EQ(odd->width(), 62u);
    EXPECT_EQ(odd->height(), 30u);
    AVDRMFrameDescriptor tight = composed();
    tight.layers[0].planes[1].offset = 64 * 29; // chroma where a thirtieth line would be
    auto kept = image(tight, 61, 29);
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_EQ(kept->height(), 29u);
}

TEST(SurfaceImage, nonsense_of_a_driver_is_refused)
{
    const auto refused = [](const char *why, auto change, std::size_t objects = 1) {
        AVDRMFrameDescriptor d = separate(kR8, kGr88);
        change(d);
        const auto made = image(d, 62, 30, objects);
        ASSERT_FALSE(made) << why;
        EXPECT_NE(made.error().message.find(why), std::string::npos) << made.error().message;
    };
    refused("nonsense", [](auto &d) { d.nb_objects = 0; });
    refused("nonsense", [](auto &d) { d.nb_layers = 5; });
    refused("nonsense", [](auto &d) { d.nb_objects = 2; }); // of which one came
    refused("nonsense", [](auto &d) { d.layers[1].planes[0].offset = -64; });
    refused("nonsense", [](auto &d) { d.layers[0].planes[0].object_index = -1; });
    refused("not there", [](auto &d) { d.layers[0].planes[0].object_index = 1; });
    refused("no known format", [](auto &d) { d.layers[1].format = kGr32; });
    refused("no known format", [](auto &d) { d.nb_layers = 3; });
    refused("not known here", [](auto &d) { d.nb_layers = 1; });
    refused("too many planes", [](auto &d) { d = composed(), d.layers[0].nb_planes = 5; });
    refused("outside its memory", [](auto &d) { d.layers[1].planes[0].offset = 8000; });
    refused("stride", [](auto &d) { d.layers[0].planes[0].pitch = 32; });
    refused(
        "different modifiers",
        [](auto &d) {
            d.nb_objects = 2;
            d.objects[1].format_modifier = 1;
            d.layers[1].planes[0].object_index = 1;
        },
        2);
}

} // namespace
} // namespace spice_overlay
