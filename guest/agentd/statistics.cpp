// SPDX-License-Identifier: LGPL-2.1-or-later
#include "statistics.h"

namespace spice_overlay::guest {
namespace {

std::string member(const char *name, std::uint64_t value)
{
    return std::string("\"") + name + "\": " + std::to_string(value);
}

std::string member(const char *name, const char *text)
{
    return std::string("\"") + name + "\": \"" + text + "\"";
}

std::string counters(const RelayedStream::Counters &c)
{
    return member("units", c.units) + ", " + member("sent", c.sent.sent) + ", " + member("dropped", c.sent.dropped)
           + ", " + member("keys", c.sent.keys) + ", " + member("bytes", c.sent.bytes) + ", "
           + member("presented", c.presented) + ", " + member("late", c.late) + ", " + member("replays", c.replays)
           + ", " + member("offers", c.offers) + ", " + member("key_requests", c.key_requests);
}

std::string describe(const RelayedStream &stream)
{
    const wire::StreamOpen &open = stream.description();
    return "{" + member("codec", wire::name(open.codec)) + ", " + member("width", open.coded_width) + ", "
           + member("height", open.coded_height) + ", "
           + member("state", stream.shown() ? "redirected" : wire::describe(stream.told())) + ", "
           + member("kept_bytes", stream.cache().bytes()) + ", " + counters(stream.counters()) + "}";
}

} // namespace

std::string statistics_json(const Relay &relay, const Conversation::Counters &port, std::size_t players)
{
    std::string streams;
    for (const auto &stream : relay.streams())
        streams += (streams.empty() ? "" : ", ") + describe(*stream);
    wire::Reason absent = relay.client_absent();
    return "{" + member("client", absent == wire::Reason::kNone ? "connected" : wire::describe(absent)) + ", "
           + member("players", players) + ", " + counters(relay.totals()) + ", "
           + member("kept_bytes", relay.memory_used()) + ", " + member("in_flight", relay.in_flight()) + ", "
           + member("max_in_flight", relay.max_in_flight()) + ", " + member("wire_bytes", port.wire_bytes) + ", "
           + member("reconnects", port.reconnects) + ", " + member("port_losses", port.port_losses) + ", "
           + member("protocol_errors", port.protocol_errors) + ", " + member("stalls", port.stalls) + ", \"streams\": ["
           + streams + "]}\n";
}

} // namespace spice_overlay::guest
