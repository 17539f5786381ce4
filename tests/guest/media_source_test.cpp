// SPDX-License-Identifier: LGPL-2.1-or-later
// Every codec in every container, against the decoder of the `ffmpeg` program.
#include "guest/play/media_source.h"
#include "media_files.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <map>
#include <ostream>

using namespace spice_overlay;
using namespace spice_overlay::guest;
using spice_overlay::test::TemporaryDirectory;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

struct Case {
    const char *name;
    const char *encoder;
    std::vector<std::string> words; ///< further words for ffmpeg
    const char *file;               ///< its ending chooses the container
    wire::Codec codec;
    const char *raw; ///< ffmpeg's name for the bare stream; "ivf" needs framing
    bool has_droppable;
};

std::ostream &operator<<(std::ostream &out, const Case &c)
{
    return out << c.name;
}

const std::vector<std::string> kX264 = {"-c:v", "libx264", "-preset", "veryfast",    "-g",
                                        "12",   "-bf",     "3",       "-b_strategy", "0"};
const std::vector<std::string> kX264Open = {"-c:v", "libx264", "-x264-params",
                                            "open-gop=1:keyint=12:bframes=3:b-adapt=0:scenecut=0"};
const std::vector<std::string> kX265 = {"-c:v",         "libx265",
                                        "-preset",      "ultrafast",
                                        "-x265-params", "keyint=12:bframes=3:b-adapt=0:open-gop=0:log-level=none"};
const std::vector<std::string> kX265Open = {"-c:v",         "libx265",
                                            "-preset",      "ultrafast",
                                            "-x265-params", "keyint=12:bframes=3:b-adapt=0:open-gop=1:log-level=none"};
const std::vector<std::string> kX265Layers = {
    "-c:v",      "libx265",      "-preset",
    "ultrafast", "-x265-params", "keyint=12:bframes=3:b-adapt=0:temporal-layers=1:log-level=none"};
const std::vector<std::string> kVp8 = {"-c:v", "libvpx", "-g", "12", "-deadline", "realtime", "-cpu-used", "8"};
const std::vector<std::string> kVp8AltRef = {"-c:v",           "libvpx", "-g",        "12",   "-auto-alt-ref", "1",
                                             "-lag-in-frames", "10",     "-deadline", "good", "-cpu-used",     "5"};
const std::vector<std::string> kVp9 = {"-c:v", "libvpx-vp9", "-g", "12", "-deadline", "realtime", "-cpu-used", "8"};
const std::vector<std::string> kVp9AltRef = {"-c:v",           "libvpx-vp9", "-g",        "24",   "-auto-alt-ref", "1",
                                             "-lag-in-frames", "16",         "-deadline", "good", "-cpu-used",     "5"};
