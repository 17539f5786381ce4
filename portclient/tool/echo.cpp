// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include "portclient/base/clock.h"
#include "portclient/wire/bytes.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace spice_overlay::tool {

namespace {

constexpr std::size_t kFill = 128 * 1024;       ///< bytes that wait for the port, at most, while it sends of its own
constexpr std::uint32_t kLongestSend = 600'000; ///< ms

/// Answers. Keeps nothing from one run to the next.
class Echo : private Link::Handler {
public:
    Echo(End &end, Signals &signals, Progress &progress, const Options &options)
        : options_(options), progress_(progress), link_(end, signals, *this), body_(kMaxBody, 0)
    {
        std::uint64_t state = fresh_nonce();
        for (std::uint8_t &byte : body_) // what does not compress
            byte = static_cast<std::uint8_t>((state = state * 6364136223846793005 + 1442695040888963407) >> 56);
    }

    int run()
    {
        std::int64_t begin = monotonic_now();
        heard_ = begin;
        while (!link_.interrupted()) {
            std::int64_t now = monotonic_now();
            if (options_.timeout && now - heard_ > *options_.timeout)
                break;
            send_some(now);
            if (link_.end().open())
                progress_.show("answering: " + std::to_string(pings_) + " round trips, "
                               + std::to_string(link_.received() / 1'000'000) + " MB received");
            else if (now - begin > 1'000'000'000)
                progress_.say("waiting for " + link_.end().missing());
            std::int64_t until =
                std::min(now + 500'000'000, options_.timeout ? heard_ + *options_.timeout + 1 : INT64_MAX);
            if (Status status = link_.turn(until, source_.has_value()); !status) {
                progress_.clear();
                std::fprintf(stderr, "%s: %s\n", kProgram, status.error().message.c_str());
                return kFailed;
            }
        }
        progress_.clear();
        return finish();
    }

private:
    struct Sink {
        std::uint32_t run = 0;
        std::uint64_t frames = 0, bytes = 0, lost = 0, broken = 0, next = 0;
        std::int64_t first = 0, last = 0; ///< ns
    };
    struct Source {
        std::uint32_t run;
        std::size_t size; ///< of a body
        std::int64_t until;
        std::uint64_t frames = 0, bytes = 0;
    };

    void closed() override { source_.reset(); }

    void frame(const Frame &frame) override
    {
        heard_ = monotonic_now();
        if (source_ && source_->run != frame.run)
            source_.reset();
        switch (frame.type) {
        case Type::kPing:
            pings_ += link_.send({Type::kPong, frame.run, frame.sequence, frame.body});
            break;
        case Type::kData:
            count(frame);
            break;
        case Type::kCount:
            tell_count(frame);
            break;
        case Type::kSend:
            begin_source(frame);
            break;
        default: // answers are not for this side, and later versions may ask for more
            break;
        }
    }

    // Text that somebody types, and what is left of damaged frames: back as it is.
    void stray(std::span<const std::uint8_t> bytes) override
    {
        heard_ = monotonic_now();
        stray_ += bytes.size();
        link_.send_raw(bytes);
    }

    void begin_sink(std::uint32_t run)
    {
        if (sink_.run == run)
            return;
        sink_ = {};
        sink_.run = run;
        sink_.broken = link_.broken();
        sink_.first = heard_;
    }

    void count(const Frame &frame)
    {
        begin_sink(frame.run);
        sink_.lost += frame.sequence > sink_.next ? frame.sequence - sink_.next : 0;
        sink_.next = frame.sequence + 1;
        sink_.last = heard_;
        ++sink_.frames;
        sink_.bytes += kHeaderSize + frame.body.size();
    }

    void tell_count(const Frame &frame)
    {
        begin_sink(frame.run);
        std::vector<std::uint8_t> body;
        wire::Writer writer(body);
        writer(sink_.frames, sink_.bytes, sink_.lost, link_.broken() - sink_.broken,
               static_cast<std::uint64_t>(std::max<std::int64_t>(0, sink_.last - sink_.first)));
        link_.send({Type::kCounted, frame.run, frame.sequence, body});
    }

    void begin_source(const Frame &frame)
    {
        wire::Reader reader(frame.body);
        std::uint32_t size = 0, ms = 0;
        reader(size, ms);
        if (reader.failed() || size < kHeaderSize || size > kMaxFrame)
            return;
        source_ = Source{frame.run, size - kHeaderSize, heard_ + std::int64_t{std::min(ms, kLongestSend)} * 1'000'000};
    }

    void send_some(std::int64_t now)
    {
        if (!source_)
            return;
        while (now < source_->until && link_.queued() < kFill
               && link_.send({Type::kData, source_->run, source_->frames, std::span(body_).first(source_->size)})) {
            ++source_->frames;
            source_->bytes += kHeaderSize + source_->size;
        }
        heard_ = now;
        if (now < source_->until)
            return;
        std::vector<std::uint8_t> body;
        wire::Writer writer(body);
        writer(source_->frames, source_->bytes);
        link_.send({Type::kSent, source_->run, source_->frames, body});
        source_.reset();
    }

    int finish()
    {
        Report report;
        report.text("command", "echo");
        report.text("end", link_.end().side());
        report.text("port", options_.target.empty() ? options_.port : options_.name);
        report.number("openings", "times opened", static_cast<double>(link_.openings()), "");
        report.number("received_bytes", "received", static_cast<double>(link_.received()), "bytes");
        report.number("round_trips", "frames answered", static_cast<double>(pings_), "");
        report.number("broken_frames", "damaged frames", static_cast<double>(link_.broken()), "");
        report.number("stray_bytes", "other bytes, sent back", static_cast<double>(stray_), "bytes");
        bool heard = link_.received() > 0;
        report.verdict(heard, heard ? "answered"
                                    : "nothing came: "
                                          + std::string(link_.end().open()
                                                            ? "the other end has said nothing"
                                                            : "there is still to come " + link_.end().missing()));
        report.print(options_.json);
        return heard ? kGood : kNobody;
    }

    const Options &options_;
    Progress &progress_;
    Link link_;
    std::vector<std::uint8_t> body_;
    Sink sink_;
    std::optional<Source> source_;
    std::int64_t heard_ = 0; ///< ns of CLOCK_MONOTONIC
    std::uint64_t pings_ = 0, stray_ = 0;
};

} // namespace

int run_echo(End &end, Signals &signals, Progress &progress, const Options &options)
{
    return Echo(end, signals, progress, options).run();
}

} // namespace spice_overlay::tool
