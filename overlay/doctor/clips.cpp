// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clips.h"

#include <cassert>
#include <cstring>

extern "C" {
extern const std::uint8_t spice_overlay_doctor_clips[];
extern const std::uint8_t spice_overlay_doctor_clips_end[];
}

namespace spice_overlay::doctor {

namespace {

/// Little-endian numbers of 32 bits and byte strings, one after the other.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool at_end() const { return bytes_.empty(); }
    std::span<const std::uint8_t> take(std::size_t size)
    {
        assert(size <= bytes_.size()); // our own file
        const auto taken = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return taken;
    }
    std::uint32_t number()
    {
        const auto b = take(4);
        return std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8 | std::uint32_t{b[2]} << 16 | std::uint32_t{b[3]} << 24;
    }

private:
    std::span<const std::uint8_t> bytes_;
};

} // namespace

std::vector<Clip> clips()
{
    Reader reader({spice_overlay_doctor_clips, spice_overlay_doctor_clips_end});
    std::vector<Clip> list;
    while (!reader.at_end()) {
        Clip clip{static_cast<wire::Codec>(reader.number()), reader.number(), reader.number(), {}};
        for (std::uint32_t units = reader.number(); units > 0; --units)
            clip.units.push_back(reader.take(reader.number()));
        list.push_back(std::move(clip));
    }
    return list;
}

} // namespace spice_overlay::doctor
