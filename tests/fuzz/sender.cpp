// SPDX-License-Identifier: LGPL-2.1-or-later
// Units on their way out of a guest, without a relay or a port: what is seen in them, what is kept of them, what is sent and what left out.
#include "guest/agentd/unit_cache.h"
#include "guest/conversation/outbox.h"
#include "guest/conversation/stream_sender.h"
#include "input.h"

#include <deque>

namespace spice_overlay::fuzz {
namespace {

std::size_t size_of_unit(std::uint8_t choice)
{
    return choice >= 0xfc ? wire::kChunkPayload + 1 : choice == 0xfb ? 0 : 1u + choice % 64;
}

/// A stream's units on their way out, and what goes before them: more than any player can send, units of nothing among it.
void send(Input &in)
{
    guest::StreamSender sender(1);
    guest::Outbox outbox;
    std::int64_t now = 0;
    std::uint64_t granted = 0;
    std::uint64_t granted_units = 0;
    std::uint64_t pushed = 0;
    for (int steps = 0; steps < 24 && !in.empty(); ++steps) {
        const std::uint8_t choice = in.byte();
        switch (choice % 8) {
        case 0:
        case 1: {
            guest::Unit unit;
            unit.key = choice & 8;
            unit.droppable = !unit.key && choice & 16;
            unit.discontinuity = choice >= 0xf0;
            unit.data.resize(size_of_unit(in.byte()));
            if (sender.has_room()) {
                sender.push(std::move(unit), choice >= 0xe0 ? in.number<std::int64_t>() % (wire::kMaxTime + 1) : now,
                            now);
                ++pushed;
            }
            break;
        }
        case 2: {
            const std::uint64_t bytes = in.number<std::uint16_t>();
            const std::uint8_t units = in.byte();
            granted = std::max(granted, bytes);
            granted_units = std::max<std::uint64_t>(granted_units, units);
            sender.grant(bytes, units);
            break;
        }
        case 3:
            now += choice * 10 * kMs;
            sender.settle(now);
            break;
        case 4:
            if (choice >= 0x80)
                sender.flush(choice);
            else
                sender.restart_at_key();
            break;
        case 5: {
            wire::Geometry geometry;
            geometry.stream = 1 + (choice >> 3) % 2u;
            outbox.control(choice >= 0x80 ? wire::Message(geometry) : wire::Message(wire::Ping{}));
            if (choice == 0xfd)
                outbox.forget();
            break;
        }
        default: {
            const auto data = outbox.front([&](Bytes &out) { return sender.next_message(out); });
            outbox.wrote(choice >= 0xc0 ? std::min<std::size_t>(data.size(), choice / 8) : data.size());
        }
        }
        require(outbox.has_control() == (outbox.control_bytes() > 0), "what waits is counted");
        const auto &counters = sender.counters();
        require(counters.bytes <= granted && counters.sent <= granted_units, "no more is sent than was granted");
        require(counters.sent + counters.dropped <= pushed, "each unit is sent or left out, once");
        require(sender.units_waiting() > 0 || sender.deadline() < 0, "who waits for nothing needs no time");
        require(!sender.idle() || sender.bytes_held() == 0, "who is idle has nothing left");
        require(sender.bytes_held() >= sender.bytes_waiting(), "what waits is held");
        require(sender.has_room() || sender.units_waiting() > 0, "who waits for nothing takes a unit of any size");
    }
}

/// Two caches of one player, whose memory is little.
void keep(Input &in)
{
    constexpr std::size_t kOwn = 400;
    constexpr std::size_t kPlayer = 600;
    static const Bytes data(256, 0xda);
    guest::MemoryBudget player{kPlayer};
    guest::MemoryBudget all{2 * kPlayer};
    {
        guest::UnitCache one(kOwn, player, all);
        guest::UnitCache other(kOwn, player, all);
        std::uint64_t added[2] = {};
        for (int steps = 0; steps < 24 && !in.empty(); ++steps) {
            const std::uint8_t choice = in.byte();
            guest::UnitCache &cache = choice % 2 ? one : other;
            if (choice >= 0xf0) {
                cache.clear();
            } else {
                wire::AccessUnit unit;
                unit.flags = choice / 2 % 8;
                unit.data = std::span(data).first(choice / 16 * 16u);
                unit.pts = choice;
                cache.add(unit);
                ++added[choice % 2];
                require(cache.empty() || cache.at(cache.end() - 1).data.size() == unit.data.size(),
                        "the newest unit is the last");
            }
            require(cache.end() == added[choice % 2] && cache.begin() <= cache.end(), "every unit is counted");
            require(cache.empty() || cache.at(cache.begin()).key, "what is kept begins with a key unit");
            require(one.bytes() <= kOwn && other.bytes() <= kOwn, "a cache keeps to its own limit");
            require(one.bytes() + other.bytes() == kPlayer - player.left && player.left + kPlayer == all.left,
                    "all memory is counted");
        }
    }
    require(player.left == kPlayer && all.left == 2 * kPlayer, "caches take their memory along");
}

/// Units and parameter sets of any bytes.
void look(Input &in)
{
    const std::uint8_t choice = in.byte();
    const auto codec = static_cast<wire::Codec>(choice % 8);
    const Bytes sets = in.bytes(choice / 8);
    guest::AccessUnitInspector inspector(codec, sets);
    for (int units = 0; units < 3 && !in.empty(); ++units) {
        const Bytes unit = in.bytes(in.byte() % 64u);
        const bool droppable = inspector.droppable(unit);
        require(!droppable || (codec != wire::Codec::kVp8 && codec != wire::Codec::kVp9 && codec != wire::Codec::kAv1),
                "what hands on probabilities is not left out");
        const auto missing = inspector.missing_parameter_sets(unit);
        require(!missing || *missing <= unit.size(), "parameter sets belong into the unit");
    }
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    switch (in.byte() % 4) {
    case 0:
        keep(in);
        break;
    case 1:
        look(in);
        break;
    default:
        send(in);
    }
    return 0;
}
