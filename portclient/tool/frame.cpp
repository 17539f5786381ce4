// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame.h"

#include "portclient/wire/bytes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace spice_overlay::tool {

namespace {

// The first byte is in no text, and so begins no stray text that somebody typed.
constexpr std::array<std::uint8_t, 4> kMagic = {0xf5, 'S', 'O', 'P'};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kCovered = kHeaderSize - 4; ///< by the header's own checksum, which follows

/// By words of eight bytes, since a port's speed is measured with it on emulated processors.
std::uint32_t checksum(std::span<const std::uint8_t> bytes)
{
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t sum = 0xcbf29ce484222325 + bytes.size();
    while (!bytes.empty()) {
        std::uint64_t word = 0;
        std::size_t size = std::min(bytes.size(), sizeof word);
        std::memcpy(&word, bytes.data(), size);
        sum = std::rotl((sum ^ word) * 0x9e3779b97f4a7c15, 29);
        bytes = bytes.subspan(size);
    }
    return static_cast<std::uint32_t>(sum ^ (sum >> 32));
}

struct Header {
    bool sound;
    std::size_t body_size;
    std::uint32_t body_sum;
};

Header read_header(std::span<const std::uint8_t> bytes, Frame &frame)
{
    wire::Reader reader(bytes);
    std::span<const std::uint8_t> magic = reader.bytes(kMagic.size());
    std::uint8_t version = 0;
    std::uint16_t body_size = 0;
    std::uint32_t body_sum = 0, own_sum = 0;
    reader(version, frame.type, body_size, frame.run, frame.sequence, body_sum, own_sum);
    bool sound = std::ranges::equal(magic, kMagic) && version == kVersion && body_size <= kMaxBody
                 && own_sum == checksum(bytes.first(kCovered));
    return {sound, body_size, body_sum};
}

/// The first place that may be the beginning of a frame, or the end.
std::size_t find_magic(std::span<const std::uint8_t> bytes)
{
    std::size_t at = 0;
    while (at < bytes.size()) {
        const void *found = std::memchr(bytes.data() + at, kMagic[0], bytes.size() - at);
        if (!found)
            return bytes.size();
        at = static_cast<std::size_t>(static_cast<const std::uint8_t *>(found) - bytes.data());
        std::size_t seen = std::min(kMagic.size(), bytes.size() - at);
        if (std::equal(kMagic.begin(), kMagic.begin() + static_cast<std::ptrdiff_t>(seen), bytes.data() + at))
            return at;
        ++at;
    }
    return at;
}

} // namespace

void append_frame(std::vector<std::uint8_t> &bytes, const Frame &frame)
{
    std::size_t begin = bytes.size();
    wire::Writer writer(bytes);
    writer.bytes(kMagic);
    writer(kVersion, frame.type, static_cast<std::uint16_t>(frame.body.size()), frame.run, frame.sequence,
           checksum(frame.body));
    writer(checksum(std::span(bytes).subspan(begin, kCovered)));
    writer.bytes(frame.body);
}

void Scanner::feed(std::span<const std::uint8_t> bytes, Sink &sink)
{
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    std::span<const std::uint8_t> rest = buffer_;
    std::size_t stray = 0; // bytes at the beginning of `rest`
    auto give_stray = [&] {
        if (stray > 0)
            sink.stray(rest.first(stray));
        rest = rest.subspan(stray);
        stray = 0;
    };
    while (true) {
        stray += find_magic(rest.subspan(stray));
        std::span<const std::uint8_t> candidate = rest.subspan(stray);
        if (candidate.size() < kHeaderSize)
            break;
        Frame frame;
        Header header = read_header(candidate.first(kHeaderSize), frame);
        if (header.sound && candidate.size() < kHeaderSize + header.body_size)
            break;
        if (header.sound)
            frame.body = candidate.subspan(kHeaderSize, header.body_size);
        if (!header.sound || checksum(frame.body) != header.body_sum) {
            broken_ += header.sound;
            ++stray; // another frame may begin within what this one should have held
            continue;
        }
        give_stray();
        sink.frame(frame);
        rest = rest.subspan(kHeaderSize + header.body_size);
    }
    give_stray();
    buffer_.erase(buffer_.begin(), buffer_.end() - static_cast<std::ptrdiff_t>(rest.size()));
}

} // namespace spice_overlay::tool
