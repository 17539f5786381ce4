// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plain_text.h"
#include "trial.h"

#include "portclient/base/clock.h"

#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdio>
#include <cstring>

namespace spice_overlay::tool {

namespace {

constexpr std::size_t kMostText = 64 * 1024;  ///< bytes that wait for the port, or for a report
constexpr std::int64_t kLinger = 300'000'000; ///< ns of silence after the last text, when all has been said

/// A terminal of another character set may take bytes of UTF-8 for controls.
bool terminal_takes_utf8()
{
    std::setlocale(LC_CTYPE, "");
    return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/// The standard input goes to the other end, and what comes from there to the standard output.
class Hello : private End::Listener {
public:
    Hello(End &end, Signals &signals, Progress &progress, const Options &options)
        : end_(end),
          signals_(signals),
          progress_(progress),
          options_(options),
          plain_(!options.json && !terminal_takes_utf8())
    {
    }

    int run()
    {
        std::int64_t begin = monotonic_now();
        last_ = begin;
        while (!signals_.came()) {
            std::int64_t now = monotonic_now();
            std::int64_t until = now + 500'000'000;
            bool all_said = input_ended_ && greeted_ && received_ > 0 && out_.empty() && end_.unsent() == 0;
            if (all_said && now - last_ >= kLinger)
                break;
            if (all_said)
                until = last_ + kLinger;
            if (options_.timeout && received_ == 0) {
                if (now - begin >= *options_.timeout)
                    break;
                until = std::min(until, begin + *options_.timeout);
            }
            if (!end_.open() && now - begin > 1'000'000'000)
                progress_.say("waiting for " + end_.missing());
            if (Status status = turn(until); !status) {
                std::fprintf(stderr, "%s: %s\n", kProgram, status.error().message.c_str());
                return kFailed;
            }
        }
        return finish();
    }

private:
    Status turn(std::int64_t until)
    {
        bool listens = !input_ended_ && out_.size() < kMostText;
        std::array<int, 2> others = {signals_.fd(), STDIN_FILENO};
        if (Status status = end_.wait(until, !out_.empty(), std::span(others).first(listens ? 2 : 1), *this); !status)
            return status;
        pollfd input{STDIN_FILENO, POLLIN, 0};
        if (listens && poll(&input, 1, 0) > 0)
            read_input();
        std::size_t sent = end_.write({reinterpret_cast<const std::uint8_t *>(out_.data()), out_.size()});
        out_.erase(0, sent);
        sent_ += sent;
        return Success{};
    }

    void read_input()
    {
        char text[4096];
        ssize_t count = read(STDIN_FILENO, text, sizeof text);
        if (count > 0)
            out_.append(text, static_cast<std::size_t>(count));
        else
            input_ended_ = true;
        last_ = monotonic_now();
    }

    void opened() override
    {
        progress_.say("the port is open");
        out_.insert(0, "hello from the " + std::string(end_.side()) + " (" + kProgram + " " + SPICE_OVERLAY_VERSION
                           + ")\n");
        greeted_ = true;
    }

    void closed() override { progress_.say("the other end has closed the port"); }

    // The other end writes on this person's terminal: nothing that steers it.
    void data(std::span<const std::uint8_t> bytes) override
    {
        received_ += bytes.size();
        last_ = monotonic_now();
        std::string text = plain_.take(bytes);
        if (options_.json)
            text_ += text.substr(0, whole_characters(text, kMostText - std::min(kMostText, text_.size())));
        else
            std::fwrite(text.data(), 1, text.size(), stdout), std::fflush(stdout);
    }

    /// How many bytes of `text` whole characters fill, `most` at most.
    static std::size_t whole_characters(const std::string &text, std::size_t most)
    {
        while (most > 0 && most < text.size() && (text[most] & 0xc0) == 0x80)
            most--;
        return most;
    }

    int finish()
    {
        Report report;
        report.text("command", "hello");
        report.text("end", end_.side());
        report.text("port", options_.target.empty() ? options_.port : options_.name);
        report.number("sent_bytes", "sent", static_cast<double>(sent_), "bytes");
        report.number("received_bytes", "received", static_cast<double>(received_), "bytes");
        if (options_.json)
            report.text("received_text", text_);
        bool both = sent_ > 0 && received_ > 0;
        if (both)
            report.verdict(true, "works: text both ways");
        else
            report.verdict(false, end_.open() ? "no text came: let somebody type at the other end"
                                              : "nobody is there: there is still to come " + end_.missing());
        report.print(options_.json);
        return both ? kGood : kNobody;
    }

    End &end_;
    Signals &signals_;
    Progress &progress_;
    const Options &options_;
    std::string out_;
    PlainText plain_;
    std::string text_;                      ///< received, for the report
    std::uint64_t sent_ = 0, received_ = 0; ///< bytes
    bool greeted_ = false, input_ended_ = false;
    std::int64_t last_ = 0; ///< ns of CLOCK_MONOTONIC: something was typed or came
};

} // namespace

int run_hello(End &end, Signals &signals, Progress &progress, const Options &options)
{
    return Hello(end, signals, progress, options).run();
}

} // namespace spice_overlay::tool
