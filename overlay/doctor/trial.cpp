// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include <algorithm>
#include <functional>

namespace spice_overlay::doctor {

namespace {

constexpr std::uint8_t kBt601 = 6; ///< H.273
constexpr std::uint8_t kBt709 = 1; ///< what films of 720 lines and more are in

bool is_rgb(std::uint32_t fourcc)
{
    return fourcc == kFourccXrgb8888;
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

Verdict verdict_of(const Performance &performance)
{
    if (!performance.shown())
        return Verdict::kDoesNotWork;
    if (performance.copies.bytes() > 0)
        return Verdict::kWorks;
    // The first frames may come before the compositor has found a plane.
    return performance.zero_copy > 0 ? Verdict::kZeroCopy : Verdict::kNoCpuCopy;
}

/// With no compositor every rung is out of reach for one reason.
std::vector<Rung> rungs_of(WaylandConnection *connection, const std::string &why_no_compositor)
{
    if (connection)
        return ladder(*connection);
    return {{"dmabuf", "", why_no_compositor},
            {"dmabuf-rgb", "", why_no_compositor},
            {"shm", "", why_no_compositor},
            {"shm-rgb", "", why_no_compositor}};
}

} // namespace

void climb(Report &report, WaylandConnection *connection, Theatre *theatre, const std::string &decoder_program)
{
    const std::vector<Clip> all = clips();
    const Transport::Offer offer = connection ? connection->transport().offer() : Transport::Offer{};

    for (Rung &rung : rungs_of(connection, report.why_no_compositor)) {
        Tried tried{std::move(rung), {}};
        const Clip &clip = all.front();
        if (tried.rung.why_not.empty() && theatre && why_not_codec(report.machine.decoder, clip.codec).empty()) {
            const Performance played = theatre->play({decoder_program, clip, kBt601, narrowed(offer, tried.rung.name)});
            if (!played.problem.empty())
                tried.rung.why_not = played.problem;
            else if (!played.rung.empty() && played.rung != tried.rung.name)
                tried.rung.why_not = "frames went by " + played.transport + ": " + connection->transport().why_not();
            tried.performance = played;
        }
        report.ladder.push_back(std::move(tried));
    }

    for (const Clip &clip : all) {
        Stream stream{clip.codec, clip.width, clip.height, {}, {}, {}};
        std::string problem = why_not_codec(report.machine.decoder, clip.codec);
        if (problem.empty() && theatre) {
            stream.performance = theatre->play({decoder_program, clip, kBt709, offer});
            stream.rung = stream.performance->rung;
            problem = stream.performance->problem;
        } else if (problem.empty() && connection) { // what is to be expected: films in BT.709 are converted
            for (const Tried &tried : report.ladder)
                if (stream.rung.empty() && tried.rung.why_not.empty()
                    && std::string_view(tried.rung.name).ends_with("-rgb"))
                    stream.rung = tried.rung.name;
        }
        for (const Tried &tried : report.ladder) {
            if (tried.rung.name == stream.rung)
                break;
            stream.passed_over.emplace_back(tried.rung.name, !problem.empty()              ? problem
                                                             : !tried.rung.why_not.empty() ? tried.rung.why_not
                                                                                           : kWrongColours);
        }
        report.streams.push_back(std::move(stream));
    }
    for (const Stream &stream : report.streams)
        if (stream.codec == wire::Codec::kH264 && stream.height == 1080 && stream.performance)
            report.verdict = verdict_of(*stream.performance);
}

} // namespace spice_overlay::doctor
