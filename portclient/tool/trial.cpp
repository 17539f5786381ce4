// SPDX-License-Identifier: LGPL-2.1-or-later
#include "trial.h"

#include "portclient/base/clock.h"

#include <algorithm>
#include <cstring>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kAskAgain = 500'000'000;            ///< ns
constexpr std::int64_t kSoon = 1'000'000'000;              ///< ns, until a person is told what is being waited for
constexpr std::uint64_t kMeeting = std::uint64_t{1} << 63; ///< sequences from here on are meet()'s
constexpr std::size_t kPlaces = 4096;                      ///< where a body may begin in the noise, times 8 bytes

std::uint64_t next_random(std::uint64_t &state)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

} // namespace

Trial::Trial(End &end, Signals &signals, Progress &progress, const Options &options)
    : progress_(progress),
      options_(options),
      link_(end, signals, *this),
      run_(static_cast<std::uint32_t>(fresh_nonce())),
      noise_(kPlaces * 8 + kMaxFrame),
      meeting_(kMeeting)
{
    std::uint64_t state = fresh_nonce();
    for (std::size_t i = 0; i + 8 <= noise_.size(); i += 8) {
        std::uint64_t word = next_random(state);
        std::memcpy(noise_.data() + i, &word, 8);
    }
}

std::span<const std::uint8_t> Trial::noise(std::uint64_t sequence, std::size_t size) const
{
    return std::span(noise_).subspan(sequence * 37 % kPlaces * 8, std::min(size, kMaxBody));
}

bool Trial::from_guest() const
{
    return std::strcmp(link_.end().side(), "guest") == 0;
}

void Trial::touch()
{
    heard_ = monotonic_now();
}

bool Trial::send(Type type, std::uint64_t sequence, std::span<const std::uint8_t> body)
{
    return link_.send({type, run_, sequence, body});
}

Status Trial::meet()
{
    touch();
    answered_ = false;
    ++meeting_;
    std::int64_t begin = heard_, ask = begin;
    while (!answered_) {
        std::int64_t now = monotonic_now();
        bool open = link_.end().open();
        // As large as can be: it fills up whatever the other side still takes for the beginning of a lost frame.
        if (open && now >= ask && link_.queued() == 0) {
            send(Type::kPing, meeting_, noise(meeting_, kMaxBody));
            ask = now + kAskAgain;
        }
        if (now - begin > kSoon)
            progress_.say("waiting for "
                          + (open ? "an answer: let the other end run " + std::string(kProgram) + " echo"
                                  : link_.end().missing()));
        if (Status status = turn(open ? ask : now + kAskAgain / 5); !status)
            return status;
    }
    if (!met_)
        progress_.say("the other end answers");
    met_ = true;
    return Success{};
}

Status Trial::turn(std::int64_t until, bool more)
{
    exit_status_ = kFailed;
    if (link_.interrupted())
        return Error{"ended by a signal"};
    std::int64_t now = monotonic_now();
    if (options_.timeout && now - heard_ > *options_.timeout) {
        exit_status_ = kNobody;
        return Error{"nobody answers: "
                     + (link_.end().open() ? "the other end does not run " + std::string(kProgram) + " echo"
                                           : "there is still to come " + link_.end().missing())};
    }
    if (options_.timeout)
        until = std::min(until, heard_ + *options_.timeout + 1);
    return link_.turn(until, more);
}

void Trial::frame(const Frame &frame)
{
    if (frame.run != run_)
        return;
    touch();
    if (frame.sequence < kMeeting)
        on_frame(frame);
    else if (frame.type == Type::kPong && frame.sequence == meeting_)
        answered_ = true;
}

Report Trial::report(const char *command) const
{
    Report report;
    report.text("command", command);
    report.text("end", link_.end().side());
    report.text("port", options_.target.empty() ? options_.port : options_.name);
    if (!options_.target.empty())
        report.text("connection", options_.target);
    return report;
}

} // namespace spice_overlay::tool
