// SPDX-License-Identifier: LGPL-2.1-or-later
#include "statistics_json.h"

#include <algorithm>
#include <cstdio>

namespace spice_overlay {

namespace {

std::string number(double value)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", value);
    return text;
}

std::string quoted(std::string text)
{
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' '; },
        '\'');
    return "\"" + text + "\"";
}

template <typename List, typename F>
std::string array(const List &list, F item)
{
    std::string text;
    for (const auto &element : list)
        text += (text.empty() ? "" : ", ") + item(element);
    return "[" + text + "]";
}

std::string stream(const StreamFacts &s)
{
    const auto passed = [](const std::pair<std::string, std::string> &p) {
        return "{\"rung\": " + quoted(p.first) + ", \"why_not\": " + quoted(p.second) + "}";
    };
    return "{\"stream\": " + std::to_string(s.stream) + ", \"codec\": " + quoted(wire::name(s.codec))
           + ", \"width\": " + std::to_string(s.width) + ", \"height\": " + std::to_string(s.height)
           + ", \"frames_decoded\": " + std::to_string(s.frames) + ", \"placement\": " + quoted(name(s.placement))
           + ", \"transport\": " + quoted(s.transport) + ", \"memory\": " + quoted(s.memory)
           + ", \"rung\": " + quoted(s.rung) + ", \"passed_over\": " + array(s.passed_over, passed)
           + ", \"copied_bytes_a_frame\": {\"decoder\": " + std::to_string(s.copies.by_decoder)
           + ", \"compositor\": " + std::to_string(s.copies.by_compositor) + "}}";
}

std::string percentiles(const DurationHistogram &h)
{
    return "{\"count\": " + std::to_string(h.count()) + ", \"p50\": " + number(h.percentile(50)) +
           ", \"p95\": " + number(h.percentile(95)) + ", \"p99\": " + number(h.percentile(99)) + "}";
}

} // namespace

std::string to_json(const Statistics &s, std::span<const StreamFacts> streams, double frames_a_second,
                    const Session::Counters &session, std::uint64_t desktop_pixels_copied,
                    const DurationHistogram &main_loop)
{
    std::string json;
    auto member = [&json](const char *name, const std::string &value) {
        json += (json.empty() ? "\"" : ", \"") + std::string(name) + "\": " + value;
    };
    auto count = [&member](const char *name, std::uint64_t value) { member(name, std::to_string(value)); };

    count("frames_decoded", s.frames_decoded);
    count("frames_committed", s.frames_committed);
    count("frames_presented", s.frames_presented);
    count("frames_dropped_late", s.frames_dropped_late);
    count("frames_while_hidden", s.frames_while_hidden);
    member("frames_a_second", number(frames_a_second));
    member("streams", array(streams, stream));
    member("presentation", "{\"measured\": " + std::to_string(s.presentation.measured) + ", \"vsync\": "
                               + std::to_string(s.presentation.vsync) + ", \"hw_clock\": "
                               + std::to_string(s.presentation.hw_clock) + ", \"hw_completion\": "
                               + std::to_string(s.presentation.hw_completion) + ", \"zero_copy\": "
                               + std::to_string(s.presentation.zero_copy) + "}");
    member("transport", quoted(s.transport));
    if (!s.why_not_dmabuf.empty())
        member("why_not_dmabuf", quoted(s.why_not_dmabuf));
    member("decoder", quoted(s.decoder));
    if (!s.why_not_hardware.empty())
        member("why_not_hardware", quoted(s.why_not_hardware));
    std::string placements;
    auto placement = [&placements](const char *name, std::uint64_t times) {
        if (times)
            placements += (placements.empty() ? "\"" : ", \"") + std::string(name) + "\": " + std::to_string(times);
    };
    placement("above", s.placed_above);
    placement("below", s.placed_below);
    placement("hidden", s.placed_hidden);
    member("placements", "{" + placements + "}");
    count("geometry_transactions", s.geometry_transactions);
    count("streams_opened", s.streams_opened);
    count("decoder_restarts", s.decoder_restarts);
    if (!s.decoder_failed.empty())
        member("decoder_failed", quoted(s.decoder_failed));
    member("latency_ms", "{\"receipt_to_commit\": " + percentiles(s.receipt_to_commit)
                             + ", \"receipt_to_presentation\": " + percentiles(s.receipt_to_presentation)
                             + ", \"decode\": " + percentiles(s.decode)
                             + ", \"ready_to_commit\": " + percentiles(s.ready_to_commit)
                             + ", \"resumption\": " + percentiles(s.resumption) + "}");
    count("wire_bytes", session.wire_bytes);
    count("bitstream_bytes", session.bitstream_bytes);
    count("access_units", session.access_units);
    count("geometry_messages", session.geometry_messages);
    count("protocol_errors", session.protocol_errors);
    count("stale_units", session.stale_units);
    count("max_in_flight", session.max_in_flight);
    count("desktop_pixels_copied", desktop_pixels_copied);
    member("main_loop_ms", percentiles(main_loop));
    return json;
}

} // namespace spice_overlay
