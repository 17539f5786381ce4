// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ladder.h"

#include <algorithm>
#include <functional>

namespace spice_overlay::doctor {

namespace {

constexpr std::uint8_t kBt601 = 6; ///< H.273
constexpr std::uint8_t kBt709 = 1; ///< what films of 720 lines and more are in

constexpr Rung kLadder[] = {
    {"dmabuf", "decoded into memory that the GPU reads", {}, {}},
    {"dmabuf-rgb", "the same, after one conversion to RGB", {}, {}},
    {"shm", "decoded into memory that the compositor copies", {}, {}},
    {"shm-rgb", "the same, after one conversion to RGB", {}, {}},
};

bool is_rgb(std::uint32_t fourcc)
{
    return fourcc == kFourccXrgb8888;
}

/// The rung that a transport belongs to ("linux-dmabuf/YU12"); null: none.
const char *rung_of(const std::string &transport)
{
    if (transport.empty())
        return nullptr;
    const bool rgb = transport.ends_with("/XR24");
    return transport.starts_with("linux-dmabuf") ? (rgb ? "dmabuf-rgb" : "dmabuf") : rgb ? "shm-rgb" : "shm";
}

/// What of the presenter's offer leads to one rung alone. XRGB is always in it: what cannot be shown otherwise is converted.
Transport::Offer narrowed(const Transport::Offer &offer, std::string_view rung)
{
    const bool rgb = rung.ends_with("-rgb");
    Transport::Offer narrow = offer;
    auto others = [rgb](std::uint32_t fourcc) { return is_rgb(fourcc) != rgb; };
    std::erase_if(narrow.dmabuf_fourccs, others);
    if (rung.starts_with("shm")) {
        narrow.dmabuf_fourccs.clear();
        narrow.allocator = Allocator::kNone;
        narrow.device = -1;
    }
    std::erase_if(narrow.fourccs, [rgb](std::uint32_t fourcc) { return rgb && !is_rgb(fourcc); });
    return narrow;
}

std::string why_not(std::string_view rung, const Transport::Offer &offer, const WaylandConnection &connection)
{
    const bool rgb = rung.ends_with("-rgb");
    if (rung.starts_with("dmabuf")) {
        if (offer.dmabuf_fourccs.empty())
            return connection.transport().why_not();
        const auto &formats = offer.dmabuf_fourccs;
        if (std::any_of(formats.begin(), formats.end(), [rgb](std::uint32_t f) { return is_rgb(f) == rgb; }))
            return {};
        return std::string("the compositor takes no ") + (rgb ? "XRGB" : "YUV (YU12 or NV12)")
               + " that is laid out line by line";
    }
    if (rgb || connection.shm_takes(kFourccYu12) || connection.shm_takes(kFourccNv12))
        return {};
    return "the compositor takes no YUV in shared memory (wl_shm): use one that draws by OpenGL, as Weston with "
           "--renderer=gl";
}

std::string why_not_codec(const Decoder &decoder, wire::Codec codec)
{
    if (!decoder.why_not.empty())
        return decoder.why_not;
    const auto &codecs = decoder.codecs;
    if (std::any_of(codecs.begin(), codecs.end(), [codec](const Decoder::Codec &c) { return c.codec == codec; }))
        return {};
    return std::string("FFmpeg decodes no ") + name(codec) + " here: install libavcodec with it ("
           + (codec == wire::Codec::kAv1 ? "libdav1d" : "Debian's libavcodec has it") + ")";
}

/// What processors copy of each frame once it is decoded.
void count_copies(Performance &performance, const Clip &clip)
{
    if (performance.transport.empty())
        return;
    const bool rgb = performance.transport.ends_with("/XR24");
    const std::uint64_t pixels = std::uint64_t{clip.width} * clip.height;
    const std::uint64_t bytes = rgb ? pixels * 4 : pixels * 3 / 2;
    auto add = [&performance, bytes](const char *where) {
        performance.copied_bytes += bytes;
        performance.copied_where += (performance.copied_where.empty() ? "" : ", ") + std::string(where);
    };
    if (rgb)
        add("the decoder converts");
    if (performance.transport.starts_with("wl_shm"))
        add("the compositor uploads");
}

Verdict verdict_of(const Performance &performance)
{
    if (!performance.shown())
        return Verdict::kDoesNotWork;
    if (performance.copied_bytes > 0)
        return Verdict::kWorks;
    // The first frames may come before the compositor has found a plane.
    return performance.zero_copy > 0 ? Verdict::kZeroCopy : Verdict::kNoCpuCopy;
}

} // namespace

void climb(Report &report, WaylandConnection *connection, Theatre *theatre, const std::string &decoder_program)
{
    const Transport::Offer offer = connection ? connection->transport().offer() : Transport::Offer{};
    const std::vector<Clip> all = clips();
    auto play = [&](const Clip &clip, std::uint8_t matrix, const Transport::Offer &what) {
        Performance performance = theatre->play({decoder_program, clip, matrix, what});
        count_copies(performance, clip);
        return performance;
    };

    for (Rung rung : kLadder) {
        rung.why_not = connection ? why_not(rung.name, offer, *connection) : report.why_no_compositor;
        const Clip &clip = all.front();
        if (rung.why_not.empty() && theatre && why_not_codec(report.machine.decoder, clip.codec).empty()) {
            rung.performance = play(clip, kBt601, narrowed(offer, rung.name));
            const char *taken = rung_of(rung.performance->transport);
            if (!rung.performance->problem.empty())
                rung.why_not = rung.performance->problem;
            else if (taken && std::string_view(taken) != rung.name)
                rung.why_not = "frames went by " + rung.performance->transport + " instead: "
                               + (connection->transport().why_not().empty() ? "the decoder gave nothing else"
                                                                            : connection->transport().why_not());
        }
        report.ladder.push_back(std::move(rung));
    }

    for (const Clip &clip : all) {
        Stream stream{clip.codec, clip.width, clip.height, {}, {}, {}};
        std::string problem = why_not_codec(report.machine.decoder, clip.codec);
        if (problem.empty() && theatre) {
            stream.performance = play(clip, kBt709, offer);
            problem = stream.performance->problem;
            if (const char *taken = rung_of(stream.performance->transport))
                stream.rung = taken;
        } else if (problem.empty() && connection) { // not tried: what is to be expected
            const auto best = std::find_if(report.ladder.begin(), report.ladder.end(), [](const Rung &r) {
                return r.why_not.empty() && std::string_view(r.name).ends_with("-rgb");
            });
            stream.rung = best == report.ladder.end() ? "" : best->name;
        }
        for (const Rung &rung : report.ladder) {
            if (rung.name == stream.rung)
                break;
            stream.passed_over.emplace_back(
                rung.name,
                !problem.empty() ? problem
                : !rung.why_not.empty()
                    ? rung.why_not
                    : "films are in BT.709, and the compositor cannot be told (color-representation): it would show "
                      "them in wrong colours");
        }
        report.streams.push_back(std::move(stream));
    }
    for (const Stream &stream : report.streams)
        if (stream.codec == wire::Codec::kH264 && stream.height == 1080 && stream.performance)
            report.verdict = verdict_of(*stream.performance);
}

} // namespace spice_overlay::doctor