const std::vector<std::string> kSvtAv1 = {"-c:v", "libsvtav1", "-preset", "12", "-g", "24"};
const std::vector<std::string> kAom = {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "12"};
const std::vector<std::string> kMpeg2 = {"-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "5"};
const std::vector<std::string> kMjpeg = {"-c:v", "mjpeg", "-q:v", "5"};

const Case kCases[] = {
    {"h264_mp4", "libx264", kX264, "a.mp4", wire::Codec::kH264, "h264", true},
    {"h264_mkv", "libx264", kX264, "a.mkv", wire::Codec::kH264, "h264", true},
    {"h264_ts", "libx264", kX264, "a.ts", wire::Codec::kH264, "h264", true},
    {"h264_open_gop_mkv", "libx264", kX264Open, "a.mkv", wire::Codec::kH264, "h264", true},
    {"hevc_mp4", "libx265", kX265, "a.mp4", wire::Codec::kHevc, "hevc", true},
    {"hevc_mkv", "libx265", kX265, "a.mkv", wire::Codec::kHevc, "hevc", true},
    {"hevc_ts", "libx265", kX265, "a.ts", wire::Codec::kHevc, "hevc", true},
    {"hevc_open_gop_mp4", "libx265", kX265Open, "a.mp4", wire::Codec::kHevc, "hevc", true},
    {"hevc_temporal_layers_mp4", "libx265", kX265Layers, "a.mp4", wire::Codec::kHevc, "hevc", true},
    {"vp8_webm", "libvpx", kVp8, "a.webm", wire::Codec::kVp8, "ivf", false},
    {"vp8_alt_ref_webm", "libvpx", kVp8AltRef, "a.webm", wire::Codec::kVp8, "ivf", false},
    {"vp9_webm", "libvpx-vp9", kVp9, "a.webm", wire::Codec::kVp9, "ivf", false},
    {"vp9_mp4", "libvpx-vp9", kVp9, "a.mp4", wire::Codec::kVp9, "ivf", false},
    {"vp9_alt_ref_webm", "libvpx-vp9", kVp9AltRef, "a.webm", wire::Codec::kVp9, "ivf", false},
    {"av1_mp4", "libsvtav1", kSvtAv1, "a.mp4", wire::Codec::kAv1, "ivf", false},
    {"av1_webm", "libsvtav1", kSvtAv1, "a.webm", wire::Codec::kAv1, "ivf", false},
    {"av1_aom_mkv", "libaom-av1", kAom, "a.mkv", wire::Codec::kAv1, "ivf", false},
    {"mpeg2_ts", "mpeg2video", kMpeg2, "a.ts", wire::Codec::kMpeg2, "mpegvideo", true},
    {"mpeg2_mkv", "mpeg2video", kMpeg2, "a.mkv", wire::Codec::kMpeg2, "mpegvideo", true},
    {"mpeg2_mp4", "mpeg2video", kMpeg2, "a.mp4", wire::Codec::kMpeg2, "mpegvideo", true},
    {"mjpeg_mkv", "mjpeg", kMjpeg, "a.mkv", wire::Codec::kMjpeg, "mjpeg", true},
    {"mjpeg_mp4", "mjpeg", kMjpeg, "a.mp4", wire::Codec::kMjpeg, "mjpeg", true},
};

/// A zero before a start code belongs to whichever unit the parser gives it to.
std::vector<std::uint8_t> without_leading_zeros(std::vector<std::uint8_t> data)
{
    data.erase(data.begin(), std::ranges::find_if(data, [](std::uint8_t byte) { return byte != 0; }));
    return data;
}

class EveryCodecAndContainer : public testing::TestWithParam<Case> {
protected:
    void SetUp() override
    {
        if (!test::has_ffmpeg())
            GTEST_SKIP() << "the program ffmpeg is not installed";
        if (!test::has_encoder(GetParam().encoder))
            GTEST_SKIP() << "ffmpeg has no encoder " << GetParam().encoder;
        path_ = clips() / (std::string(GetParam().name) + "-" + GetParam().file);
        if (access(path_.c_str(), R_OK) != 0) {
            ASSERT_TRUE(test::make_clip(path_, GetParam().words));
        }
        auto source = MediaSource::open(path_);
        ASSERT_TRUE(source) << source.error().message;
        source_ = std::move(source).value();
        while (auto unit = source_->next())
            units_.push_back(std::move(*unit));
    }

    /// Made once for all tests of this process.
    static const TemporaryDirectory &clips()
    {
        static TemporaryDirectory directory;
        return directory;
    }

    /// What the ffmpeg program decodes from these units, written one behind the other.
    std::vector<std::string> decode(const std::vector<Unit> &units)
    {
        std::string raw = directory_ / "raw";
        if (std::string(GetParam().raw) == "ivf") {
            std::vector<std::vector<std::uint8_t>> frames;
            for (const Unit &unit : units)
                frames.push_back(unit.data);
            if (GetParam().codec == wire::Codec::kVp8)
                test::write_ivf(raw, "VP80", frames);
            else if (GetParam().codec == wire::Codec::kVp9)
                test::write_ivf(raw, "VP90", frames);
            else
                test::write_ivf(raw, "AV01", frames);
        } else {
            std::vector<std::uint8_t> all;
            for (const Unit &unit : units)
                all.insert(all.end(), unit.data.begin(), unit.data.end());
            test::write_bytes(raw, all);
        }
        return test::picture_checksums(raw, GetParam().raw);
    }

    TemporaryDirectory directory_;
    std::string path_;
    std::unique_ptr<MediaSource> source_;
    std::vector<Unit> units_;
};

TEST_P(EveryCodecAndContainer, units_decode_to_the_same_pictures_as_the_file)
{
    auto expected = test::picture_checksums(path_);
    ASSERT_EQ(expected.size(), 50u);
    EXPECT_EQ(decode(units_), expected);
    EXPECT_EQ(source_->complaint(), "");
}

TEST_P(EveryCodecAndContainer, description_names_codec_size_and_rate)
{
    const wire::StreamOpen &description = source_->description();
    EXPECT_EQ(description.codec, GetParam().codec);
    EXPECT_EQ(description.coded_width, 320u);
    EXPECT_EQ(description.coded_height, 240u);
    EXPECT_EQ(description.aspect_num, description.aspect_den);
    EXPECT_EQ(description.frame_rate_num, 25 * description.frame_rate_den);
    EXPECT_EQ(description.rotation, 0);
    EXPECT_EQ(description.colour.full_range, GetParam().codec == wire::Codec::kMjpeg ? 1 : 0);
    EXPECT_NEAR(static_cast<double>(source_->duration()), 2e9, 0.2e9);
}

TEST_P(EveryCodecAndContainer, times_fit_sending_before_showing)
{
    ASSERT_GE(units_.size(), 50u);
    std::vector<std::int64_t> shown;
    for (std::size_t i = 0; i < units_.size(); i++) {
        EXPECT_LE(units_[i].dts, units_[i].pts) << i;
        if (i > 0) {
            EXPECT_GE(units_[i].dts, units_[i - 1].dts) << i;
        }
        shown.push_back(units_[i].pts);
    }
    std::ranges::sort(shown);
    EXPECT_EQ(std::ranges::adjacent_find(shown), shown.end()) << "two pictures at the same time";
    EXPECT_NEAR(static_cast<double>(shown.front()), 0, 0.1e9);
    EXPECT_NEAR(static_cast<double>(shown.back()), 1.96e9, 0.1e9);
}

TEST_P(EveryCodecAndContainer, every_key_unit_begins_a_stream_that_decodes)
{
    auto all = test::picture_checksums(path_);
    int keys = 0;
    for (std::size_t i = 0; i < units_.size(); i++) {
        // FFmpeg's decoder keeps back the last picture of so short an end that it has not learned the reordering.
        bool at_the_end = i + 10 > units_.size();
        if (!units_[i].key || at_the_end || (GetParam().codec == wire::Codec::kMjpeg && i % 20))
            continue;
        keys++;
        std::vector<Unit> rest;
        for (std::size_t j = i; j < units_.size(); j++)
            if (units_[j].pts >= units_[i].pts) // pictures before it refer to what is not there
                rest.push_back(units_[j]);
        auto decoded = decode(rest);
        ASSERT_FALSE(decoded.empty()) << "key unit " << i;
        ASSERT_LE(decoded.size(), all.size());
        EXPECT_TRUE(std::equal(decoded.rbegin(), decoded.rend(), all.rbegin())) << "key unit " << i;
    }
    EXPECT_GE(keys, 2);
}

TEST_P(EveryCodecAndContainer, leaving_out_droppable_units_changes_no_other_picture)
{
    if (!GetParam().has_droppable) {
        for (const Unit &unit : units_)
            EXPECT_FALSE(unit.droppable);
        return;
    }
    auto all = test::picture_checksums(path_);
    ASSERT_EQ(units_.size(), all.size());
    std::map<std::int64_t, std::size_t> by_time; // display order
    for (std::size_t i = 0; i < units_.size(); i++)
        by_time[units_[i].pts] = i;

    auto leave_out = [&](std::size_t i) {
        return units_[i].droppable && (GetParam().codec != wire::Codec::kMjpeg || i % 2);
    };
    std::vector<Unit> kept;
    std::vector<std::string> expected;
    for (std::size_t i = 0; i < units_.size(); i++)
        if (!leave_out(i))
            kept.push_back(units_[i]);
    std::size_t picture = 0;
    for (auto [time, i] : by_time)
        if (std::string sum = all[picture++]; !leave_out(i))
            expected.push_back(sum);
    EXPECT_LE(kept.size(), units_.size() * 3 / 4) << "too little is droppable";
    EXPECT_EQ(decode(kept), expected);
}

TEST_P(EveryCodecAndContainer, seeking_finds_the_last_key_unit_at_or_before_a_position)
{
    // The last one first: containers that find it by reading are then past it.
    for (std::int64_t position :
         {1'900'000'000LL, 1'000'000'000LL, 500'000'000LL, 1'300'000'000LL, 40'000'000LL, 0LL}) {
        const Unit *expected = nullptr;
        for (const Unit &unit : units_)
            if (unit.key && (!expected || unit.pts <= position))
                expected = &unit;
        ASSERT_TRUE(source_->seek(position)) << position;
        auto unit = source_->next();
        ASSERT_TRUE(unit) << position;
        EXPECT_TRUE(unit->key) << position;
        // Without an index an earlier one may be found, never a later one.
        EXPECT_LE(unit->pts, std::max(position, expected->pts)) << position;
        EXPECT_GE(unit->pts + kSecond, expected->pts) << position;
        auto same = std::ranges::find_if(units_, [&](const Unit &u) { return u.pts == unit->pts; });
        ASSERT_NE(same, units_.end()) << "a time that the first pass did not have: " << unit->pts;
        EXPECT_EQ(without_leading_zeros(same->data), without_leading_zeros(unit->data));
    }
}

TEST_P(EveryCodecAndContainer, a_second_pass_gives_the_same_units)
{
    ASSERT_TRUE(source_->seek(0));
    std::size_t i = 0;
    while (auto unit = source_->next()) {
        ASSERT_LT(i, units_.size());
        EXPECT_EQ(unit->pts, units_[i].pts) << i;
        EXPECT_EQ(unit->data, units_[i].data) << i;
        i++;
    }
    EXPECT_EQ(i, units_.size());
}

INSTANTIATE_TEST_SUITE_P(Media, EveryCodecAndContainer, testing::ValuesIn(kCases),
                         [](const auto &parameter) { return std::string(parameter.param.name); });

class Media : public testing::Test {
protected:
    void SetUp() override
    {
        if (!test::has_ffmpeg() || !test::has_encoder("libx264"))
            GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
    }
    TemporaryDirectory directory_;
};

TEST_F(Media, rotation_comes_from_the_display_matrix)
{
    std::string flat = directory_ / "flat.mp4";
    ASSERT_TRUE(test::make_clip(flat, kX264, 1));
    for (int degrees : {90, 180, 270}) {
        // The tag counts anticlockwise in old versions and through -display_rotation in new ones; the file is what
        // counts: write the matrix ourselves, a 16.16 rotation in the track header.
        auto bytes = test::read_bytes(flat);
        static constexpr std::uint8_t kIdentity[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   0,
                                                     1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40};
        auto track = std::search(bytes.begin(), bytes.end(), std::begin("tkhd"), std::end("tkhd") - 1);
        ASSERT_NE(track, bytes.end());
        auto matrix = std::search(track, bytes.end(), std::begin(kIdentity), std::end(kIdentity));
        ASSERT_NE(matrix, bytes.end());
        auto put = [&](int index, std::int32_t value) {
            for (int i = 0; i < 4; i++)
                matrix[index * 4 + i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(value) >> (24 - 8 * i));
        };
        int cosine = degrees == 180 ? -0x10000 : 0;
        int sine = degrees == 90 ? 0x10000 : degrees == 270 ? -0x10000 : 0;
        put(0, cosine), put(1, sine), put(3, -sine), put(4, cosine); // x' = x cos - y sin: clockwise on a screen
        std::string turned = directory_ / "turned.mp4";
        test::write_bytes(turned, bytes);
        auto source = MediaSource::open(turned);
        ASSERT_TRUE(source) << source.error().message;
        EXPECT_EQ(source.value()->description().rotation, degrees);
    }
}

TEST_F(Media, colour_and_aspect_are_carried)
{
    std::string path = directory_ / "colour.mp4";
    std::vector<std::string> words = kX264;
    for (const char *word : {"-vf", "setsar=4/3", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace",
                             "smpte170m", "-color_range", "pc"})
        words.push_back(word);
    ASSERT_TRUE(test::make_clip(path, words, 1));
    auto source = MediaSource::open(path);
    ASSERT_TRUE(source) << source.error().message;
    wire::ColourDescription expected{1, 1, 6, 1};
    EXPECT_EQ(source.value()->description().colour, expected);
    EXPECT_EQ(source.value()->description().aspect_num, 4u);
    EXPECT_EQ(source.value()->description().aspect_den, 3u);
}

TEST_F(Media, a_file_cut_off_gives_what_is_there_and_says_so)
{
    for (const char *file : {"cut.mp4", "cut.mkv"}) {
        std::string path = directory_ / file;
        std::vector<std::string> words = kX264;
        words.insert(words.end(), {"-movflags", "+faststart"});
        ASSERT_TRUE(test::make_clip(path, words, 8));
        auto bytes = test::read_bytes(path);
        bytes.resize(bytes.size() / 2);
        test::write_bytes(path, bytes);
        auto source = MediaSource::open(path);
        ASSERT_TRUE(source) << source.error().message;
        std::size_t units = 0;
        while (source.value()->next())
            units++;
        EXPECT_GT(units, 40u) << file;
        EXPECT_LT(units, 160u) << file;
        EXPECT_NE(source.value()->complaint().find("cut off"), std::string::npos)
            << file << source.value()->complaint();
    }
}

TEST_F(Media, garbage_in_the_middle_of_a_transport_stream_does_not_end_it)
{
    std::string path = directory_ / "bad.ts";
    ASSERT_TRUE(test::make_clip(path, kX264, 4));
    auto bytes = test::read_bytes(path);
    std::uint32_t state = 1;
    for (std::size_t i = bytes.size() / 3; i < bytes.size() / 3 + 4000; i++)
        bytes[i] = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    test::write_bytes(path, bytes);
    auto source = MediaSource::open(path);
    ASSERT_TRUE(source) << source.error().message;
    std::int64_t last = INT64_MIN;
    std::size_t units = 0;
    while (auto unit = source.value()->next()) {
        EXPECT_GE(unit->dts, last);
        last = unit->dts;
        units++;
    }
    EXPECT_GT(units, 70u);
    EXPECT_NEAR(static_cast<double>(last), 4e9, 0.4e9);
}

} // namespace
