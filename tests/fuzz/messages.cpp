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

/// What docs/protocol.md promises of a message that a reader takes, written down a second time.
struct Limits {
    static bool in_range(const wire::Rect &r)
    {
        return r.x >= -32767 && r.x <= 32767 && r.y >= -32767 && r.y <= 32767 && r.width <= 32767 && r.height <= 32767;
    }
    static bool in_range(std::int64_t time) { return std::abs(time) <= std::int64_t{1} << 61; }
    static bool keeps(const wire::Hello &m)
    {
        return (m.role == wire::Role::kGuest || m.role == wire::Role::kClient) && m.nonce != 0 && m.min_version > 0
               && m.min_version <= m.max_version && m.name.size() <= 64 && m.codecs.size() <= 64
               && m.name.find_first_of(std::string("\0\n\x1f\x7f", 4)) == std::string::npos;
    }
    static bool keeps(const wire::StreamOpen &m) { return m.extradata.size() <= 32768; }
    static bool keeps(const wire::AccessUnit &m)
    {
        return !m.data.empty() && m.data.size() <= m.total_size && m.total_size <= 16u << 20 && in_range(m.pts);
    }
    static bool keeps(const wire::AccessUnitChunk &m)
    {
        return !m.data.empty() && m.offset > 0 && std::uint64_t{m.offset} + m.data.size() <= 16u << 20;
    }
    static bool keeps(const wire::Geometry &m)
    {
        const std::uint64_t side = std::uint64_t{8192} << 16;
        return in_range(m.target) && m.visible.size() <= 256
               && std::all_of(m.visible.begin(), m.visible.end(), [](const wire::Rect &r) { return in_range(r); })
               && m.placeholder.value_or(0) <= 0xffffff && std::uint64_t{m.crop.x} + m.crop.width <= side
               && std::uint64_t{m.crop.y} + m.crop.height <= side;
    }
    static bool keeps(const wire::PlayState &m)
    {
        return m.mode == wire::PlayMode::kPlaying || m.mode == wire::PlayMode::kPaused;
    }
    static bool keeps(const wire::ClientState &m) { return m.codecs.size() <= 64; }
    template <typename M>
    static bool keeps(const M &)
    {
        return true;
    }
    template <typename M>
    bool operator()(const M &m) const
    {
        if constexpr (requires { m.stream; })
            if (m.stream == 0)
                return false;
        return keeps(m);
    }
};

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
    require(std::visit(Limits(), message), "what is taken keeps to the limits");
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
