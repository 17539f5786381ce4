// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest/play/geometry_feed.h"

#include <gtest/gtest.h>

#include <random>

using namespace spice_overlay;
using namespace spice_overlay::guest;

namespace {

template <typename E>
E parsed(std::string_view line)
{
    auto event = parse_feed_line(line, 3);
    EXPECT_TRUE(event) << line << ": " << event.error().message;
    const E *found = event ? std::get_if<E>(&event.value()) : nullptr;
    EXPECT_TRUE(found) << line;
    return found ? *found : E{};
}

TEST(GeometryFeed, reads_a_geometry_with_placeholder_and_rectangles)
{
    auto event = parsed<FeedGeometry>("geometry 2 1 -100 50 640 360 1a2B3c 2 -100 50 640 100 0 150 10 20");
    EXPECT_EQ(event.index, 2u);
    EXPECT_EQ(event.geometry.display, 1u);
    EXPECT_EQ(event.geometry.target, (wire::Rect{-100, 50, 640, 360}));
    EXPECT_EQ(event.geometry.placeholder, 0x1a2b3cu);
    EXPECT_EQ(event.geometry.visible, (std::vector<wire::Rect>{{-100, 50, 640, 100}, {0, 150, 10, 20}}));
}

TEST(GeometryFeed, reads_a_hidden_video_without_placeholder)
{
    auto event = parsed<FeedGeometry>("geometry 1 0 0 0 320 240 - 0");
    EXPECT_FALSE(event.geometry.placeholder);
    EXPECT_TRUE(event.geometry.visible.empty());
}

TEST(GeometryFeed, reads_the_other_verbs)
{
    EXPECT_EQ(parsed<FeedOpen>("open 1").index, 1u);
    EXPECT_EQ(parsed<FeedClose>("close 3").index, 3u);
    EXPECT_EQ(parsed<FeedPause>("pause 2\r").index, 2u);
    EXPECT_EQ(parsed<FeedResume>("  resume   2  ").index, 2u);
    EXPECT_EQ(parsed<FeedSeek>("seek 1 2.5").position, 2'500'000'000);
    EXPECT_EQ(parsed<FeedSeek>("seek 1 0").position, 0);
}

struct Bad {
    const char *name;
    std::string line;
};

class HostileLine : public testing::TestWithParam<Bad> {};

TEST_P(HostileLine, is_refused_with_a_reason)
{
    auto event = parse_feed_line(GetParam().line, 3);
    ASSERT_FALSE(event) << GetParam().line;
    EXPECT_FALSE(event.error().message.empty());
}

std::string many_rectangles(int count)
{
    std::string line = "geometry 1 0 0 0 10 10 - " + std::to_string(count);
    for (int i = 0; i < count; i++)
        line += " 0 0 1 1";
    return line;
}

INSTANTIATE_TEST_SUITE_P(
    GeometryFeed, HostileLine,
    testing::Values(Bad{"empty", ""}, Bad{"blank", "   "}, Bad{"unknown_verb", "move 1 2 3"},
                    Bad{"verb_only", "geometry"}, Bad{"index_zero", "open 0"}, Bad{"index_beyond_the_files", "open 4"},
                    Bad{"index_negative", "open -1"}, Bad{"index_overflow", "open 99999999999999999999"},
                    Bad{"index_text", "open one"}, Bad{"trailing_words", "open 1 now"},
                    Bad{"trailing_letters", "open 1x"}, Bad{"too_few_numbers", "geometry 1 0 0 0 10"},
                    Bad{"coordinate_too_large", "geometry 1 0 32768 0 10 10 - 0"},
                    Bad{"coordinate_too_small", "geometry 1 0 0 -32768 10 10 - 0"},
                    Bad{"negative_width", "geometry 1 0 0 0 -10 10 - 0"},
                    Bad{"fraction", "geometry 1 0 0.5 0 10 10 - 0"},
                    Bad{"placeholder_too_short", "geometry 1 0 0 0 10 10 fff 0"},
                    Bad{"placeholder_not_hex", "geometry 1 0 0 0 10 10 gggggg 0"},
                    Bad{"placeholder_signed", "geometry 1 0 0 0 10 10 -12345 0"},
                    Bad{"rectangle_missing", "geometry 1 0 0 0 10 10 - 2 0 0 1 1"},
                    Bad{"rectangle_too_many", "geometry 1 0 0 0 10 10 - 1 0 0 1 1 5"},
                    Bad{"region_too_large", many_rectangles(257)}, Bad{"count_negative", "geometry 1 0 0 0 10 10 - -1"},
                    Bad{"seek_without_position", "seek 1"}, Bad{"seek_before_the_beginning", "seek 1 -1"},
                    Bad{"seek_to_nan", "seek 1 nan"}, Bad{"seek_to_infinity", "seek 1 inf"},
                    Bad{"seek_overflow", "seek 1 1e300"}, Bad{"null_byte", std::string("open 1\0", 7)}),
    [](const auto &parameter) { return std::string(parameter.param.name); });

TEST(GeometryFeed, accepts_the_largest_region)
{
    EXPECT_EQ(parsed<FeedGeometry>(many_rectangles(256)).geometry.visible.size(), 256u);
}

TEST(GeometryFeed, survives_random_bytes)
{
    std::mt19937 random(1);
    static constexpr char kAlphabet[] = "geometry opnclsaumk0123456789.-+eE \r\t\0\xff";
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        std::string line = i % 2 ? "geometry 1 0 " : "seek 1 ";
        for (unsigned n = random() % 60; n > 0; n--)
            line += kAlphabet[random() % (sizeof kAlphabet - 1)];
        auto event = parse_feed_line(line, 3);
        if (event && std::holds_alternative<FeedGeometry>(event.value())) {
            EXPECT_LE(std::get<FeedGeometry>(event.value()).geometry.visible.size(), wire::kMaxRegionRects);
        }
        refused += !event;
    }
    EXPECT_GT(refused, 10000);
}

TEST(LineReader, joins_lines_that_come_in_pieces_and_leaves_out_overlong_ones)
{
    LineReader reader;
    std::vector<std::string> lines;
    auto feed = [&](const std::string &text) {
        reader.feed(text, [&](std::string_view line) { lines.emplace_back(line); });
    };
    feed("open");
    feed(" 1\nclo");
    feed("se 1\n");
    feed(std::string(LineReader::kLongestLine + 1, 'x'));
    feed("yyy\nopen 2\n");
    EXPECT_EQ(lines, (std::vector<std::string>{"open 1", "close 1", "open 2"}));
    EXPECT_EQ(reader.left_out(), 1u);
}

TEST(Rect, is_four_whole_numbers_with_an_area)
{
    auto rect = parse_rect("-5,10,320,240");
    ASSERT_TRUE(rect);
    EXPECT_EQ(rect.value(), (wire::Rect{-5, 10, 320, 240}));
    for (const char *bad :
         {"", "1,2,3", "1,2,3,4,5", "1,2,0,4", "1,2,3,-4", "a,b,c,d", "1,2,3,4x", "1 2 3 4", "1,,3,4"})
        EXPECT_FALSE(parse_rect(bad)) << bad;
}

} // namespace
