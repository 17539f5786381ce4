// SPDX-License-Identifier: LGPL-2.1-or-later
#include "statistics_text.h"

#include <cstdarg>
#include <cstdio>

namespace spice_overlay {

namespace {

[[gnu::format(printf, 1, 2)]] std::string formatted(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

std::string percentiles(const char *what, const DurationHistogram &h)
{
    return formatted("%-20s %6.1f %6.1f %6.1f\n", what, h.percentile(50), h.percentile(95), h.percentile(99));
}

std::string stream(const StreamFacts &s)
{
    std::string text = formatted("%s %ux%u, %s the desktop\n", wire::name(s.codec), s.width, s.height,
                                 s.placement == Placement::kHidden ? "hidden from" : name(s.placement));
    if (s.transport.empty())
        return text + "  no frame yet\n";
    text += formatted("  %s (%s), ", s.rung.c_str(), s.transport.c_str());
    text += s.copies.bytes() == 0 ? "no processor copies a pixel\n"
                                  : formatted("%.1f MB copied of a frame (%s)\n",
                                              static_cast<double>(s.copies.bytes()) / 1e6, describe(s.copies).c_str());
    for (auto passed = s.passed_over.begin(); passed != s.passed_over.end();) {
        const std::string &why = passed->second;
        std::string rungs = passed->first;
        for (++passed; passed != s.passed_over.end() && passed->second == why; ++passed)
            rungs += ", " + passed->first;
        text += formatted("  not %s: %s\n", rungs.c_str(), why.c_str());
    }
    return text;
}

} // namespace

std::string to_text(const Statistics &s, std::span<const StreamFacts> streams, double frames_a_second)
{
    std::string text;
    if (!s.decoder_failed.empty())
        text = formatted("a decoder failed: %s\n", s.decoder_failed.c_str());
    if (streams.empty())
        return text + "no video is redirected";
    for (const StreamFacts &each : streams)
        text += stream(each);
    text += formatted("%.1f frames a second, %llu too late, %llu while hidden\n", frames_a_second,
                      static_cast<unsigned long long>(s.frames_dropped_late),
                      static_cast<unsigned long long>(s.frames_while_hidden));
    if (s.presentation.measured > 0)
        text += formatted("%llu of %llu measured without a copy, %llu with vsync\n",
                          static_cast<unsigned long long>(s.presentation.zero_copy),
                          static_cast<unsigned long long>(s.presentation.measured),
                          static_cast<unsigned long long>(s.presentation.vsync));
    text += "milliseconds            p50    p95    p99\n";
    text += percentiles("decoding", s.decode) + percentiles("receipt to commit", s.receipt_to_commit);
    if (s.receipt_to_presentation.count() > 0)
        text += percentiles("receipt to screen", s.receipt_to_presentation);
    text.pop_back();
    return text;
}

} // namespace spice_overlay
