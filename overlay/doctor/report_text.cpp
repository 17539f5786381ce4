// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.h"

#include "dmabuf/formats.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace spice_overlay::doctor {

namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kIndent = 13;

/// `text` in lines beside `label`, broken between words.
std::string beside(const std::string &label, const std::string &text)
{
    std::string out = label;
    out.resize(std::max(kIndent, label.size() + 1), ' ');
    std::size_t column = out.size();
    std::istringstream words(text);
    bool first = true;
    for (std::string word; words >> word; first = false) {
        if (!first && column + 1 + word.size() > kColumns) {
            out += "\n" + std::string(kIndent, ' ');
            column = kIndent;
        } else if (!first) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out + "\n";
}

std::string joined(const std::vector<std::string> &parts, const char *between = ", ")
{
    std::string text;
    for (const std::string &part : parts)
        text += (text.empty() ? "" : between) + part;
    return text;
}

std::string number(double value, const char *unit)
{
    char text[32];
    std::snprintf(text, sizeof text, value < 10 ? "%.1f %s" : "%.0f %s", value, unit);
    return text;
}

const char *meaning(Verdict verdict)
{
    switch (verdict) {
    case Verdict::kZeroCopy:
        return "the display shows the decoder's memory as it is";
    case Verdict::kNoCpuCopy:
        return "the GPU draws from the decoder's memory, and no processor touches a pixel";
    case Verdict::kWorks:
        return "frames are shown, and copied on the way";
    case Verdict::kDoesNotWork:
        break;
    }
    return "no frame was shown";
}

std::string formats(const FormatSet &set)
{
    std::vector<std::string> names;
    std::vector<unsigned> counts;
    for (const auto &[fourcc, modifier] : set.entries()) {
        const std::string name = fourcc_name(fourcc);
        const auto known = std::find(names.begin(), names.end(), name);
        if (known == names.end()) {
            names.push_back(name);
            counts.push_back(1);
        } else {
            ++counts[static_cast<std::size_t>(known - names.begin())];
        }
    }
    // What videos come in, and how many others there are.
    std::vector<std::string> shown;
    std::size_t others = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == "NV12" || names[i] == "YU12" || names[i] == "P010" || names[i] == "XR24")
            shown.push_back(names[i] + (counts[i] > 1 ? " (" + std::to_string(counts[i]) + " modifiers)" : ""));
        else
            ++others;
    }
    if (others > 0)
        shown.push_back(std::to_string(others) + " more");
    return shown.empty() ? "none" : joined(shown);
}

std::string compositor(const Report &r)
{
    if (!r.compositor)
        return beside("Compositor", r.why_no_compositor);
    const CompositorFacts &c = *r.compositor;
    std::vector<std::string> protocols;
    for (const Global &g : c.globals)
        for (const char *prefix : {"wl_compositor", "wl_shm", "wp_", "xdg_wm_base", "zwp_linux_dmabuf_v1"})
            if (g.name.starts_with(prefix))
                protocols.push_back(g.name + " " + std::to_string(g.version));
    std::string out =
        beside("Compositor", (c.program.empty() ? "" : c.program + " on ") + c.socket + ": " + joined(protocols));
    for (const std::string &missing : c.missing)
        out += beside("  lacks", missing);
    if (!r.why_no_compositor.empty())
        out += beside("", r.why_no_compositor);
    FormatSet shm;
    for (const std::uint32_t fourcc : c.shm_formats)
        shm.add(fourcc, 0);
    out += beside("Formats", "dmabuf: " + formats(c.dmabufs.formats)
                                 + (c.device_driver.empty() ? "" : " (read by " + c.device_driver + ")")
                                 + "; shared memory: " + formats(shm));
    return out;
}

