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

bool is_gpu(std::string_view rung)
{
    return rung.starts_with("gpu");
}

/// With no compositor every rung is out of reach for one reason.
std::vector<Rung> rungs_below_gpu(WaylandConnection *connection, const std::string &why_no_compositor)
{
    if (connection)
        return ladder(*connection);
    std::vector<Rung> rungs;
    for (const char *name : {"dmabuf", "dmabuf-rgb", "shm", "shm-rgb"})
        rungs.push_back({name, "", why_no_compositor});
    return rungs;
}

/// All that is needed to play clips.
struct Player {
    Theatre &theatre;
    WaylandConnection &connection;
    const std::string &decoder_program;
    Transport::Offer offer;

    /// As the viewer would: by a GPU that may, and in software when it fails.
    [[nodiscard]] Performance as_viewer(const Clip &clip, std::uint8_t matrix) const
    {
        Transport &transport = connection.transport();
        Performance played = theatre.play({decoder_program, clip, matrix, offer, transport.hardware(clip.codec)});
        if (played.problem.empty() || transport.hardware(clip.codec).use == ipc::HardwareUse::kNever)
            return played;
        transport.refuse_hardware(clip.codec, played.problem);
        return theatre.play({decoder_program, clip, matrix, offer, transport.hardware(clip.codec)});
    }
    /// By a GPU or not at all, on one of its rungs alone: what it converts to is RGB, what it decodes into never is.
    [[nodiscard]] Performance by_gpu(const Clip &clip, bool processed) const
    {
        Transport::Hardware hardware = connection.transport().hardware(clip.codec);
        FormatSet surfaces;
        for (const auto &[fourcc, modifier] : hardware.surfaces.entries())
            if (is_rgb(fourcc) == processed)
                surfaces.add(fourcc, modifier);
        hardware.surfaces = std::move(surfaces);
        return theatre.play({decoder_program, clip, kBt601, offer, std::move(hardware)});
    }
    [[nodiscard]] Performance on_rung(const Clip &clip, const char *rung) const
    {
        return theatre.play({decoder_program, clip, kBt601, narrowed(offer, rung), {}});
    }
};

/// Any codec will do.
Tried try_gpu(const Player &player, const std::vector<Clip> &all, bool processed)
{
    Tried tried{gpu_rung(processed), {}};
    std::string why;
    for (const Clip &clip : all) {
        if (clip.height != 1080 || tried.performance)
            continue;
        Performance played = player.by_gpu(clip, processed);
        if (played.rung == tried.rung.name && played.problem.empty())
            tried.performance = std::move(played);
        else if (why.empty()) // of H.264, if of none
            why = played.why_no_gpu.empty() ? played.problem : played.why_no_gpu;
    }
    tried.rung.why_not = tried.performance ? std::string() : why;
    return tried;
}

Tried try_rung(const Player &player, Rung rung, const Clip &clip)
{
    Tried tried{std::move(rung), {}};
    if (!tried.rung.why_not.empty())
        return tried;
    tried.performance = player.on_rung(clip, tried.rung.name);
    const Performance &played = *tried.performance;
    if (!played.problem.empty())
        tried.rung.why_not = played.problem;
    else if (!played.rung.empty() && played.rung != tried.rung.name)
        tried.rung.why_not = "frames went by " + played.transport + ": " + player.connection.transport().why_not();
    return tried;
}

} // namespace

void climb(Report &report, WaylandConnection *connection, Theatre *theatre, const std::string &decoder_program)
{
    const std::vector<Clip> all = clips();
    const Clip &first = all.front();
    std::optional<Player> player;
    if (theatre)
        player.emplace(Player{*theatre, *connection, decoder_program, connection->transport().offer()});

    std::vector<Rung> rungs = rungs_below_gpu(connection, report.why_no_compositor);
    const std::string why_no_gpu =
        connection ? connection->transport().hardware(first.codec).why_not : report.why_no_compositor;
    const bool plays = player && why_not_codec(report.machine.decoder, first.codec).empty();
    for (const bool processed : {false, true})
        report.ladder.push_back(plays && why_no_gpu.empty() ? try_gpu(*player, all, processed)
                                                            : Tried{gpu_rung(processed, why_no_gpu), {}});
    for (Rung &rung : rungs)
        report.ladder.push_back(plays ? try_rung(*player, std::move(rung), first) : Tried{std::move(rung), {}});

    for (const Clip &clip : all) {
        Stream stream{clip.codec, clip.width, clip.height, {}, {}, {}};
        std::string problem = why_not_codec(report.machine.decoder, clip.codec);
        std::string why_not_by_gpu; ///< or why not as it is
        if (problem.empty() && player) {
            stream.performance = player->as_viewer(clip, kBt709);
            stream.rung = stream.performance->rung;
            problem = stream.performance->problem;
            why_not_by_gpu = stream.performance->why_no_gpu;
        } else if (problem.empty() && connection) { // what is to be expected: films in BT.709 are converted
            for (const Tried &tried : report.ladder)
                if (stream.rung.empty() && tried.rung.why_not.empty()
                    && std::string_view(tried.rung.name).ends_with("-rgb"))
                    stream.rung = tried.rung.name;
        }
        for (const Tried &tried : report.ladder) {
            if (tried.rung.name == stream.rung)
                break;
            std::string why = problem;
            if (why.empty() && is_gpu(tried.rung.name))
                why = why_not_by_gpu;
            if (why.empty())
                why = tried.rung.why_not;
            stream.passed_over.emplace_back(tried.rung.name, why.empty() ? kWrongColours : why);
        }
        report.streams.push_back(std::move(stream));
    }
    for (const Stream &stream : report.streams)
        if (stream.codec == wire::Codec::kH264 && stream.height == 1080 && stream.performance)
            report.verdict = verdict_of(*stream.performance);
}

} // namespace spice_overlay::doctor
