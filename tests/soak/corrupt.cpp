// SPDX-License-Identifier: LGPL-2.1-or-later
// Gives damaged bitstreams to real decoders, as the viewer would, and says what became of them: one JSON object on standard output.
#include "tests/dmabuf/clips.h"
#include "tests/dmabuf/driver.h"

#include "dmabuf/decoder/decoder_process.h"
#include "dmabuf/formats.h"
#include "portclient/base/clock.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>

using namespace spice_overlay;

namespace {

constexpr std::size_t kUnitsOfVariant = 24; ///< from a key unit on
constexpr unsigned kVariantsOfProcess = 16; ///< one after the other, each an epoch of its own
constexpr std::size_t kWindow = 8;          ///< units in flight
constexpr const char *kKinds[] = {"flips", "truncated", "spliced", "changed"};
constexpr std::int64_t kDeadline = 60'000'000'000;

struct Options {
    std::string program;
    std::string clip;
    std::string other; ///< another clip of the same codec, to splice in
    wire::Codec codec{};
    std::uint32_t width = 0; ///< announced
    std::uint32_t height = 0;
    unsigned variants = 0;
    std::uint64_t seed = 0;
    std::string kind;
};

using Units = std::vector<Driver::Unit>;
using Random = std::mt19937_64;

std::size_t below(Random &random, std::size_t end)
{
    return static_cast<std::size_t>(random() % end);
}

/// Single bits anywhere, from one to about a hundred of them.
void flip_bits(Units &units, Random &random)
{
    for (std::size_t left = std::size_t{1} << below(random, 8); left > 0; --left) {
        auto &data = units[below(random, units.size())].data;
        if (!data.empty())
            data[below(random, data.size())] ^= static_cast<std::uint8_t>(1u << below(random, 8));
    }
}

/// Some units end in the middle, and some are not there.
void truncate(Units &units, Random &random)
{
    for (Driver::Unit &unit : units)
        if (below(random, 3) == 0)
            unit.data.resize(below(random, unit.data.size() + 1));
    std::erase_if(units, [&](const Driver::Unit &unit) { return unit.data.empty() || below(random, 10) == 0; });
}

/// The second half of some units is that of another; some stand in another's place.
void splice(Units &units, Random &random)
{
    for (std::size_t i = 0; i < units.size(); ++i) {
        auto &mine = units[i].data;
        const auto other = units[below(random, units.size())].data;
        if (below(random, 3) == 0 && !mine.empty() && !other.empty()) {
            mine.resize(below(random, mine.size()) + 1);
            const std::size_t from = below(random, other.size());
            mine.insert(mine.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        } else if (below(random, 6) == 0) {
            std::swap(mine, units[below(random, units.size())].data);
        }
    }
}

/// Another video goes on in the middle, of whatever size it has; its first unit is said to be a key unit, or is not.
void change(Units &units, const Units &other, Random &random)
{
    const std::size_t at = below(random, units.size());
    const std::size_t from = below(random, other.size());
    for (std::size_t i = at; i < units.size(); ++i) {
        const Driver::Unit &next = other[(from + i - at) % other.size()];
        units[i].data = next.data;
        units[i].key = next.key;
    }
    if (below(random, 2) == 0)
        flip_bits(units, random);
}

/// Consecutive units from a key unit on.
Units excerpt(const Units &all, Random &random)
{
    std::vector<std::size_t> keys;
    for (std::size_t i = 0; i < all.size(); ++i)
        if (all[i].key)
            keys.push_back(i);
    const std::size_t start = keys.empty() ? 0 : keys[below(random, keys.size())];
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(start);
    return {begin, begin + static_cast<std::ptrdiff_t>(std::min(kUnitsOfVariant, all.size() - start))};
}

Units variant(const Options &options, const Units &all, const Units &other, Random &random)
{
    Units units = excerpt(all, random);
    const std::string kind = options.kind == "any" ? kKinds[below(random, std::size(kKinds))] : options.kind;
    if (kind == "flips")
        flip_bits(units, random);
    else if (kind == "truncated")
        truncate(units, random);
    else if (kind == "spliced")
        splice(units, random);
    else if (kind == "changed")
        change(units, other, random);
    return units;
}

std::size_t descriptors()
{
    std::size_t count = 0;
    for ([[maybe_unused]] const auto &entry : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count;
}

/// One decoder process, its frames given back as they come.
class Decoder : private DecoderProcess::Listener {
public:
    explicit Decoder(const DecoderProcess::Config &config)
    {
        if (auto started = DecoderProcess::start(config, *this))
            process_ = std::move(*started);
        else
            why = started.error().message;
    }

    /// False: it has failed, or was found to be silent.
    bool decode(const Units &units, std::uint32_t epoch)
    {
        if (!process_)
            return false;
        process_->flush(epoch);
        for (const Driver::Unit &unit : units) {
            if (!wait(kWindow - 1))
                return false;
            wire::AccessUnit sent;
            sent.stream = 1;
            sent.epoch = epoch;
            sent.flags = unit.key ? wire::kKey : 0;
            sent.pts = unit.pts;
            sent.total_size = static_cast<std::uint32_t>(unit.data.size());
            sent.data = unit.data;
            if (!process_->send(sent))
                continue; // the viewer leaves it out as well
            ++in_flight_;
        }
        process_->drain();
        const bool done = wait(0);
        look();
        return done;
    }

    std::string why; ///< it failed; empty: it has not
    bool too_long = false;
    std::uint64_t frames = 0;
    std::uint64_t largest = 0; ///< pixels of a frame's memory
    std::uint64_t peak = 0;    ///< KiB: the most memory that it was seen to have had

private:
    /// While it lives: what has ended tells nothing.
    void look()
    {
        std::ifstream status("/proc/" + std::to_string(process_->pid()) + "/status");
        std::string line;
        while (std::getline(status, line))
            if (line.starts_with("VmHWM:"))
                peak = std::max<std::uint64_t>(peak, std::strtoull(line.c_str() + 6, nullptr, 10));
    }
    bool wait(std::size_t in_flight)
    {
        const std::int64_t end = monotonic_now() + kDeadline;
        while (why.empty() && in_flight_ > in_flight) {
            pollfd poll{process_->fd(), POLLIN, 0};
            if (::poll(&poll, 1, 200) > 0)
                process_->dispatch();
            else
                look();
            static_cast<void>(process_->watch(monotonic_now()));
            too_long = monotonic_now() > end;
            if (too_long)
                return false;
        }
        return why.empty();
    }

    void buffer(FrameBuffer buffer) override
    {
        largest = std::max(largest, std::uint64_t{buffer.width} * buffer.height);
    }
    void frame(const DecodedFrame &frame) override
    {
        ++frames;
        process_->release(frame.slot);
    }
    void consumed(std::uint32_t units) override { in_flight_ -= std::min<std::size_t>(units, in_flight_); }
    void failed(wire::Reason reason, const std::string &text) override
    {
        why = std::string(wire::describe(reason)) + ": " + text;
    }

    std::unique_ptr<DecoderProcess> process_;
    std::size_t in_flight_ = 0;
};

std::string quoted(std::string text)
{
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '"' || c == '\\' || c < ' '; }, '\'');
    return '"' + text + '"';
}

int run(const Options &options)
{
    const Clip clip = read_clip(options.clip);
    const Clip other = options.other.empty() ? clip : read_clip(options.other);
    if (clip.units.empty() || other.units.empty()) {
        std::fprintf(stderr, "corrupt: %s cannot be read\n", options.clip.c_str());
        return 2;
    }
    DecoderProcess::Config config = Driver::config(options.program, options.codec, options.width, options.height);

    const std::size_t before = descriptors();
    std::map<std::string, unsigned> failures;
    std::uint64_t frames = 0;
    std::uint64_t peak = 0;
    std::uint64_t largest = 0;
    unsigned stuck = 0;
    unsigned processes = 0;
    std::unique_ptr<Decoder> decoder;
    unsigned of_process = 0;
    const auto let_go = [&] {
        if (!decoder)
            return;
        frames += decoder->frames;
        largest = std::max(largest, decoder->largest);
        peak = std::max(peak, decoder->peak);
        decoder.reset();
    };
    for (unsigned i = 0; i < options.variants; ++i) {
        if (!decoder || of_process == kVariantsOfProcess) {
            let_go();
            decoder = std::make_unique<Decoder>(config);
            ++processes;
            of_process = 0;
        }
        Random random(options.seed * 1'000'003 + i);
        if (decoder->decode(variant(options, clip.units, other.units, random), ++of_process))
            continue;
        stuck += decoder->too_long ? 1 : 0;
        ++failures[decoder->too_long ? "takes more than a minute" : decoder->why];
        std::fprintf(stderr, "%s, variant %u of seed %llu: %s\n", options.kind.c_str(), i,
                     static_cast<unsigned long long>(options.seed), decoder->why.c_str());
        let_go();
    }
    let_go();

    std::string list;
    for (const auto &[why, count] : failures)
        list += (list.empty() ? "" : ", ") + quoted(why) + ": " + std::to_string(count);
    std::printf(
        "{\"variants\": %u, \"processes\": %u, \"frames\": %llu, \"largest\": %llu, \"peak_kib\": %llu, \"stuck\": %u, "
        "\"descriptors\": [%zu, %zu], \"failures\": {%s}}\n",
        options.variants, processes, static_cast<unsigned long long>(frames), static_cast<unsigned long long>(largest),
        static_cast<unsigned long long>(peak), stuck, before, descriptors(), list.c_str());
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 10) {
        std::fprintf(stderr, "usage: corrupt DECODER CLIP.nut OTHER.nut CODEC-NUMBER WIDTH HEIGHT VARIANTS SEED "
                             "whole|flips|truncated|spliced|changed|any\n");
        return 2;
    }
    const auto number = [argv](int i) { return std::strtoull(argv[i], nullptr, 10); };
    return run({.program = argv[1],
                .clip = argv[2],
                .other = argv[3],
                .codec = static_cast<wire::Codec>(number(4)),
                .width = static_cast<std::uint32_t>(number(5)),
                .height = static_cast<std::uint32_t>(number(6)),
                .variants = static_cast<unsigned>(number(7)),
                .seed = number(8),
                .kind = argv[9]});
}
