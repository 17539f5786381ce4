// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samples.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

namespace spice_overlay::wire::test {
namespace {

// The bytes of each "```hex NAME" block of docs/protocol.md; a ';' begins a remark.
std::map<std::string, Bytes> blocks_of_document()
{
    std::map<std::string, Bytes> blocks;
    std::ifstream file(PROTOCOL_DOCUMENT);
    EXPECT_TRUE(file) << "cannot open " PROTOCOL_DOCUMENT;
    Bytes *block = nullptr;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("```hex "))
            block = &blocks[line.substr(7)];
        else if (line.starts_with("```"))
            block = nullptr;
        else if (block) {
            std::istringstream words(line.substr(0, line.find(';')));
            for (std::string word; words >> word;)
                block->push_back(static_cast<std::uint8_t>(std::stoul(word, nullptr, 16)));
        }
    }
    return blocks;
}

std::string hex(const Bytes &bytes)
{
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        char word[4];
        std::snprintf(word, sizeof word, "%02x%c", bytes[i], i % 16 == 15 ? '\n' : ' ');
        text += word;
    }
    return text;
}

TEST(Document, worked_example_is_what_the_encoder_writes)
{
    constexpr std::uint64_t client = 0x0102030405060708, guest = 0x1112131415161718;
    Hello ask{.role = Role::kClient, .nonce = client, .max_streams = 4, .name = "client 1"};
    ask.codecs = {{Codec::kH264, 0, 100, 51, 3840, 2160}};
    Hello client_answer = ask;
    client_answer.peer_nonce = guest;
    Hello guest_answer{.role = Role::kGuest, .nonce = guest, .peer_nonce = client, .name = "guest 1"};
    Geometry geometry{.stream = 1, .serial = 1, .target = {100, 50, 640, 360}};
    geometry.placeholder = 0x20c040;
    geometry.visible = {{100, 50, 640, 300}, {100, 350, 600, 60}};
    StreamOpen open{
        .stream = 1, .codec = Codec::kH264, .profile = 100, .level = 31, .coded_width = 1280, .coded_height = 720};
    open.colour = {1, 1, 1, 0};
    open.frame_rate_num = 30;
    open.bit_rate = 2'000'000;

    Bytes key = {0, 0, 0, 1, 0x65, 0x88}, delta = {0, 0, 0, 1, 0x01, 0x9a}, first, second;
    std::vector<std::size_t> ends;
    UnitReference previous;
    encode_access_unit({.stream = 1, .flags = kKey, .pts = 5'000'000'000, .data = key}, first, ends, &previous);
    encode_access_unit({.stream = 1, .serial = 1, .flags = kDroppable, .pts = 5'033'333'333, .data = delta}, second,
                       ends, &previous);

    std::map<std::string, Bytes> expected = {
        {"client-question", encoded(ask)},
        {"guest-answer", encoded(guest_answer)},
        {"client-answer", encoded(client_answer)},
        {"geometry", encoded(geometry)},
        {"open", encoded(open)},
        {"accept", encoded(StreamAccept{1})},
        {"credit", encoded(Credit{1, 256 * 1024, 16})},
        {"unit", first},
        {"short-unit", second},
        {"need-key", encoded(NeedKey{1})},
        {"play-state", encoded(PlayState{1, 1, PlayMode::kPaused, 65536})},
        {"close", encoded(StreamClose{1, Reason::kEndOfStream})},
    };
    auto written = blocks_of_document();
    for (const auto &[name, bytes] : expected)
        EXPECT_EQ(hex(written[name]), hex(bytes)) << "block " << name;
    EXPECT_EQ(written.size(), expected.size());
}

} // namespace
} // namespace spice_overlay::wire::test
