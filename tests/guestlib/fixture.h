// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "player.h"
#include "tests/guest/media_files.h"
#include "tests/guest/model_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>

namespace spice_overlay::test {

/// Of a client or relay that decodes some.
inline wire::Hello hello(bool relay)
{
    wire::Hello hello;
    hello.role = wire::Role::kClient;
    hello.name = "model";
    hello.max_streams = 16;
    hello.capabilities = relay ? wire::kRelay : 0;
    hello.codecs = {{wire::Codec::kH264, 0, -1, -1, 1920, 1080}, {wire::Codec::kVp9, 0, -1, -1, 0, 0}};
    return hello;
}

class Library : public testing::Test {
protected:
    void SetUp() override
    {
        signal(SIGPIPE, SIG_IGN); // the model's, when the library hangs up
        listener_ = listen_unix(path_);
        ASSERT_TRUE(listener_.valid());
    }
    void TearDown() override
    {
        for (const std::string &error : peer_.errors)
            ADD_FAILURE() << "the peer saw: " << error;
        for (const std::string &error : relay_.errors)
            ADD_FAILURE() << "the relay saw: " << error;
    }

    void connect(ModelClient &peer)
    {
        if (!guest_)
            guest_.reset(spice_overlay_guest_new(path_.c_str(), "test 1"));
        ASSERT_TRUE(guest_);
        ASSERT_TRUE(peer.accept(listener_.get()));
        ASSERT_TRUE(peer.run_until([&] { return peer.established > 0; }));
    }
    /// A relay that has a client.
    void connect_relay()
    {
        connect(relay_);
        relay_.send(wire::ClientState{wire::Reason::kNone, hello(true).codecs});
    }
    struct FreeStream {
        void operator()(spice_overlay_stream *stream) const
        {
            spice_overlay_stream_free(stream, SPICE_OVERLAY_REASON_CLOSED_BY_USER);
        }
    };
    struct FreeGuest {
        void operator()(spice_overlay_guest *guest) const { spice_overlay_guest_free(guest); }
    };
    using StreamPtr = std::unique_ptr<spice_overlay_stream, FreeStream>;

    StreamPtr open(Told &told, const spice_overlay_format &what = format())
    {
        auto events = told.events();
        return StreamPtr(spice_overlay_stream_new(guest_.get(), &what, &events, &told));
    }
    /// Opens and has it redirected by the plain peer.
    StreamPtr redirected(Told &told)
    {
        auto stream = open(told);
        EXPECT_TRUE(peer_.run_until([&] { return told.state() == SPICE_OVERLAY_REASON_NONE; }));
        return stream;
    }
    static int submit(const StreamPtr &stream, const std::vector<std::uint8_t> &bytes, std::int64_t pts,
                      unsigned flags = 0)
    {
        return spice_overlay_stream_submit(stream.get(), bytes.data(), bytes.size(), pts, flags);
    }
    spice_overlay_reason check(int timeout_ms, spice_overlay_codec codec = SPICE_OVERLAY_CODEC_H264,
                               std::uint32_t width = 640, std::uint32_t height = 360)
    {
        return spice_overlay_guest_check(guest_.get(), codec, width, height, timeout_ms);
    }
    /// Lets the peer run while `function` waits for it in another thread.
    template <typename Function>
    auto meanwhile(ModelClient &peer, Function &&function)
    {
        std::atomic<bool> done = false;
        decltype(function()) result{};
        std::thread thread([&] {
            result = function();
            done = true;
        });
        EXPECT_TRUE(peer.run_until([&] { return done.load(); }));
        thread.join();
        return result;
    }

    TemporaryDirectory directory_;
    std::string path_ = directory_ / "agent.sock";
    UniqueFd listener_;
    ModelClient peer_{hello(false)};
    ModelClient relay_{hello(true)};
    std::unique_ptr<spice_overlay_guest, FreeGuest> guest_; ///< ends before its peers do
};

} // namespace spice_overlay::test
