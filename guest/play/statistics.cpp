// SPDX-License-Identifier: LGPL-2.1-or-later
#include "statistics.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace spice_overlay::guest {

std::string json_quoted(const std::string &text)
{
    std::string out = "\"";
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", byte);
            out += escape;
        } else {
            out += c;
        }
    }
    return out + '"';
}

namespace {

std::string member(const char *name, std::uint64_t value)
{
    return json_quoted(name) + ": " + std::to_string(value);
}

std::string counters(const Track::Totals &t)
{
    return member("frames_sent", t.sent.sent) + ", " + member("frames_dropped", t.sent.dropped) + ", "
           + member("key_frames", t.sent.keys) + ", " + member("bitstream_bytes", t.sent.bytes) + ", "
           + member("frames_presented", t.presented) + ", " + member("frames_late", t.late) + ", "
           + member("streams_opened", t.streams) + ", " + member("seeks", t.seeks) + ", "
           + member("key_requests", t.key_requests) + ", \"rejected\": [";
}

std::string reasons(const Track::Totals &t)
{
    std::string out;
    for (wire::Reason reason : t.rejected)
        out += (out.empty() ? "" : ", ") + json_quoted(wire::describe(reason));
    return out;
}

} // namespace

std::string statistics_json(const Player &player)
{
    Track::Totals all;
    std::string streams;
    for (const Track &track : player.tracks()) {
        Track::Totals t = track.totals();
        all.sent.sent += t.sent.sent;
        all.sent.dropped += t.sent.dropped;
        all.sent.keys += t.sent.keys;
        all.sent.bytes += t.sent.bytes;
        all.presented += t.presented;
        all.late += t.late;
        all.streams += t.streams;
        all.seeks += t.seeks;
        all.key_requests += t.key_requests;
        all.rejected.insert(all.rejected.end(), t.rejected.begin(), t.rejected.end());
        streams += (streams.empty() ? "" : ", ") + std::string("{") + json_quoted("file") + ": " + json_quoted(track.name())
                   + ", " + json_quoted("codec") + ": " + json_quoted(wire::name(track.source().description().codec)) + ", "
                   + counters(t) + reasons(t) + "]}";
    }
    return "{" + counters(all) + reasons(all) + "], " + member("wire_bytes", player.counters().wire_bytes) + ", "
           + member("reconnects", player.counters().reconnects) + ", "
           + member("port_losses", player.counters().port_losses) + ", "
           + member("protocol_errors", player.counters().protocol_errors) + ", \"streams\": [" + streams + "]}\n";
}

Status write_file(const std::string &path, const std::string &text)
{
    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "we"));
    if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() || std::fflush(file.get()) != 0)
        return Error{path + ": cannot be written: " + std::strerror(errno)};
    return Success{};
}

} // namespace spice_overlay::guest
