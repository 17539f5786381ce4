// SPDX-License-Identifier: LGPL-2.1-or-later
#include "speaker.h"

namespace spice_overlay::fuzz {

namespace {

/// Of units: the same for all of them, made once.
std::span<const std::uint8_t> unit_data(std::size_t size)
{
    static const Bytes data(65'000, 0xda);
    return std::span(data).first(size);
}

} // namespace

void Speaker::next(Input &in, Bytes &out)
{
    switch (in.byte() % 16) {
    case 0:
        return hello(in, out);
    case 1: {
        const Bytes nonsense = in.bytes(in.byte() % 64u);
        out.insert(out.end(), nonsense.begin(), nonsense.end());
        return;
    }
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        return unit(in, static_cast<std::uint32_t>(in.range(1, static_cast<int>(last_stream_ % 255) + 1)), out);
    default:
        return wire::encode(make(in), out);
    }
}

void Speaker::hello(Input &in, Bytes &out)
{
    wire::Hello hello;
    if (in.rarely(8)) {
        hello.min_version = in.pick<std::uint16_t>({1, 2, 3});
        hello.max_version = static_cast<std::uint16_t>(hello.min_version + in.byte() % 2);
        hello.role = in.pick({wire::Role::kGuest, wire::Role::kClient});
    }
    if (in.rarely(4))
        nonce_ += 1 + in.byte();
    hello.nonce = nonce_;
    hello.peer_nonce = in.rarely(4) ? in.pick<std::uint64_t>({0, 1, peer_nonce - 1}) : peer_nonce;
    hello.name = std::string(in.byte() % 65u, 'x');
    hello.codecs.resize(in.byte() % 4u);
    wire::encode(hello, out);
    streams_.clear();
    last_stream_ = 0;
}

void Speaker::unit(Input &in, std::uint32_t id, Bytes &out)
{
    Stream &s = streams_[id];
    if (s.sent < s.size) {
        if (!in.rarely(8)) { // the next part of the unit under way
            const auto left = std::min<std::uint32_t>(s.size - s.sent, 65'000);
            const auto part = std::min(left, in.pick<std::uint32_t>({left, 1, 1000, 32'000}));
            wire::encode(wire::AccessUnitChunk{id, s.serial - 1, s.sent, unit_data(part)}, out);
            s.sent += part;
            return;
        }
        s.sent = s.size = 0;
    }
    const auto kind = in.byte();
    wire::AccessUnit unit;
    unit.stream = id;
    unit.serial = kind % 32 == 31 ? s.serial + in.byte() : s.serial;
    unit.epoch = kind % 32 == 30 ? s.epoch + in.byte() % 3u - 1 : s.epoch;
    unit.flags = static_cast<std::uint16_t>(in.byte() % 8);
    unit.pts = in.rarely(16) ? std::int64_t{in.number<std::int32_t>()} << 29 : s.serial * std::int64_t{40'000'000};
    const auto size = in.pick<std::uint32_t>({1, 10, 100, 1000, 20'000, 65'000});
    ++s.serial;
    if (kind % 4 == 3) { // it comes in parts
        s.size = unit.total_size =
            size + in.pick<std::uint32_t>({1, 1000, 60'000, 1u << 20, wire::kMaxAccessUnit - 65'000});
        s.sent = size;
        unit.data = unit_data(size);
        s.reference = {true, unit.serial, unit.epoch, unit.pts};
        return wire::encode(unit, out);
    }
    std::vector<std::size_t> ends;
    unit.data = unit_data(size);
    wire::encode_access_unit(unit, out, ends, kind % 4 == 2 ? nullptr : &s.reference);
}

wire::Geometry Speaker::geometry(Input &in, std::uint32_t id)
{
    wire::Geometry g;
    g.stream = id;
    g.serial = ++streams_[id].geometry + (in.rarely(8) ? in.byte() - 2u : 0u);
    auto side = [&] { return static_cast<std::uint32_t>(in.pick({0, 1, 640, wire::kMaxCoordinate})); };
    auto rect = [&] { return wire::Rect{in.range(-100, 2000), in.range(-100, 2000), side(), side()}; };
    g.target = rect();
    if (in.rarely(4))
        g.crop = {in.number<std::uint16_t>(), 0, 1u << 16, in.pick<std::uint32_t>({1, 1u << 16, 1u << 25})};
    if (in.rarely(2))
        g.placeholder = in.number<std::uint32_t>() & 0xffffff;
    g.visible.resize(in.byte() % 4u);
    for (wire::Rect &r : g.visible)
        r = rect();
    return g;
}

wire::Message Speaker::make(Input &in)
{
    const std::uint32_t id = in.rarely(16)
                                 ? std::max(in.number<std::uint32_t>(), 1u)
                                 : static_cast<std::uint32_t>(in.range(1, static_cast<int>(last_stream_ % 255) + 1));
    switch (in.byte() % 8) {
    case 0: {
        wire::StreamOpen open;
        open.stream = in.rarely(8) ? id : ++last_stream_;
        streams_.erase(open.stream);
        open.codec = in.pick({wire::Codec::kH264, wire::Codec::kH264, wire::Codec::kMjpeg, wire::Codec::kAv1});
        open.coded_width = in.pick<std::uint32_t>({640, 1, 0, 8192, 8193, 0xffffffff});
        open.coded_height = in.pick<std::uint32_t>({360, 1, 0, 4096, 8192});
        open.rotation = in.pick<std::uint16_t>({0, 90, 270, 360});
        open.bit_rate = in.pick<std::uint32_t>({0, 1'000'000, 0xffffffff});
        if (in.rarely(8)) {
            open.profile = in.range(-1, 200);
            open.aspect_den = in.byte();
            open.frame_rate_den = in.byte();
            open.colour.full_range = in.byte();
        }
        open.extradata = in.bytes(in.byte() % 8u);
        return open;
    }
    case 1:
    case 2:
        return geometry(in, id);
    case 3: {
        Stream &s = streams_[id];
        const auto epoch = in.rarely(8) ? in.number<std::uint32_t>() : s.epoch + in.byte() % 2;
        if (epoch != s.epoch)
            s.sent = s.size = 0;
        s.epoch = epoch;
        return wire::PlayState{id, epoch, in.pick({wire::PlayMode::kPlaying, wire::PlayMode::kPaused})};
    }
    case 4:
        return wire::StreamClose{id, static_cast<wire::Reason>(in.byte() % 20)};
    case 5: {
        const std::uint8_t choice = in.byte();
        const auto sent = in.number<std::uint64_t>();
        const auto received = in.number<std::uint64_t>();
        const auto replied = in.number<std::uint64_t>();
        if (choice % 8 == 7 || asked.id == 0)
            return wire::Pong{choice % 8u, sent, received, replied};
        return wire::Pong{asked.id, asked.sent, received, choice % 4 ? received + replied % 65536 : replied};
    }
    default:
        return client_message(in, last_stream_); // some of which only a client sends
    }
}

void damage(Input &in, Bytes &bytes, std::size_t from)
{
    if (!in.rarely(16) || bytes.size() == from)
        return;
    const std::size_t at = from + in.number<std::uint16_t>() % std::min<std::size_t>(bytes.size() - from, 256);
    bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ in.byte());
}

wire::Message client_message(Input &in, std::uint32_t streams)
{
    const std::uint32_t id = static_cast<std::uint32_t>(in.range(1, static_cast<int>(streams % 255) + 1));
    const auto reason = static_cast<wire::Reason>(in.byte() % 16);
    switch (in.byte() % 10) {
    case 0:
        return wire::StreamReject{id, reason};
    case 1:
        return wire::StreamClose{id, reason};
    case 2:
        return wire::Feedback{id, in.byte(), in.number<std::uint32_t>(), in.number<std::uint32_t>(), 1, 2};
    case 3:
        return wire::NeedKey{id};
    case 4:
        return wire::Ping{in.byte(), in.number<std::uint64_t>()};
    case 5:
        return wire::Pong{in.byte() % 8u, 1, in.number<std::uint64_t>(), 2};
    case 6:
        return wire::StreamState{id, reason};
    case 7:
        return wire::StreamAccept{id};
    default:
        return wire::Credit{id, in.pick<std::uint64_t>({0, 1000, 1u << 20, ~std::uint64_t{0}}),
                            in.pick<std::uint32_t>({0, 1, 16, ~0u})};
    }
}

} // namespace spice_overlay::fuzz
