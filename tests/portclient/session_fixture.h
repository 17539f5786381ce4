// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "session_kit.h"

#include <gtest/gtest.h>

namespace spice_overlay::test {

/// An established conversation.
class SessionTest : public testing::Test {
protected:
    void SetUp() override
    {
        bench.establish();
        ASSERT_TRUE(bench.session.established());
        bench.messages.clear();
    }

    void open(std::uint32_t stream)
    {
        bench.from_guest(h264(stream));
        ASSERT_EQ(bench.sent<wire::StreamAccept>().size(), 1u);
    }

    std::vector<wire::Reason> rejections()
    {
        std::vector<wire::Reason> reasons;
        for (const auto &reject : bench.sent<wire::StreamReject>())
            reasons.push_back(reject.reason);
        return reasons;
    }

    Bench bench;
};

inline std::string closed(std::uint32_t stream, wire::Reason reason)
{
    return "close " + std::to_string(stream) + ": " + wire::describe(reason);
}

} // namespace spice_overlay::test
