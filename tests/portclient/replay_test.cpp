// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_kit.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

namespace spice_overlay::test {
namespace {

// A session as the client heard it: two conversations, the second after the guest began anew, with noise before each,
// streams of every fate, chunks with geometry between them, flushes, a forged HELLO inside a unit, unknown messages, a
// malformed one at the end. Written by record(); SPICE_OVERLAY_RECORD=1 in the environment writes the files anew.
const std::string kRecording = DATA_DIR "/session.bin";
const std::string kEvents = DATA_DIR "/session.events";

class Recording {
public:
    Bytes bytes;

    void add(const wire::Message &message) { wire::encode(message, bytes); }

    void noise(std::size_t size)
    {
        for (std::size_t i = 0; i < size; ++i)
            bytes.push_back(static_cast<std::uint8_t>(random_()));
    }

    void unit(std::uint32_t stream, std::uint32_t serial, std::uint32_t epoch, std::uint16_t flags, std::size_t size,
              wire::UnitReference &previous)
    {
        Bytes data(size), messages;
        for (auto &byte : data)
            byte = static_cast<std::uint8_t>(random_());
        if (size > 200) { // what a hunting side would fall for
            Bytes forged;
            wire::encode(guest_hello(0), forged);
            std::copy(forged.begin(), forged.end(), data.begin() + 100);
        }
        std::vector<std::size_t> ends;
        wire::encode_access_unit({.stream = stream, .serial = serial, .epoch = epoch, .flags = flags,
                                  .pts = 1'000'000'000 + serial * 33'333'333ll, .data = data},
                                 messages, ends, &previous);
        std::size_t start = 0;
        for (std::size_t end : ends) {
            bytes.insert(bytes.end(), messages.begin() + static_cast<std::ptrdiff_t>(start),
                         messages.begin() + static_cast<std::ptrdiff_t>(end));
            if (end != messages.size())
                add(geometry(stream, ++geometry_serial_));
            start = end;
        }
    }

private:
    std::mt19937 random_{2026};
    std::uint32_t geometry_serial_ = 10;
};

Bytes record()
{
    Recording r;
    r.noise(500);
    r.add(guest_hello(0));
    r.noise(100);
    r.add(guest_hello(kClientNonce));
    r.add(wire::Ping{1, 1});
    r.add(geometry(1, 1));
    r.add(geometry(2, 1));
    r.add(h264(1));
    wire::StreamOpen refused = h264(3);
    refused.codec = wire::Codec::kAv1;
    r.add(refused);
    r.add(h264(2));
    wire::UnitReference one, two;
    for (std::uint32_t i = 0; i < 20; ++i) {
        r.unit(1, i, 0, i % 10 == 0 ? wire::kKey : wire::kDroppable, i % 10 == 0 ? 5000 : 300, one);
        if (i % 2)
            r.unit(2, i / 2, 0, wire::kKey, i == 9 ? 70'000 : 150, two);
    }
    r.bytes.insert(r.bytes.end(), {6, 0, 0x70, 0, 1, 2}); // a type of a later version
    r.add(wire::PlayState{1, 1, wire::PlayMode::kPlaying});
    r.unit(1, 20, 0, 0, 100, one); // overtaken by the flush
    r.unit(1, 21, 1, wire::kKey | wire::kDiscontinuity, 400, one);
    r.unit(2, 12, 0, 0, 100, two); // a serial too many: the stream is closed
    r.unit(2, 13, 0, 0, 100, two);
    r.add(wire::PlayState{1, 1, wire::PlayMode::kPaused});
    r.add(wire::StreamClose{1, wire::Reason::kEndOfStream});
    r.add(h264(1)); // used
    r.add(h264(9));

    wire::Hello anew = guest_hello(0);
    anew.nonce = kGuestNonce + 1;
    r.add(anew);
    r.add(h264(10)); // too early
    anew.peer_nonce = kClientNonce;
    r.add(anew);
    wire::UnitReference again;
    r.add(h264(1));
    r.unit(1, 0, 0, wire::kKey, 1000, again);
    r.bytes.insert(r.bytes.end(), {8, 0, 0x24, 1, 1, 0, 0, 0}); // NEED_KEY with a flag: malformed
    r.unit(1, 1, 0, 0, 100, again);
    return r.bytes;
}

Bytes contents(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << "cannot open " << path;
    return {std::istreambuf_iterator<char>(file), {}};
}

/// What the listener sees when the bytes come in pieces of sizes that `next_size` gives; the decoder answers at once.
std::string replay(const Bytes &bytes, const std::function<std::size_t()> &next_size)
{
    Bench bench;
    bench.on_unit = [&](const wire::AccessUnit &unit) { bench.session.units_done(unit.stream, 1, bench.now); };
    bench.session.port_opened(bench.now, kClientNonce);
    for (std::size_t at = 0; at < bytes.size();) {
        std::size_t size = std::min(next_size(), bytes.size() - at);
        bench.session.feed(std::span(bytes).subspan(at, size), bench.now);
        at += size;
    }
    std::string text;
    for (const auto &event : bench.events)
        text += event + "\n";
    const auto &c = bench.session.counters();
    for (auto [name, value] : {std::pair{"wire bytes", c.wire_bytes},
                               {"bitstream bytes", c.bitstream_bytes},
                               {"access units", c.access_units},
                               {"geometry messages", c.geometry_messages},
                               {"stale units", c.stale_units},
                               {"protocol errors", c.protocol_errors},
                               {"restarts", c.restarts}})
        text += std::string(name) + ": " + std::to_string(value) + "\n";
    for (const auto &message : bench.messages) {
        Bytes sent;
        wire::encode(message, sent);
        text += std::string("sent ") + wire::name(static_cast<wire::Type>(sent[2])) + "\n";
    }
    return text;
}

TEST(Replay, recorded_session_gives_the_same_events_however_it_is_cut)
{
    if (std::getenv("SPICE_OVERLAY_RECORD")) {
        Bytes bytes = record();
        std::ofstream(kRecording, std::ios::binary)
            .write(reinterpret_cast<const char *>(bytes.data()), static_cast<long>(bytes.size()));
        std::ofstream(kEvents) << replay(bytes, [&] { return bytes.size(); });
    }
    Bytes bytes = contents(kRecording);
    Bytes text = contents(kEvents);
    std::string expected(text.begin(), text.end());
    ASSERT_EQ(bytes, record()) << "the encoder no longer writes what was recorded: is it still version 1?";
    EXPECT_EQ(replay(bytes, [&] { return bytes.size(); }), expected) << "fed whole";
    EXPECT_EQ(replay(bytes, [] { return 1; }), expected) << "byte by byte";
    EXPECT_EQ(replay(bytes, [] { return 65'536; }), expected) << "as a server reads";
    for (unsigned seed = 0; seed < 100; ++seed) {
        std::mt19937 random(seed);
        std::size_t most = std::size_t{1} << (1 + seed % 14);
        ASSERT_EQ(replay(bytes, [&] { return 1 + random() % most; }), expected) << "random pieces, seed " << seed;
    }
}

} // namespace
} // namespace spice_overlay::test
