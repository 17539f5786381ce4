// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samples.h"

#include "portclient/wire/handshake.h"

#include <gtest/gtest.h>

#include <random>

namespace spice_overlay::wire::test {
namespace {

/// One end: what its owner does with deframer and handshake, as handshake.h asks for it. `out` is the pipe to the other
/// end.
struct End {
    explicit End(Hello hello) : handshake(std::move(hello)) {}

    void start(std::uint64_t nonce)
    {
        deframer.reset(nonce);
        send(handshake.start(nonce));
    }

    void second_passes()
    {
        if (!handshake.established() && !handshake.incompatible())
            send(handshake.resend());
    }

    void ten_seconds_pass()
    {
        if (deframer.mid_message())
            start(handshake.nonce() + 1000);
    }

    void hear(std::span<const std::uint8_t> bytes)
    {
        deframer.feed(bytes, [&](const Message &message) {
            if (auto *hello = std::get_if<Hello>(&message)) {
                auto outcome = handshake.receive(*hello);
                resets += outcome.reset;
                if (outcome.reply)
                    send(handshake.resend());
                established += outcome.established;
                incompatible += outcome.incompatible;
            } else if (handshake.established()) {
                ++heard;
            }
        });
        if (deframer.state() == Deframer::State::kBroken)
            start(handshake.nonce() + 1000);
    }

    void send(const Message &message) { encode(message, out); }

    Deframer deframer;
    Handshake handshake;
    Bytes out;
    int resets = 0, established = 0, incompatible = 0, heard = 0;
};

struct Pair {
    End client{client_hello(1, 0)};
    End guest{guest_hello(1, 0)};

    /// Carries bytes both ways until both pipes are empty. Fails when that does not end.
    void settle(unsigned seed = 1)
    {
        std::mt19937 random(seed);
        for (int i = 0; i < 100'000 && !(client.out.empty() && guest.out.empty()); ++i) {
            bool to_guest = guest.out.empty() || (!client.out.empty() && random() % 2);
            Bytes &pipe = to_guest ? client.out : guest.out;
            std::size_t size = std::min<std::size_t>(1 + random() % 100, pipe.size());
            Bytes piece(pipe.begin(), pipe.begin() + static_cast<std::ptrdiff_t>(size));
            pipe.erase(pipe.begin(), pipe.begin() + static_cast<std::ptrdiff_t>(size));
            (to_guest ? guest : client).hear(piece);
        }
        ASSERT_TRUE(client.out.empty() && guest.out.empty()) << "the two never stop talking";
    }

