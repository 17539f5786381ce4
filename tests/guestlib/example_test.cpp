// SPDX-License-Identifier: LGPL-2.1-or-later
// The example of the documentation does what it says.
#include "fixture.h"

using namespace spice_overlay;
using namespace spice_overlay::test;

namespace {

class Example : public Library {
protected:
    void SetUp() override
    {
        Library::SetUp();
        setenv("SPICE_OVERLAY_AGENT", path_.c_str(), 1);
    }
};

TEST_F(Example, sends_every_picture_of_a_file_where_it_belongs)
{
    if (!has_ffmpeg() || !has_encoder("libx264"))
        GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
    std::string file = directory_ / "clip.h264";
    ASSERT_TRUE(make_clip(file, {"-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "10", "-f", "h264"}, 1));
    Program example({file, "320", "240"});
    ASSERT_TRUE(relay_.accept(listener_.get()));
    ASSERT_TRUE(relay_.run_until([&] { return relay_.established > 0; }));
    relay_.send(wire::ClientState{wire::Reason::kNone, hello(true).codecs});
    ASSERT_TRUE(relay_.run_until([&] { return relay_.opens.size() == 1; }));
    relay_.send(wire::StreamState{relay_.opens[0].stream, wire::Reason::kNone});
    ASSERT_TRUE(relay_.run_until([&] { return !relay_.closes.empty(); })) << example.errors();
    EXPECT_EQ(example.wait(), 0);
    EXPECT_EQ(relay_.closes[0].reason, wire::Reason::kEndOfStream);
    EXPECT_EQ(relay_.geometries.back().target, (wire::Rect{100, 50, 320, 240}));
    ASSERT_EQ(relay_.units.size(), 25u);
    std::vector<std::uint8_t> sent;
    for (std::size_t i = 0; i < relay_.units.size(); i++) {
        EXPECT_EQ(relay_.units[i].key(), i % 10 == 0) << i;
        sent.insert(sent.end(), relay_.units[i].data.begin(), relay_.units[i].data.end());
        if (i > 0) {
            EXPECT_EQ(relay_.units[i].pts - relay_.units[i - 1].pts, 40 * kMs);
        }
    }
    EXPECT_EQ(sent, read_bytes(file));
    EXPECT_NE(example.errors().find("paints the placeholder"), std::string::npos) << example.errors();
}

TEST_F(Example, says_what_is_wrong)
{
    Program no_file({directory_ / "none", "320", "240"});
    EXPECT_EQ(no_file.wait(), 1);
    EXPECT_NE(no_file.errors().find("no such file"), std::string::npos);
    write_bytes(directory_ / "x", std::vector<std::uint8_t>(10));
    Program no_size({directory_ / "x", "0", "240"});
    EXPECT_EQ(no_size.wait(), 1);
    EXPECT_NE(no_size.errors().find("the size is 0"), std::string::npos) << no_size.errors();
}

} // namespace
