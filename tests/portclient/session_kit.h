// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/session.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace spice_overlay::test {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1000 * kMs;
inline constexpr std::uint64_t kClientNonce = 0xc11e;
inline constexpr std::uint64_t kGuestNonce = 0x9e57;

inline wire::Hello client_hello()
{
    wire::Hello hello;
    hello.max_streams = 3;
    hello.name = "test client";
    hello.codecs = {{wire::Codec::kH264, 0, 100, 51, 4096, 2304}, {wire::Codec::kMjpeg, 0, -1, -1, 0, 0}};
    return hello;
}

inline wire::Hello guest_hello(std::uint64_t peer_nonce)
{
    wire::Hello hello;
    hello.nonce = kGuestNonce;
    hello.peer_nonce = peer_nonce;
    hello.name = "test guest";
    return hello;
}

inline wire::StreamOpen h264(std::uint32_t stream)
{
    wire::StreamOpen open;
    open.stream = stream;
    open.profile = 100;
    open.level = 40;
    open.coded_width = 1920;
    open.coded_height = 1080;
    return open;
}

inline wire::Geometry geometry(std::uint32_t stream, std::uint32_t serial)
{
    wire::Geometry g;
    g.stream = stream;
    g.serial = serial;
    g.target = {10, 20, 640, 360};
    g.visible = {{10, 20, 640, 360}};
    return g;
}

/// A session and what it does: each event as a line of text, each message that it sends.
class Bench : public Session::Listener {
public:
    explicit Bench(wire::Hello hello = client_hello()) : session(std::move(hello), *this) {}

    /// The port opens and the guest answers.
    void establish()
    {
        session.port_opened(now, kClientNonce);
        from_guest(guest_hello(kClientNonce));
    }

    void from_guest(const wire::Message &message)
    {
        Bytes bytes;
        wire::encode(message, bytes);
        session.feed(bytes, now);
    }

    /// A whole unit of `size` bytes, its first byte telling the serial.
    void unit(std::uint32_t stream, std::uint32_t serial, std::size_t size = 100, std::uint16_t flags = 0,
              std::uint32_t epoch = 0)
    {
        Bytes data(size, static_cast<std::uint8_t>(serial)), bytes;
        std::vector<std::size_t> ends;
        wire::encode_access_unit(
            {.stream = stream, .serial = serial, .epoch = epoch, .flags = flags, .pts = now, .data = data}, bytes,
            ends);
        session.feed(bytes, now);
    }

    /// What was sent of this type since the last call, and forgets it; other messages are kept.
    template <typename M>
    std::vector<M> sent()
    {
        std::vector<M> found;
        std::erase_if(messages, [&](const wire::Message &message) {
            const M *m = std::get_if<M>(&message);
            if (m)
                found.push_back(*m);
            return m != nullptr;
        });
        return found;
    }

    std::vector<std::string> take_events() { return std::exchange(events, {}); }

    // Session::Listener
    wire::Reason open(const wire::StreamOpen &stream) override
    {
        note("open", stream.stream, std::to_string(stream.coded_width) + "x" + std::to_string(stream.coded_height));
        return on_open ? on_open(stream) : wire::Reason::kNone;
    }
    void geometry(const wire::Geometry &g) override
    {
        note("geometry", g.stream, std::to_string(g.serial) + " with " + std::to_string(g.visible.size()));
    }
    void access_unit(const wire::AccessUnit &u) override
    {
        std::uint32_t sum = 0;
        for (std::uint8_t byte : u.data) // every byte is read, so that a sanitizer sees one that is gone
            sum = sum * 31 + byte;
        note("unit", u.stream,
             std::to_string(u.serial) + " epoch " + std::to_string(u.epoch) + " flags " + std::to_string(u.flags) +
                 " pts " + std::to_string(u.pts) + " size " + std::to_string(u.data.size()) + " sum " +
                 std::to_string(sum));
        if (on_unit)
            on_unit(u);
    }
    void play_state(const wire::PlayState &s) override
    {
        note("play state", s.stream,
             "epoch " + std::to_string(s.epoch) + (s.mode == wire::PlayMode::kPaused ? " paused" : " playing"));
    }
    void close(std::uint32_t stream, wire::Reason reason) override { note("close", stream, wire::describe(reason)); }
    void transmit(std::span<const std::uint8_t> bytes) override
    {
        ++transmissions;
        while (!bytes.empty()) {
            std::size_t size = bytes[0] | bytes[1] << 8;
            std::string why;
            wire::Message message;
            if (!wire::decode(bytes.first(size), message, why))
                events.push_back("BAD MESSAGE SENT: " + why);
            messages.push_back(message);
            bytes = bytes.subspan(size);
        }
    }

    Session session;
    std::int64_t now = 1000 * kSecond;
    std::vector<std::string> events;
    std::vector<wire::Message> messages;
    int transmissions = 0;
    std::function<wire::Reason(const wire::StreamOpen &)> on_open;
    std::function<void(const wire::AccessUnit &)> on_unit;

private:
    void note(const char *what, std::uint32_t stream, const std::string &rest)
    {
        events.push_back(std::string(what) + " " + std::to_string(stream) + ": " + rest);
    }
};

} // namespace spice_overlay::test