std::string machine(const Machine &m)
{
    std::string out;
    if (m.gpus.empty())
        out += beside("GPU", m.why_no_gpu);
    for (const Gpu &g : m.gpus) {
        out += beside("GPU", g.why_not.empty() ? g.node + ", " + (g.driver.empty() ? "an unknown driver" : g.driver)
                                               : g.why_not);
        std::vector<std::string> profiles;
        for (const VaProfile &p : g.va_profiles)
            profiles.push_back(p.name);
        if (g.why_not.empty())
            out += beside("  VA-API", g.why_no_va.empty() ? g.va_driver + ": " + joined(profiles) : g.why_no_va);
    }
    for (const Memory &memory : m.memories)
        out += beside(memory.name, memory.why_not.empty() ? "makes dmabufs" : memory.why_not);
    std::vector<std::string> walls;
    const Sandbox &s = m.sandbox;
    walls.push_back(s.landlock_abi > 0 ? "Landlock ABI " + std::to_string(s.landlock_abi)
                                       : "no Landlock: " + s.why_no_landlock);
    walls.push_back(s.why_no_seccomp.empty() ? "seccomp filters" : s.why_no_seccomp);
    walls.push_back(s.why_no_user_namespaces.empty() ? "user namespaces"
                                                     : "no user namespaces: " + s.why_no_user_namespaces);
    for (const Decoder::Layer &layer : m.decoder.sandbox)
        if (!layer.holds)
            walls.push_back("the decoder's " + layer.name + " is missing: " + layer.detail);
    out += beside("Sandbox", joined(walls, "; "));
    std::vector<std::string> codecs;
    for (const Decoder::Codec &c : m.decoder.codecs)
        codecs.push_back(c.name);
    out += beside("Decoder", m.decoder.why_not.empty() ? "FFmpeg's " + joined(codecs) : m.decoder.why_not);
    return out;
}

std::string what_happened(const Performance &p)
{
    std::string text = p.decoder == "software" ? "" : p.decoder + ", " + p.codec + ": ";
    text += std::to_string(p.presented) + " of " + std::to_string(p.frames) + " frames";
    if (p.zero_copy > 0)
        text += ", " + std::to_string(p.zero_copy) + " of " + std::to_string(p.measured) + " without a copy";
    if (p.late > 0)
        text += ", " + std::to_string(p.late) + " too late";
    if (p.decoded > 0)
        text += " at " + number(p.frames_a_second, "fps") + ", decoding " + number(p.decode_ms, "ms");
    if (p.copies.bytes() > 0)
        text +=
            ", copied " + number(static_cast<double>(p.copies.bytes()) / 1e6, "MB") + " (" + describe(p.copies) + ")";
    return text;
}

/// Rungs that one reason keeps from being taken are named together.
std::string rungs(const std::vector<Tried> &ladder)
{
    std::string out;
    for (auto tried = ladder.begin(); tried != ladder.end();) {
        const Rung &rung = tried->rung;
        std::string names = rung.name;
        auto next = tried + 1;
        for (; next != ladder.end() && !rung.why_not.empty() && next->rung.why_not == rung.why_not; ++next)
            names += std::string(", ") + next->rung.name;
        std::string text = rung.what;
        if (!rung.why_not.empty())
            text = "no: " + rung.why_not;
        else if (tried->performance)
            text = what_happened(*tried->performance);
        out += beside("  " + names, text);
        tried = next;
    }
    return out;
}

/// One film in its cell: what it gets, how much of it was seen, and how long a frame took to decode.
std::string film(const Stream &s)
{
    if (s.rung.empty())
        return "none";
    if (!s.performance)
        return s.rung;
    const Performance &p = *s.performance;
    return s.rung + " " + std::to_string(p.presented) + "/" + std::to_string(p.frames) + ", "
           + number(p.frames_a_second, "fps") + ", " + number(p.decode_ms, "ms");
}

std::string films(const std::vector<Stream> &streams)
{
    std::string out;
    for (auto s = streams.begin(); s != streams.end(); ++s) {
        if (s == streams.begin() || s->codec != (s - 1)->codec)
            out += (out.empty() ? "" : "\n") + beside(std::string("  ") + wire::name(s->codec), "");
        if (out.ends_with('\n'))
            out.pop_back();
        std::string cell = film(*s);
        cell.resize(std::max<std::size_t>(cell.size() + 1, 33), ' ');
        out += cell;
    }
    return out + "\n";
}

} // namespace

std::string as_text(const Report &r)
{
    std::string out = beside("Verdict", std::string(name(r.verdict)) + ": " + meaning(r.verdict));
    out += compositor(r) + machine(r.machine);
    out += "\nWays to the screen, best first, tried with half a second of H.264 in 1080p:\n" + rungs(r.ladder);
    out += "\nFilms get    in 1080p (seen, decoding a frame) in 2160p\n" + films(r.streams);
    std::vector<std::string> reasons;
    for (const Stream &each : r.streams) {
        for (const auto &[passed, why] : each.passed_over) {
            const bool is_said = std::any_of(r.ladder.begin(), r.ladder.end(),
                                             [&, &w = why](const Tried &known) { return known.rung.why_not == w; });
            const std::string reason = "no " + passed + ": " + why;
            if (!is_said && std::find(reasons.begin(), reasons.end(), reason) == reasons.end())
                reasons.push_back(reason);
        }
    }
    for (const std::string &reason : reasons)
        out += beside("", reason);
    return out;
}

} // namespace spice_overlay::doctor
