// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.h"

#include "options.h"

#include "portclient/base/clock.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

namespace spice_overlay::tool {

namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char *pattern, ...)
{
    char text[256];
    va_list values;
    va_start(values, pattern);
    vsnprintf(text, sizeof text, pattern, values);
    va_end(values);
    return text;
}

std::string quoted(const std::string &text)
{
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\')
            out += '\\';
        if (static_cast<unsigned char>(c) < 0x20)
            out += format("\\u%04x", c);
        else
            out += c;
    }
    return out + '"';
}

} // namespace

void Report::number(const std::string &key, const std::string &label, double value, const std::string &unit,
                    int decimals)
{
    json_ += ", " + quoted(key) + ": " + format("%.*f", decimals == 0 ? 0 : decimals + 2, value);
    if (!label.empty())
        table_ += format("  %-34s %14.*f %s\n", label.c_str(), decimals, value, unit.c_str());
}

void Report::text(const std::string &key, const std::string &value)
{
    json_ += (json_.empty() ? "" : ", ") + quoted(key) + ": " + quoted(value);
}

void Report::list(const std::string &key, const std::vector<double> &values)
{
    json_ += ", " + quoted(key) + ": [";
    for (std::size_t i = 0; i < values.size(); i++)
        json_ += format("%s%.3f", i ? ", " : "", values[i]);
    json_ += "]";
}

void Report::verdict(bool good, const std::string &sentence)
{
    good_ = good_ && good;
    verdicts_.push_back(sentence);
}

void Report::print(bool json) const
{
    std::string verdict;
    for (const std::string &sentence : verdicts_)
        verdict += (verdict.empty() ? "" : "; ") + sentence;
    if (json)
        std::printf("{%s, \"verdict\": %s, \"good\": %s}\n", json_.c_str(), quoted(verdict).c_str(),
                    good_ ? "true" : "false");
    else
        std::printf("%s%s\n", table_.c_str(), verdict.c_str());
    std::fflush(stdout);
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(!quiet && isatty(STDERR_FILENO)) {}

void Progress::show(const std::string &text)
{
    std::int64_t now = monotonic_now();
    if (!terminal_ || now - last_ < 250'000'000)
        return;
    last_ = now;
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    shown_ = true;
    said_.clear();
}

void Progress::say(const std::string &text)
{
    if (quiet_ || text == said_)
        return;
    clear();
    std::fprintf(stderr, "%s: %s\n", kProgram, text.c_str());
    said_ = text;
}

void Progress::clear()
{
    if (shown_)
        std::fputs("\r\033[K", stderr);
    shown_ = false;
}

} // namespace spice_overlay::tool
