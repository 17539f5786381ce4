// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/widget/statistics_json.h"
#include "overlay/widget/statistics_text.h"

#include <gtest/gtest.h>

using namespace spice_overlay;

TEST(Statistics, tell_how_a_decoder_failed_with_streams_and_without)
{
    Statistics statistics;
    auto json = [&] { return to_json(statistics, {}, 0, {}, 0, {}); };
    EXPECT_EQ(to_text(statistics, {}, 0), "no video is redirected");
    EXPECT_EQ(json().find("decoder_failed"), std::string::npos);
    statistics.decoder_failed = "its sandbox stopped it at the system call openat";
    const StreamFacts stream{.stream = 1, .width = 320, .height = 240};
    for (const auto &streams : {std::vector<StreamFacts>(), std::vector<StreamFacts>{stream}})
        EXPECT_EQ(to_text(statistics, streams, 0)
                      .find("a decoder failed: its sandbox stopped it at the system call openat\n"),
                  0u);
    EXPECT_NE(json().find(R"("decoder_failed": "its sandbox stopped it at the system call openat")"),
              std::string::npos);
}
