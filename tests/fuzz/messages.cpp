// SPDX-License-Identifier: LGPL-2.1-or-later
// The wire's messages alone, one at a time: an execution costs so little that there can be very many.
#include "raw_message.h"

#include "portclient/wire/deframer.h"

namespace spice_overlay::fuzz {
namespace {

/// Whether a reader leaves out nothing of a message that it takes: it does of codecs that it does not know, of what a later version
/// appends to a HELLO, and of a crop that crops nothing.
bool is_read_whole(const wire::Message &message, std::size_t size, std::size_t again)
{
    return size == again
           || !(std::holds_alternative<wire::Hello>(message) || std::holds_alternative<wire::ClientState>(message)
                || std::holds_alternative<wire::Geometry>(message));
}

/// A message of any type and body: what is taken is written again as it was.
void one_message(Input in)
{
    const std::uint8_t number = type(in);
    const std::uint8_t flags = in.byte();
    Bytes raw;
    append_message(number, flags & 0x20 ? flags : flags & kFlagsThatMeanMuch, in.rest(), raw);
    wire::Message message;
    static std::string why; // its memory serves again
    why.clear();
    if (flags >= 0xfe) {
        raw[0] = static_cast<std::uint8_t>(raw[0] + 1 + (flags & 1));
        require(!wire::decode(raw, message, why) && !why.empty(), "a message has the size that it says");
        return;
    }
    if (!wire::decode(raw, message, why))
        return require(!why.empty(), "who refuses a message says why");
    require(why.empty(), "who takes a message has nothing to say");
    if (std::holds_alternative<wire::Unknown>(message))
        return require(std::find(kTypes.begin(), kTypes.end(), static_cast<wire::Type>(number)) == kTypes.end(),
                       "a type that there is, is known");
    Bytes again;
    wire::encode(message, again); // asserts that what was decoded keeps to the limits
    require(again.size() <= raw.size(), "a message is not written longer than it was");
    if (std::holds_alternative<wire::Hello>(message))
        raw[3] = 0; // flags of a later version
    if (is_read_whole(message, raw.size(), again.size()))
        return require(again == raw, "a message is written as it was read");
    wire::Message second;
    Bytes third;
    require(wire::decode(again, second, why), "what is written can be read");
    wire::encode(second, third);
    require(third == again, "what is written is read whole");
}

/// A unit that follows another, whose time may be anywhere.
void follow(Input &in)
{
    const auto time = [&in] { return in.number<std::int64_t>() % (wire::kMaxTime + 1); };
    wire::AccessUnit unit;
    unit.follows = true;
    unit.pts = time();
    wire::UnitReference none;
    require(!wire::resolve(unit, none) && !none.valid, "what follows nothing is refused");
    const wire::UnitReference before{true, in.number<std::uint32_t>(), in.byte(), time()};
    wire::UnitReference after = before;
    if (wire::resolve(unit, after))
        require(after.serial == before.serial + 1 && after.epoch == before.epoch && unit.pts == after.pts
                    && unit.pts >= -wire::kMaxTime && unit.pts <= wire::kMaxTime,
                "a unit follows the one before it");
    else
        require(after.pts == before.pts && after.serial == before.serial, "what is refused changes nothing");
}

/// Every number has a text for people.
void names(Input &in)
{
    const auto first = in.number<std::uint16_t>();
    for (std::uint16_t more = 0; more < 16; ++more) {
        const auto number = static_cast<std::uint16_t>(first + more);
        require(*wire::describe(static_cast<wire::Reason>(number)) && *wire::name(static_cast<wire::Codec>(number))
                    && *wire::name(static_cast<wire::Type>(number)),
                "every number has a text");
    }
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    Input in(data, size);
    switch (in.byte()) {
    case 0xff:
        names(in);
        break;
    case 0xfe:
        follow(in);
        break;
    default:
        one_message(Input(data, size));
    }
    return 0;
}