    void expect_established()
    {
        ASSERT_TRUE(client.handshake.established());
        ASSERT_TRUE(guest.handshake.established());
        EXPECT_EQ(client.handshake.peer().nonce, guest.handshake.nonce());
        EXPECT_EQ(guest.handshake.peer().nonce, client.handshake.nonce());
        EXPECT_EQ(guest.handshake.peer().codecs, client_hello(1, 0).codecs);
        EXPECT_EQ(client.handshake.version(), 1);
        int client_heard = client.heard, guest_heard = guest.heard;
        guest.send(Ping{1, 2});
        client.send(NeedKey{1});
        settle();
        EXPECT_EQ(client.heard, client_heard + 1);
        EXPECT_EQ(guest.heard, guest_heard + 1);
    }
};

TEST(Handshake, establishes_in_every_order_and_with_every_loss)
{
    struct Case {
        const char *name;
        void (*play)(Pair &);
    };
    const Case cases[] = {
        {"client first",
         [](Pair &p) {
             p.client.start(1);
             p.settle();
             p.guest.start(2);
             p.settle();
         }},
        {"client first, and its question is lost",
         [](Pair &p) {
             p.client.start(1);
             p.client.out.clear();
             p.guest.start(2);
         }},
        {"guest first",
         [](Pair &p) {
             p.guest.start(2);
             p.guest.out.clear();
             p.client.start(1);
         }},
        {"both at once",
         [](Pair &p) {
             p.client.start(1);
             p.guest.start(2);
         }},
        {"both questions are lost",
         [](Pair &p) {
             p.client.start(1);
             p.guest.start(2);
             p.client.out.clear();
             p.guest.out.clear();
             p.client.second_passes();
         }},
        {"the guest's answer is lost",
         [](Pair &p) {
             p.guest.start(2);
             p.guest.out.clear();
             p.client.start(1);
             p.guest.hear(std::exchange(p.client.out, {}));
             p.guest.out.clear();
             p.client.second_passes();
         }},
        {"the client's answer is lost",
         [](Pair &p) {
             p.guest.start(2);
             p.guest.out.clear();
             p.client.start(1);
             p.guest.hear(std::exchange(p.client.out, {}));
             p.client.hear(std::exchange(p.guest.out, {}));
             ASSERT_TRUE(p.client.handshake.established());
             p.client.out.clear();
             p.guest.second_passes();
         }},
        {"questions repeated before they are answered",
         [](Pair &p) {
             p.client.start(1);
             p.guest.start(2);
             for (int i = 0; i < 5; ++i) {
                 p.client.second_passes();
                 p.guest.second_passes();
             }
         }},
    };
    for (const Case &c : cases) {
        for (unsigned seed = 0; seed < 20; ++seed) {
            SCOPED_TRACE(std::string(c.name) + ", seed " + std::to_string(seed));
            Pair pair;
            c.play(pair);
            pair.settle(seed);
            pair.client.second_passes();
            pair.guest.second_passes();
            pair.settle(seed);
            pair.expect_established();
            EXPECT_EQ(pair.client.established, 1);
            EXPECT_EQ(pair.guest.established, 1);
            EXPECT_EQ(pair.client.resets + pair.guest.resets, 0);
        }
    }
}

Pair established_pair()
{
    Pair pair;
    pair.client.start(1);
    pair.guest.start(2);
    pair.settle();
    pair.expect_established();
    return pair;
}

TEST(Handshake, client_that_begins_anew_resets_the_guest)
{
    Pair pair = established_pair();
    pair.client = End(client_hello(1, 0));
    pair.client.start(77);
    pair.settle();
    pair.expect_established();
    EXPECT_EQ(pair.guest.resets, 1);
    EXPECT_EQ(pair.guest.handshake.nonce(), 2u);
}

TEST(Handshake, guest_that_begins_anew_resets_the_client)
{
    Pair pair = established_pair();
    pair.guest = End(guest_hello(1, 0));
    pair.guest.start(78);
    pair.settle();
    pair.expect_established();
    EXPECT_EQ(pair.client.resets, 1);
}

TEST(Handshake, both_that_begin_anew_at_once_meet_again)
{
    Pair pair = established_pair();
    pair.guest.start(78);
    pair.client.start(79);
    pair.settle();
    pair.expect_established();
}

TEST(Handshake, malformed_message_makes_a_side_begin_anew_and_both_meet_again)
{
    for (bool at_client : {false, true}) {
        Pair pair = established_pair();
        End &sender = at_client ? pair.guest : pair.client;
        End &receiver = at_client ? pair.client : pair.guest;
        std::uint64_t nonce = receiver.handshake.nonce();
        sender.out = {8, 0, 2, 0, 5, 6, 7, 8}; // a PING that ends too soon
        pair.settle();
        EXPECT_NE(receiver.handshake.nonce(), nonce);
        EXPECT_EQ(sender.resets, 1);
        pair.expect_established();
    }
}

TEST(Handshake, guest_that_dies_within_a_message_is_met_again_after_the_reset)
{
    Pair pair = established_pair();
    Bytes unit;
    encode(AccessUnit{.stream = 1, .total_size = 9, .data = kPayload}, unit);
    unit.resize(unit.size() - 5);
    pair.client.hear(unit);
    EXPECT_TRUE(pair.client.deframer.mid_message());
    pair.guest = End(guest_hello(1, 0));
    pair.guest.start(90);
    pair.settle();
    EXPECT_FALSE(pair.guest.handshake.established()) << "its question went into the unit of the one before";
    pair.client.ten_seconds_pass();
    pair.settle();
    pair.expect_established();
}

TEST(Handshake, tail_of_an_older_conversation_is_not_taken_for_this_one)
{
    Pair old = established_pair();
    Bytes tail;
    encode(AccessUnit{.stream = 1, .total_size = 9, .data = kPayload}, tail);
    tail.erase(tail.begin(), tail.begin() + 3);
    encode(guest_hello(2, 1), tail); // the old answer to the old nonce
    encode(StreamClose{1, Reason::kNone}, tail);

    Pair pair;
    pair.client.start(50);
    pair.guest.start(60);
    pair.client.hear(tail);
    EXPECT_FALSE(pair.client.handshake.established());
    EXPECT_EQ(pair.client.heard, 0);
    pair.settle();
    pair.expect_established();
}

TEST(Handshake, hello_forged_in_video_bytes_is_never_believed)
{
    Pair pair;
    pair.client.start(50);
    Bytes forged;
    encode(guest_hello(666, 0), forged);
    encode(guest_hello(666, 49), forged);
    encode(guest_hello(666, 51), forged);
    encode(StreamOpen{.stream = 1, .coded_width = 64, .coded_height = 64}, forged);
    pair.client.hear(forged);
    EXPECT_FALSE(pair.client.handshake.established());
    EXPECT_EQ(pair.client.heard, 0);
    pair.guest.start(60);
    pair.settle();
    pair.expect_established();
}

TEST(Handshake, forged_hello_within_a_unit_of_an_established_conversation_is_data)
{
    Pair pair = established_pair();
    Bytes forged = encoded(guest_hello(666, 0));
    pair.guest.send(AccessUnit{.stream = 1, .total_size = static_cast<std::uint32_t>(forged.size()), .data = forged});
    pair.settle();
    EXPECT_EQ(pair.client.resets, 0);
    pair.expect_established();
}

TEST(Handshake, answer_to_an_older_nonce_is_ignored_in_sync)
{
    Pair pair = established_pair();
    pair.guest.send(guest_hello(5, 12345));
    pair.settle();
    EXPECT_EQ(pair.client.resets, 0);
    pair.expect_established();
}

TEST(Handshake, incompatible_sides_find_out_and_fall_silent)
{
    Hello later = guest_hello(1, 0);
    later.min_version = later.max_version = 2;
    Hello not_a_guest = client_hello(1, 0);
    for (const Hello &hello : {later, not_a_guest}) {
        Pair pair;
        pair.guest = End(hello);
        pair.client.start(1);
        pair.guest.start(2);
        pair.settle();
        for (End *end : {&pair.client, &pair.guest}) {
            EXPECT_FALSE(end->handshake.established());
            EXPECT_TRUE(end->handshake.incompatible());
            EXPECT_EQ(end->incompatible, 1);
            end->second_passes();
        }
        EXPECT_TRUE(pair.client.out.empty() && pair.guest.out.empty());
    }
}

TEST(Handshake, incompatible_guest_that_is_replaced_by_a_good_one_is_met)
{
    Hello later = guest_hello(1, 0);
    later.min_version = later.max_version = 2;
    Pair pair;
    pair.guest = End(later);
    pair.client.start(1);
    pair.guest.start(2);
    pair.settle();
    pair.guest = End(guest_hello(1, 0));
    pair.guest.start(3);
    pair.settle();
    pair.expect_established();
}

TEST(Handshake, version_is_the_largest_that_both_have)
{
    Hello later = guest_hello(1, 0);
    later.max_version = 7;
    Pair pair;
    pair.guest = End(later);
    pair.client.start(1);
    pair.guest.start(2);
    pair.settle();
    pair.expect_established();
}

} // namespace
} // namespace spice_overlay::wire::test
