// SPDX-License-Identifier: LGPL-2.1-or-later
// The conversation on a port of its own, a unix socket, with a client that asks more than it reads.
#include "guest/conversation/conversation.h"
#include "media_files.h"
#include "portclient/base/clock.h"
#include "portclient/wire/deframer.h"
#include "portclient/wire/handshake.h"

#include <gtest/gtest.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace spice_overlay::test {
namespace {

using namespace guest;

class ConversationTest : public testing::Test, private Conversation::Listener {
protected:
    void SetUp() override
    {
        std::string path = directory_ / "port";
        sockaddr_un address{AF_UNIX, {}};
        std::memcpy(address.sun_path, path.c_str(), path.size());
        UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        ASSERT_EQ(::listen(listener.get(), 1), 0);
        conversation_.emplace(Conversation::Options{.port = path, .name = "test"},
                              static_cast<Conversation::Listener &>(*this));
        ASSERT_TRUE(conversation_->open(monotonic_now()));
        client_.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        ASSERT_TRUE(client_.valid());
        deframer_.reset(kNonce);
        (void)handshake_.start(kNonce);
    }

    /// True when all of it has gone.
    bool say(const wire::Message &message)
    {
        std::vector<std::uint8_t> bytes;
        wire::encode(message, bytes);
        return ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
    }
    /// Lets the guest take in everything that the client has said, and write what it can.
    void turn()
    {
        for (pollfd fd{}; fd = {conversation_->fd(), conversation_->events(), 0}, ::poll(&fd, 1, 0) > 0;) {
            conversation_->ready(fd.revents, monotonic_now());
            conversation_->write(monotonic_now());
            most_control = std::max(most_control, conversation_->outgoing().outbox.control_bytes());
        }
    }
    /// Lets the client read everything that there is for it.
    void listen()
    {
        std::uint8_t buffer[4096];
        for (turn();; turn()) {
            ssize_t got = ::recv(client_.get(), buffer, sizeof buffer, 0);
            if (got <= 0)
                return;
            deframer_.feed(std::span(buffer).first(static_cast<std::size_t>(got)),
                           [this](const wire::Message &message) {
                               if (const auto *hello = std::get_if<wire::Hello>(&message)) {
                                   if (handshake_.receive(*hello).reply) {
                                       EXPECT_TRUE(say(handshake_.resend()));
                                   }
                               } else if (const auto *pong = std::get_if<wire::Pong>(&message)) {
                                   last_pong = pong->id;
                               }
                           });
        }
    }

    static constexpr std::uint64_t kNonce = 77;
    std::optional<Conversation> conversation_;
    wire::Handshake handshake_{wire::Hello{.role = wire::Role::kClient, .name = "client"}};
    std::size_t most_control = 0; ///< bytes that have waited at once
    std::uint32_t last_pong = 0;

private:
    void established(const wire::Hello &) override {}
    void over(wire::Reason) override {}
    void message(const wire::Message &, std::int64_t) override {}
    bool next_data(std::vector<std::uint8_t> &) override { return false; }
    void notice(const std::string &text) override { ADD_FAILURE() << text; }

    TemporaryDirectory directory_;
    UniqueFd client_;
    wire::Deframer deframer_;
};

TEST_F(ConversationTest, answers_to_a_client_that_asks_who_is_there_and_does_not_read_take_no_memory)
{
    wire::Hello question;
    question.role = wire::Role::kClient;
    for (std::uint64_t i = 0; i < 50'000; i++) {
        question.nonce = 1000 + i;
        ASSERT_TRUE(say(question));
        turn();
    }
    EXPECT_LE(most_control, wire::kMaxHelloSize);
    question.nonce = kNonce;
    ASSERT_TRUE(say(question));
    listen();
    EXPECT_TRUE(conversation_->established()) << "the last question is answered";
}

TEST_F(ConversationTest, answers_to_a_client_that_floods_pings_and_does_not_read_take_no_memory)
{
    ASSERT_TRUE(say(handshake_.resend()));
    listen();
    ASSERT_TRUE(conversation_->established());
    for (std::uint32_t i = 1; i <= 50'000; i++) {
        ASSERT_TRUE(say(wire::Ping{i, 1}));
        if (i % 16 == 0) {
            ASSERT_TRUE(say(wire::Hello{.role = wire::Role::kClient, .nonce = kNonce}));
        }
        turn();
    }
    EXPECT_LE(most_control, 64u * 1024 + wire::kMaxHelloSize);
    listen();
    ASSERT_TRUE(say(wire::Ping{50'001, 1}));
    listen();
    EXPECT_TRUE(conversation_->established());
    EXPECT_EQ(last_pong, 50'001u) << "who reads is answered";
}

} // namespace
} // namespace spice_overlay::test
