// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocations.h"
#include "samples.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace spice_overlay::wire::test {
namespace {

constexpr std::uint64_t kOurs = 0x0102030405060708;
constexpr std::uint64_t kTheirs = 0x1112131415161718;

void append(Bytes &to, const Bytes &bytes)
{
    to.insert(to.end(), bytes.begin(), bytes.end());
}

/// Feeds a Deframer and keeps each message as the bytes that it encodes to.
struct Feeder {
    Feeder() { deframer.reset(kOurs); }

    void feed(std::span<const std::uint8_t> bytes)
    {
        deframer.feed(bytes, [this](const Message &message) {
            if (const auto *unknown = std::get_if<Unknown>(&message))
                unknown_types.push_back(unknown->type);
            else
                messages.push_back(encoded(message));
        });
    }

    Deframer deframer;
    std::vector<Bytes> messages;
    std::vector<std::uint16_t> unknown_types;
};

Bytes answer()
{
    return encoded(guest_hello(kTheirs, kOurs));
}

Bytes noise(std::size_t size, unsigned seed)
{
    std::mt19937 random(seed);
    Bytes bytes(size);
    for (auto &byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

/// A conversation from its first byte: noise, the answer, and every sample.
Bytes conversation(std::vector<Bytes> *messages)
{
    Bytes bytes = noise(37, 1);
    append(bytes, answer());
    messages->push_back(answer());
    for (const auto &[name, message] : samples()) {
        append(bytes, encoded(message));
        messages->push_back(encoded(message));
    }
    return bytes;
}

TEST(Deframer, messages_are_the_same_wherever_the_stream_is_split_in_two)
{
    std::vector<Bytes> expected;
    Bytes bytes = conversation(&expected);
    for (std::size_t split = 0; split <= bytes.size(); ++split) {
        Feeder feeder;
        feeder.feed(std::span(bytes).first(split));
        feeder.feed(std::span(bytes).subspan(split));
        ASSERT_EQ(feeder.messages, expected) << "split at " << split;
        ASSERT_EQ(feeder.deframer.skipped_bytes(), 37u);
    }
}

TEST(Deframer, messages_are_the_same_byte_by_byte)
{
    std::vector<Bytes> expected;
    Bytes bytes = conversation(&expected);
    Feeder feeder;
    for (std::uint8_t byte : bytes)
        feeder.feed({&byte, 1});
    EXPECT_EQ(feeder.messages, expected);
}

TEST(Deframer, messages_are_the_same_at_random_splits)
{
    std::vector<Bytes> expected;
    Bytes bytes = conversation(&expected);
    std::mt19937 random(7);
    for (int round = 0; round < 500; ++round) {
        Feeder feeder;
        for (std::size_t at = 0; at < bytes.size();) {
            std::size_t size = std::min<std::size_t>(random() % 60, bytes.size() - at);
            feeder.feed(std::span(bytes).subspan(at, size));
            at += size;
        }
        ASSERT_EQ(feeder.messages, expected);
    }
}

TEST(Deframer, message_that_lies_whole_in_the_fed_bytes_is_not_copied)
{
    Feeder feeder;
    feeder.feed(answer());
    Bytes data(30'000, 5), bytes;
    std::vector<std::size_t> ends;
    encode_access_unit({.stream = 1, .data = data}, bytes, ends);
    const std::uint8_t *seen = nullptr;
    feeder.deframer.feed(bytes, [&](const Message &message) { seen = std::get<AccessUnit>(message).data.data(); });
    EXPECT_EQ(seen, bytes.data() + bytes.size() - data.size());
}

TEST(Deframer, mid_message_is_told_only_between_the_first_and_the_last_byte)
{
    Feeder feeder;
    feeder.feed(Bytes{1, 2, 3});
    EXPECT_FALSE(feeder.deframer.mid_message()) << "hunting";
    feeder.feed(answer());
    EXPECT_FALSE(feeder.deframer.mid_message());
    Bytes ping = encoded(Ping{1, 2});
    feeder.feed(std::span(ping).first(1));
    EXPECT_TRUE(feeder.deframer.mid_message());
    feeder.feed(std::span(ping).subspan(1, ping.size() - 2));
    EXPECT_TRUE(feeder.deframer.mid_message());
    feeder.feed(std::span(ping).last(1));
    EXPECT_FALSE(feeder.deframer.mid_message());
}

TEST(Deframer, unknown_messages_are_told_by_their_type)
{
    Feeder feeder;
    Bytes bytes = answer();
    append(bytes, {4, 0, 0xff, 0xff});
    append(bytes, {7, 0, 0x40, 0, 1, 2, 3});
    append(bytes, encoded(Ping{1, 2}));
    feeder.feed(bytes);
    EXPECT_EQ(feeder.messages, (std::vector<Bytes>{answer(), encoded(Ping{1, 2})}));
    EXPECT_EQ(feeder.unknown_types, (std::vector<std::uint16_t>{0xff, 0x40}));
}

TEST(Deframer, after_a_malformed_message_nothing_is_believed_until_reset)
{
    for (Bytes bad : {Bytes{3, 0, 2, 0}, Bytes{0, 0, 0, 0}, Bytes{5, 0, 2, 0, 1}, Bytes{8, 0, 0x24, 0, 0, 0, 0, 0}}) {
        Feeder feeder;
        feeder.feed(answer());
        append(bad, encoded(Ping{1, 2}));
        append(bad, answer());
        feeder.feed(bad);
        EXPECT_EQ(feeder.deframer.state(), Deframer::State::kBroken);
        EXPECT_FALSE(feeder.deframer.error().empty());
        feeder.feed(answer());
        EXPECT_EQ(feeder.messages.size(), 1u);
        feeder.deframer.reset(kOurs);
        feeder.feed(answer());
        EXPECT_EQ(feeder.messages.size(), 2u);
        EXPECT_EQ(feeder.deframer.state(), Deframer::State::kInSync);
        EXPECT_TRUE(feeder.deframer.error().empty());
    }
}

// ---- hunting

TEST(Deframer, question_is_reported_and_hunting_goes_on)
{
    Feeder feeder;
    Bytes bytes = encoded(guest_hello(kTheirs, 0));
    append(bytes, encoded(Ping{1, 2}));
    append(bytes, answer());
    append(bytes, encoded(Ping{3, 4}));
    feeder.feed(bytes);
    EXPECT_EQ(feeder.messages, (std::vector<Bytes>{encoded(guest_hello(kTheirs, 0)), answer(), encoded(Ping{3, 4})}));
    EXPECT_EQ(feeder.deframer.skipped_bytes(), encoded(Ping{1, 2}).size());
}

TEST(Deframer, answer_to_another_nonce_is_skipped)
{
    Feeder feeder;
    feeder.feed(encoded(guest_hello(kTheirs, kOurs + 1)));
    feeder.feed(encoded(Ping{1, 2}));
    EXPECT_TRUE(feeder.messages.empty());
    EXPECT_EQ(feeder.deframer.state(), Deframer::State::kHunting);
}

TEST(Deframer, tail_of_an_older_conversation_is_skipped)
{
    Feeder feeder;
    Bytes tail(20'000, 0), bytes;
    std::vector<std::size_t> ends;
    std::iota(tail.begin(), tail.end(), std::uint8_t{0});
    encode_access_unit({.stream = 1, .data = tail}, bytes, ends);
    bytes.erase(bytes.begin(), bytes.begin() + 1234);
    append(bytes, encoded(guest_hello(kTheirs, kOurs - 1)));
    append(bytes, encoded(StreamClose{1, Reason::kNone}));
    std::size_t before = bytes.size();
    append(bytes, answer());
    feeder.feed(bytes);
    EXPECT_EQ(feeder.messages, std::vector<Bytes>{answer()});
    EXPECT_EQ(feeder.deframer.skipped_bytes(), before);
}

/// Appends an answer and a PING to the bytes: these are heard and nothing else, wherever all of it is cut in two.
void expect_answer_behind(Bytes &bytes)
{
    const std::size_t before = bytes.size();
    append(bytes, answer());
    append(bytes, encoded(Ping{1, 2}));
    for (std::size_t split = 0; split <= bytes.size(); ++split) {
        Feeder feeder;
        feeder.feed(std::span(bytes).first(split));
        feeder.feed(std::span(bytes).subspan(split));
        ASSERT_EQ(feeder.messages, (std::vector<Bytes>{answer(), encoded(Ping{1, 2})}))
            << before << " bytes before it, cut at " << split;
    }
}

TEST(Deframer, beginning_of_a_false_hello_does_not_hide_the_real_one)
{
    Bytes fake = encoded(guest_hello(9, 0));
    fake[0] = 0x00; // claims 4096 bytes, of which the rest never comes
    fake[1] = 0x10;
    fake.resize(kHeaderSize + 8);
    for (std::size_t cut = 1; cut <= fake.size(); ++cut) {
        Bytes bytes(fake.begin(), fake.begin() + static_cast<std::ptrdiff_t>(cut));
        expect_answer_behind(bytes);
    }
}

TEST(Deframer, malformed_hello_is_skipped_while_hunting)
{
    Bytes bytes = encoded(guest_hello(kTheirs, kOurs));
    bytes[38] = 7; // role
    Bytes too_long = answer();
    too_long.resize(kMaxHelloSize + 1);
    too_long[0] = 1;
    too_long[1] = 0x10;
    append(bytes, too_long);
    append(bytes, answer());
    Feeder feeder;
    feeder.feed(bytes);
    EXPECT_EQ(feeder.messages, std::vector<Bytes>{answer()});
}

TEST(Deframer, megabytes_of_noise_are_skipped_whole_or_in_pieces)
{
    Bytes bytes = noise(4 << 20, 3);
    for (std::size_t i = 0; i + 8 < bytes.size(); i += 5000) // near misses
        std::copy(kHelloMagic.begin(), kHelloMagic.end(), bytes.begin() + static_cast<std::ptrdiff_t>(i));
    append(bytes, answer());
    for (std::size_t piece : {bytes.size(), std::size_t{65'536}, std::size_t{1000}, std::size_t{13}}) {
        Feeder feeder;
        for (std::size_t at = 0; at < bytes.size(); at += piece)
            feeder.feed(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
        EXPECT_EQ(feeder.messages, std::vector<Bytes>{answer()}) << piece;
    }
}

/// Every 40 bytes something begins like a HELLO of 1,536 bytes: it lies within the one before, and is to somebody else.
Bytes false_hellos(std::size_t size)
{
    const Bytes one = {0, 6, 1, 0, 'S', 'p', 'i', 'c', 'e', 'O', 'v', 'l', 1, 0, 1, 0, // header, magic, versions
                       9, 9, 9, 9, 9,   1,   0,   9,   9,   9,   9,   9,   9, 9, 9, 9, // nonces, with a codec's number
                       0, 0, 0, 0, 0,   0,   1,   64};                                 // 64 codecs, half of them known
    Bytes bytes;
    while (bytes.size() + one.size() <= size)
        append(bytes, one);
    bytes.resize(size);
    return bytes;
}

/// A question, well-formed, as far as its codecs, of 4,096 bytes by its header.
Bytes endless_question()
{
    Bytes bytes = encoded(guest_hello(9, 0));
    bytes[0] = 0x00;
    bytes[1] = 0x10;
    return bytes;
}

TEST(Deframer, false_hellos_are_skipped_by_what_they_begin_with)
{
    const Bytes bytes = false_hellos(1 << 20);
    Bytes within = endless_question();
    append(within, false_hellos(3900));
    const auto feed = [](const Bytes &to, std::size_t piece) {
        Feeder feeder;
        const long before = allocations();
        for (std::size_t at = 0; at < to.size(); at += piece)
            feeder.feed(std::span(to).subspan(at, std::min(piece, to.size() - at)));
        const long made = allocations() - before;
        EXPECT_TRUE(feeder.messages.empty());
        feeder.feed(answer());
        EXPECT_EQ(feeder.messages, std::vector<Bytes>{answer()});
        return made;
    };
    // Whatever is decoded takes memory for its codecs.
    for (std::size_t piece : {bytes.size(), std::size_t{4096}, std::size_t{1}}) {
        EXPECT_LT(feed(bytes, piece), 10) << piece;
        EXPECT_LT(feed(within, piece), 10) << piece;
    }
}

TEST(Deframer, question_that_has_no_end_does_not_hide_the_answer_behind_it)
{
    for (std::size_t others : {std::size_t{0}, std::size_t{50}, std::size_t{3000}}) {
        Bytes bytes = endless_question();
        append(bytes, false_hellos(others));
        expect_answer_behind(bytes);
        Feeder bytewise;
        for (std::uint8_t byte : bytes)
            bytewise.feed({&byte, 1});
        EXPECT_EQ(bytewise.messages, (std::vector<Bytes>{answer(), encoded(Ping{1, 2})})) << others;
    }
}

TEST(Deframer, question_is_taken_when_its_end_comes_and_not_before)
{
    Bytes bytes = endless_question();
    append(bytes, false_hellos(wire::kMaxHelloSize - bytes.size()));
    Feeder feeder;
    for (std::uint8_t byte : bytes) {
        EXPECT_TRUE(feeder.messages.empty());
        feeder.feed({&byte, 1});
    }
    EXPECT_EQ(feeder.messages, std::vector<Bytes>{encoded(guest_hello(9, 0))});
    EXPECT_EQ(feeder.deframer.skipped_bytes(), 0u);
}

TEST(Deframer, head_of_a_hello_tells_what_becomes_of_the_whole)
{
    const Bytes good = encoded(client_hello(kTheirs, kOurs));
    std::mt19937 random(3);
    int right = 0;
    for (int round = 0; round < 20'000; ++round) {
        Bytes bytes = good;
        for (unsigned change = 0; change < random() % 3; ++change)
            bytes[4 + random() % (bytes.size() - 4)] = static_cast<std::uint8_t>(random() % 70);
        Message message;
        std::string why;
        const HelloHead whole = decode(bytes, message, why) ? HelloHead::kRight : HelloHead::kWrong;
        ASSERT_EQ(look_at_hello(bytes), whole) << why;
        right += whole == HelloHead::kRight;
        bool told = false;
        for (std::size_t size = 12; size < bytes.size(); ++size) {
            HelloHead head = look_at_hello(std::span(bytes).first(size));
            ASSERT_EQ(head, told || head != HelloHead::kTooShort ? whole : HelloHead::kTooShort) << why << ", " << size;
            told = told || head != HelloHead::kTooShort;
        }
    }
    EXPECT_GT(right, 1000);
}

TEST(Deframer, reset_from_within_the_sink_hunts_through_the_rest)
{
    Bytes bytes = answer();
    append(bytes, encoded(NeedKey{1}));
    append(bytes, encoded(Ping{1, 2}));
    append(bytes, encoded(guest_hello(kTheirs, kOurs + 1)));
    append(bytes, encoded(Ping{3, 4}));
    for (std::size_t split = 0; split <= bytes.size(); ++split) {
        Deframer deframer;
        deframer.reset(kOurs);
        std::vector<Bytes> messages;
        auto sink = [&](const Message &message) {
            messages.push_back(encoded(message));
            if (std::holds_alternative<NeedKey>(message))
                deframer.reset(kOurs + 1);
        };
        deframer.feed(std::span(bytes).first(split), sink);
        deframer.feed(std::span(bytes).subspan(split), sink);
        ASSERT_EQ(messages, (std::vector<Bytes>{answer(), encoded(NeedKey{1}), encoded(guest_hello(kTheirs, kOurs + 1)),
                                                encoded(Ping{3, 4})}))
            << "split at " << split;
    }
}

TEST(Deframer, reset_between_feeds_forgets_the_beginning_of_a_message)
{
    Feeder feeder;
    feeder.feed(answer());
    feeder.feed(Bytes{200, 0, 0x11});
    feeder.deframer.reset(kOurs);
    EXPECT_FALSE(feeder.deframer.mid_message());
    feeder.feed(answer());
    feeder.feed(encoded(Ping{1, 2}));
    EXPECT_EQ(feeder.messages.size(), 3u);
}

TEST(Deframer, two_hundred_thousand_mutations_do_no_harm)
{
    std::vector<Bytes> expected;
    Bytes good = conversation(&expected);
    std::mt19937 random(42);
    std::uint64_t messages = 0, broken = 0;
    Deframer deframer;
    for (int round = 0; round < 200'000; ++round) {
        Bytes bytes = good;
        for (unsigned change = 0; change < 1 + random() % 4; ++change) {
            std::size_t at = random() % bytes.size();
            auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
            switch (random() % 4) {
            case 0: bytes[at] = static_cast<std::uint8_t>(random()); break;
            case 1: bytes[at] ^= static_cast<std::uint8_t>(1u << random() % 8); break;
            case 2:
                bytes.erase(here, here + static_cast<std::ptrdiff_t>(
                                             std::min<std::size_t>(random() % 9, bytes.size() - at - 1)));
                break;
            case 3: bytes.insert(here, 1 + random() % 8, static_cast<std::uint8_t>(random())); break;
            }
        }
        deframer.reset(kOurs);
        std::size_t split = random() % bytes.size();
        auto sink = [&](const Message &message) {
            ++messages;
            if (std::holds_alternative<Unknown>(message))
                return;
            Bytes again = encoded(message); // asserts that what was decoded is within the limits
            ASSERT_LE(again.size(), kMaxMessageSize);
        };
        deframer.feed(std::span(bytes).first(split), sink);
        deframer.feed(std::span(bytes).subspan(split), sink);
        broken += deframer.state() == Deframer::State::kBroken;
    }
    EXPECT_GT(messages, 1'000'000u);
    EXPECT_GT(broken, 10'000u);
}

} // namespace
} // namespace spice_overlay::wire::test
