// SPDX-License-Identifier: LGPL-2.1-or-later
#include "portclient/tool/plain_text.h"

#include <gtest/gtest.h>

#include <string>

namespace spice_overlay::tool {
namespace {

struct Case {
    const char *name;
    std::string bytes, text, ascii;
};

const Case kCases[] = {
    {"ascii", "a~ \t\n", "a~ \t\n", "a~ \t\n"},
    {"c0_controls", std::string("\0\x07\r\x1b[2J\x7f", 8), "????[2J?", "????[2J?"},
    {"two_bytes", "\xc2\xa0\xc4\x9b\xdf\xbf", "\xc2\xa0\xc4\x9b\xdf\xbf", "???"},
    {"three_bytes", "\xe0\xa0\x80\xe2\x82\xac\xed\x9f\xbf\xef\xbf\xbd",
     "\xe0\xa0\x80\xe2\x82\xac\xed\x9f\xbf\xef\xbf\xbd", "????"},
    {"four_bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "??"},
    {"c1_control",
     "\xc2\x9b"
     "2J\xc2\x80\xc2\x9f",
     "??2J????", "??2J????"},
    {"c1_control_in_one_byte",
     "\x9b"
     "2J",
     "?2J", "?2J"},
    {"c1_control_in_three_bytes", "\xe0\x82\x9b", "???", "???"},
    {"c1_control_in_four_bytes", "\xf0\x80\x82\x9b", "????", "????"},
    {"half_of_a_pair", "\xed\xa0\x80", "???", "???"},
    {"beyond_the_last_character", "\xf4\x90\x80\x80\xf5\x80\x80\x80", "????????", "????????"},
    {"ascii_in_two_bytes", "\xc1\x9b\xc0\x80", "????", "????"},
    {"never_in_utf8", "\xfe\xff", "??", "??"},
    {"cut_off_by_ascii", "\xe2\x82|\xf0\x9f\x99|", "??|???|", "??|???|"},
    {"cut_off_by_a_control", "\xe2\x1b\xe2\x82\x9b", "??\xe2\x82\x9b", "???"},
    {"cut_off_by_a_character", "\xf0\x9f\xc3\xa9", "??\xc3\xa9", "???"},
};

TEST(PlainText, is_utf8_without_controls_however_it_comes)
{
    for (const Case &c : kCases) {
        for (bool ascii : {false, true}) {
            const std::string &expected = ascii ? c.ascii : c.text;
            std::span bytes(reinterpret_cast<const std::uint8_t *>(c.bytes.data()), c.bytes.size());
            EXPECT_EQ(PlainText(ascii).take(bytes), expected) << c.name;
            PlainText parts(ascii);
            std::string text;
            for (std::size_t i = 0; i < bytes.size(); i++)
                text += parts.take(bytes.subspan(i, 1));
            EXPECT_EQ(text, expected) << c.name << ", byte by byte";
        }
    }
}

TEST(PlainText, keeps_a_character_until_it_is_whole)
{
    PlainText text(false);
    const std::uint8_t euro[] = {0xe2, 0x82, 0xac};
    EXPECT_EQ(text.take(std::span(euro).first(2)), "");
    EXPECT_EQ(text.take(std::span(euro).last(1)), "\xe2\x82\xac");
}

} // namespace
} // namespace spice_overlay::tool
