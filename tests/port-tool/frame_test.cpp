// SPDX-License-Identifier: LGPL-2.1-or-later
#include "portclient/tool/frame.h"

#include "portclient/device/port.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace spice_overlay::tool {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Log : Scanner::Sink {
    void frame(const Frame &frame) override
    {
        sequences.push_back(frame.sequence);
        bodies.emplace_back(frame.body.begin(), frame.body.end());
    }
    void stray(std::span<const std::uint8_t> bytes) override { other.append(bytes.begin(), bytes.end()); }

    std::vector<std::uint64_t> sequences;
    std::vector<Bytes> bodies;
    std::string other;
};

using Sequences = std::vector<std::uint64_t>;

Bytes body(std::size_t size)
{
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; i++)
        bytes[i] = static_cast<std::uint8_t>(i * 7 + size);
    return bytes;
}

Bytes frames(std::uint64_t first, std::initializer_list<std::size_t> sizes)
{
    Bytes bytes;
    for (std::size_t size : sizes)
        append_frame(bytes, {Type::kData, 5, first++, body(size)});
    return bytes;
}

Log scan(Scanner &scanner, const Bytes &bytes)
{
    Log log;
    scanner.feed(bytes, log);
    return log;
}

TEST(PortFrame, is_what_the_manual_says)
{
    Bytes bytes;
    append_frame(bytes, {Type::kPong, 0x01020304, 0x1112131415161718, Bytes{0xaa}});
    ASSERT_EQ(bytes.size(), kHeaderSize + 1);
    Bytes begin(bytes.begin(), bytes.begin() + 20);
    EXPECT_EQ(begin,
              (Bytes{0xf5, 'S', 'O', 'P', 1, 2, 1, 0, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11}));
    EXPECT_EQ(bytes.back(), 0xaa);
}

TEST(PortFrame, is_found_whole_however_the_stream_is_cut)
{
    Bytes bytes = frames(0, {0, 3, 100, 40});
    for (std::size_t cut = 0; cut <= bytes.size(); cut++) {
        Scanner scanner;
        Log log;
        scanner.feed(std::span(bytes).first(cut), log);
        scanner.feed(std::span(bytes).subspan(cut), log);
        ASSERT_EQ(log.sequences, (Sequences{0, 1, 2, 3})) << "cut at " << cut;
        ASSERT_EQ(log.bodies[2], body(100));
        ASSERT_EQ(log.other, "");
    }
}

TEST(PortFrame, of_the_largest_size_is_one_write_of_a_virtio_port)
{
    Scanner scanner;
    Bytes bytes = frames(9, {kMaxBody});
    EXPECT_EQ(bytes.size(), 32768u);
    EXPECT_EQ(scan(scanner, bytes).sequences, Sequences{9});
}

TEST(PortFrame, text_between_frames_passes_at_once)
{
    Scanner scanner;
    EXPECT_EQ(scan(scanner, Bytes{'S', 'O', 'P'}).other, "SOP");
    Bytes bytes = frames(0, {5});
    bytes.insert(bytes.end(), {'h', 'i'});
    Log log = scan(scanner, bytes);
    EXPECT_EQ(log.sequences, Sequences{0});
    EXPECT_EQ(log.other, "hi");
}

TEST(PortFrame, with_any_byte_changed_is_not_taken_and_the_next_one_is)
{
    Bytes sound = frames(0, {20, 4});
    for (std::size_t at = 0; at < kHeaderSize + 20; at++) {
        for (int bit = 0; bit < 8; bit++) {
            Bytes bytes = sound;
            bytes[at] ^= static_cast<std::uint8_t>(1 << bit);
            Scanner scanner;
            Log log = scan(scanner, bytes);
            ASSERT_EQ(log.sequences, Sequences{1}) << "byte " << at << " bit " << bit;
            ASSERT_EQ(log.other.size(), kHeaderSize + 20);
            ASSERT_EQ(scanner.broken(), at >= kHeaderSize ? 1u : 0u);
        }
    }
}

TEST(PortFrame, with_bytes_missing_costs_itself_alone)
{
    Bytes sound = frames(0, {64, 64, 64});
    std::size_t each = kHeaderSize + 64;
    for (std::size_t missing = 1; missing < each; missing++) {
        Bytes bytes = sound;
        auto from = bytes.begin() + static_cast<std::ptrdiff_t>(each);
        bytes.erase(from, from + static_cast<std::ptrdiff_t>(missing));
        Scanner scanner;
        ASSERT_EQ(scan(scanner, bytes).sequences, (Sequences{0, 2})) << missing;
    }
}

TEST(PortFrame, cut_short_is_given_up_when_the_largest_one_follows)
{
    Bytes bytes = frames(0, {kMaxBody});
    bytes.resize(100);
    Bytes next = frames(1, {kMaxBody});
    bytes.insert(bytes.end(), next.begin(), next.end());
    Scanner scanner;
    EXPECT_EQ(scan(scanner, bytes).sequences, Sequences{1});
}

TEST(PortFrame, is_found_in_garbage_and_garbage_takes_no_memory)
{
    Scanner scanner;
    Log log;
    std::uint32_t state = 1;
    for (int round = 0; round < 200; round++) {
        Bytes bytes(5000);
        for (auto &byte : bytes)
            byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
        Bytes frame = frames(static_cast<std::uint64_t>(round), {30});
        bytes.insert(bytes.begin() + round, frame.begin(), frame.end());
        scanner.feed(bytes, log);
    }
    EXPECT_EQ(log.sequences.size(), 200u);
    EXPECT_GT(log.other.size(), 200u * 5000 - 40000);
}

/// A folder as /sys/class/virtio-ports is.
class PortName : public testing::Test {
protected:
    void SetUp() override
    {
        char name[] = "/tmp/port-names-XXXXXX";
        folder = mkdtemp(name);
        for (auto [device, port] : {std::pair{"vport1p1", "org.qemu.guest_agent.0"}, {"vport1p2", "org.site.video"}}) {
            std::filesystem::create_directories(folder + "/" + device);
            std::ofstream(folder + "/" + device + "/name") << port << "\n";
        }
        std::filesystem::create_directories(folder + "/vport0p0"); // a console: it has no name
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    std::string folder;
};

TEST_F(PortName, is_found_without_udev)
{
    auto path = find_port("org.site.video", folder, "/dev");
    ASSERT_TRUE(path) << path.error().message;
    EXPECT_EQ(*path, "/dev/vport1p2");
}

TEST_F(PortName, that_is_a_path_is_taken_as_it_is)
{
    auto path = find_port("/dev/vport9p9", folder, "/dev");
    ASSERT_TRUE(path);
    EXPECT_EQ(*path, "/dev/vport9p9");
}

TEST_F(PortName, that_does_not_exist_is_answered_with_those_that_do)
{
    auto path = find_port("org.site.vide", folder, "/dev");
    ASSERT_FALSE(path);
    EXPECT_NE(path.error().message.find("org.site.vide: "), std::string::npos);
    EXPECT_NE(path.error().message.find("org.qemu.guest_agent.0"), std::string::npos) << path.error().message;
    EXPECT_NE(path.error().message.find("org.site.video"), std::string::npos);
    auto none = find_port("org.site.video", folder + "/nothing", "/dev");
    ASSERT_FALSE(none);
    EXPECT_NE(none.error().message.find("virtserialport"), std::string::npos) << none.error().message;
}

} // namespace
} // namespace spice_overlay::tool
