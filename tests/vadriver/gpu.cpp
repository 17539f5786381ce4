// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gpu.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdlib>
#include <map>

namespace spice_overlay {

namespace {

constexpr char kFast[] = "-pix_fmt yuv420p -b:v 1M -deadline realtime -cpu-used 8 -g 20";

} // namespace

void PrintTo(const Kind &kind, std::ostream *out)
{
    *out << kind.name;
}

void PrintTo(const Mishap &mishap, std::ostream *out)
{
    *out << mishap.name;
}

Variable::Variable(const char *name, const char *value) : name_(name)
{
    if (const char *before = std::getenv(name))
        before_ = before;
    ::setenv(name, value, 1);
}

Variable::~Variable()
{
    before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_);
}

const Clip &clip_of(const Kind &kind)
{
    static std::map<std::string, Clip> made;
    Clip &clip = made[kind.name];
    if (clip.units.empty())
        clip = make_clip("testsrc=s=" + std::to_string(kind.width) + "x" + std::to_string(kind.height) + ":r=30",
                         std::string(kFast) + " -c:v " + kind.encoder + " " + kind.options, kFrames);
    return clip;
}

const std::vector<std::uint8_t> &expected_of(const Kind &kind)
{
    static std::map<std::string, std::vector<std::uint8_t>> decoded;
    auto &pictures = decoded[kind.name];
    if (pictures.empty())
        pictures = reference(clip_of(kind), kind.deep ? "yuv420p10le" : "yuv420p");
    return pictures;
}

std::size_t picture_size(const Kind &kind)
{
    return (kind.width * kind.height + 2 * ((kind.width + 1) / 2 * ((kind.height + 1) / 2))) * (kind.deep ? 2 : 1);
}

Gpu::Gpu(const Kind &kind)
    : node(::open("/dev/null", O_RDWR | O_CLOEXEC)),
      config(Driver::config(SPICE_OVERLAY_DECODER, kind.codec, kind.width, kind.height))
{
    config.hardware = ipc::HardwareUse::kAutomatic;
    config.render_node = node.get();
    config.allocator = Allocator::kStandIn;
    config.surfaces.add(kFourccNv12, kModifierLinear);
    config.surfaces.add(kFourccP010, kModifierLinear);
}

std::size_t check_pictures(const Driver &driver, const Kind &kind, const Clip &clip)
{
    const auto &expected = expected_of(kind);
    const std::size_t size = picture_size(kind);
    EXPECT_EQ(expected.size(), kFrames * size);
    EXPECT_EQ(driver.pictures.size(), static_cast<std::size_t>(kFrames));
    std::size_t surfaces = 0;
    for (std::size_t i = 0; i < std::min(driver.pictures.size(), clip.units.size()); ++i) {
        const auto &picture = driver.pictures[i];
        surfaces += picture.fourcc == kFourccNv12 || picture.fourcc == kFourccP010 ? 1 : 0;
        EXPECT_EQ(picture.frame.pts, clip.units[i].pts) << "picture " << i;
        EXPECT_EQ(picture.frame.crop.width, kind.width);
        EXPECT_EQ(picture.frame.crop.height, kind.height);
        if (picture.fourcc == kFourccXrgb8888)
            continue; // 10 bits in software: judged elsewhere
        EXPECT_EQ(picture.pixels.size(), size);
        EXPECT_TRUE(picture.pixels.size() == size
                    && std::equal(picture.pixels.begin(), picture.pixels.end(),
                                  expected.begin() + static_cast<std::ptrdiff_t>(i * size)))
            << "picture " << i;
    }
    return surfaces;
}

std::size_t check_shown_pictures(const Driver &driver, const Kind &kind)
{
    Clip clip = clip_of(kind);
    std::sort(clip.units.begin(), clip.units.end(), [](const auto &a, const auto &b) { return a.pts < b.pts; });
    return check_pictures(driver, kind, clip);
}

void waits_for_pictures_to_come_back(const DecoderProcess::Config &config, const Kind &kind)
{
    const Clip &clip = clip_of(kind);
    Driver driver(config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.window = kFrames;
    for (const auto &unit : clip.units)
        ASSERT_TRUE(driver.feed(unit)) << driver.why;
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == 8; })) << driver.pictures.size();
    EXPECT_FALSE(driver.wait([&] { return driver.pictures.size() > 8; }, std::chrono::milliseconds(200)));
    driver.hold = false;
    driver.release_all();
    ASSERT_TRUE(driver.wait([&] { return driver.pictures.size() == kFrames; })) << driver.pictures.size();
    EXPECT_EQ(check_shown_pictures(driver, kind), static_cast<std::size_t>(kFrames));
}

void gives_a_stream_of_another_size_new_surfaces(const Kind &kind, const Kind &large)
{
    std::vector<Driver::Unit> units = clip_of(kind).units;
    const std::int64_t end = units.back().pts + 1;
    for (Driver::Unit unit : clip_of(large).units) {
        unit.pts += end;
        units.push_back(unit);
    }
    Driver driver(Gpu(kind).config);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(units)) << driver.why;
    ASSERT_EQ(driver.pictures.size(), 2u * kFrames);
    EXPECT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
    const auto &expected = expected_of(large);
    for (std::size_t i = 0; i < kFrames; ++i) {
        const auto &picture = driver.pictures[kFrames + i];
        EXPECT_EQ(picture.fourcc, kFourccNv12);
        EXPECT_TRUE(std::equal(picture.pixels.begin(), picture.pixels.end(),
                               expected.begin() + static_cast<std::ptrdiff_t>(i * picture_size(large))))
            << "picture " << i;
    }
}

void shows_every_picture(Driver &driver, const Kind &kind, const std::string &name)
{
    const Clip &clip = clip_of(kind);
    ASSERT_EQ(clip.units.size(), static_cast<std::size_t>(kFrames));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed_all(clip.units)) << driver.why << " after " << driver.pictures.size() << " pictures";
    EXPECT_EQ(check_shown_pictures(driver, kind), static_cast<std::size_t>(kFrames));
    ASSERT_EQ(driver.paths.size(), 1u) << driver.paths.back().why;
    EXPECT_TRUE(driver.paths[0].hardware) << driver.paths[0].why;
    EXPECT_EQ(driver.paths[0].name, name);
    EXPECT_EQ(driver.failures, 0u);
}

std::size_t steps_down(Driver &driver, const Kind &kind, const Mishap &mishap)
{
    EXPECT_TRUE(driver.decoder) << driver.start_error;
    if (!driver.decoder)
        return 0;
    EXPECT_TRUE(driver.feed_all(clip_of(kind).units))
        << driver.why << " after " << driver.pictures.size() << " pictures";
    EXPECT_EQ(driver.failures, 0u);
    EXPECT_EQ(driver.paths.size(), 2u);
    EXPECT_TRUE(driver.paths.front().hardware) << driver.paths.front().why;
    EXPECT_FALSE(driver.paths.back().hardware);
    EXPECT_NE(driver.paths.back().why.find(mishap.why), std::string::npos) << driver.paths.back().why;
    return check_shown_pictures(driver, kind);
}

} // namespace spice_overlay
