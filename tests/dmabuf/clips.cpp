// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clips.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <sstream>

namespace spice_overlay {

namespace {

std::string in_quotes(const std::string &text)
{
    return "'" + text + "'";
}

std::string output_of(const std::string &command)
{
    std::string output;
    FILE *pipe = ::popen(command.c_str(), "r");
    if (!pipe)
        return output;
    char bytes[65536];
    while (const std::size_t size = std::fread(bytes, 1, sizeof bytes, pipe))
        output.append(bytes, size);
    if (::pclose(pipe) != 0)
        output.clear();
    return output;
}

/// Cuts a unit in front of each start code, and, of AV1, into OBUs.
std::vector<std::span<const std::uint8_t>> pieces_of(wire::Codec codec, std::span<const std::uint8_t> unit)
{
    std::vector<std::span<const std::uint8_t>> pieces;
    if (codec == wire::Codec::kAv1) {
        while (!unit.empty()) {
            std::size_t at = (unit[0] & 4) != 0 ? 2 : 1; // obu_extension_flag
            std::size_t size = 0;
            for (unsigned shift = 0;; shift += 7) { // leb128()
                size |= static_cast<std::size_t>(unit[at] & 0x7f) << shift;
                if ((unit[at++] & 0x80) == 0)
                    break;
            }
            pieces.push_back(unit.first(at + size));
            unit = unit.subspan(at + size);
        }
        return pieces;
    }
    std::size_t start = 0;
    for (std::size_t i = 4; i + 3 <= unit.size(); ++i) {
        if (unit[i] == 0 && unit[i + 1] == 0 && unit[i + 2] == 1) {
            const std::size_t end = unit[i - 1] == 0 ? i - 1 : i;
            pieces.push_back(unit.subspan(start, end - start));
            start = end;
        }
    }
    pieces.push_back(unit.subspan(start));
    return pieces;
}

bool is_header(wire::Codec codec, std::span<const std::uint8_t> piece)
{
    if (codec == wire::Codec::kAv1)
        return (piece[0] >> 3 & 15) == 1; // OBU_SEQUENCE_HEADER
    const std::uint8_t type = piece[piece[2] == 0 ? 4 : 3];
    switch (codec) {
    case wire::Codec::kH264:
        return (type & 31) == 7 || (type & 31) == 8;
    case wire::Codec::kHevc:
        return (type >> 1) >= 32 && (type >> 1) <= 34;
    default: // sequence_header_code, and sequence_extension
        return type == 0xb3 || (type == 0xb5 && piece[piece[2] == 0 ? 5 : 4] >> 4 == 1);
    }
}

const char *const kFfmpeg = "ffmpeg -nostdin -hide_banner -loglevel error -y ";

} // namespace

bool can_encode(const std::string &encoder)
{
    return std::system("command -v ffprobe >/dev/null") == 0
           && std::system(("ffmpeg -hide_banner -encoders 2>/dev/null | grep -q ' " + encoder + " '").c_str()) == 0;
}

Clip make_clip(const std::string &source, const std::string &options, int frames)
{
    const std::filesystem::path folder = TEST_CLIPS;
    std::filesystem::create_directories(folder);
    const std::string recipe = "-f lavfi -i " + in_quotes(source) + " -frames:v " + std::to_string(frames) + " "
                               + options + " -bsf:v dump_extra";
    const std::string name = std::to_string(std::hash<std::string>()(recipe));
    Clip clip;
    clip.path = (folder / (name + ".nut")).string();
    if (!std::filesystem::exists(clip.path)) {
        const std::string part = clip.path + "." + std::to_string(::getpid()) + ".part";
        if (std::system((std::string(kFfmpeg) + recipe + " -f nut " + in_quotes(part)).c_str()) != 0)
            return clip;
        std::filesystem::rename(part, clip.path);
    }
    return read_clip(clip.path);
}

Clip read_clip(const std::string &path)
{
    Clip clip;
    clip.path = path;
    // NUT keeps packets as the encoder made them; the "data" muxer writes them one after the other.
    const std::string packets =
        output_of("ffprobe -loglevel error -select_streams v -show_entries packet=pts_time,size,flags -of csv=p=0 "
                  + in_quotes(clip.path));
    const std::string bytes =
        output_of(std::string(kFfmpeg) + "-i " + in_quotes(clip.path) + " -map 0:v -c copy -f data -");
    std::istringstream lines(packets);
    std::string line;
    std::size_t offset = 0;
    while (std::getline(lines, line)) {
        double seconds = 0;
        unsigned long size = 0;
        char flag = 0;
        if (std::sscanf(line.c_str(), "%lf,%lu,%c", &seconds, &size, &flag) != 3 || offset + size > bytes.size())
            return {};
        const auto start = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        clip.units.push_back(
            {{start, start + static_cast<std::ptrdiff_t>(size)}, std::llround(seconds * 1e9), flag == 'K'});
        offset += size;
    }
    return clip;
}

std::vector<std::uint8_t> take_headers(wire::Codec codec, std::vector<Driver::Unit> &units)
{
    std::vector<std::uint8_t> headers;
    for (Driver::Unit &unit : units) {
        std::vector<std::uint8_t> left;
        for (const auto piece : pieces_of(codec, unit.data)) {
            if (!is_header(codec, piece))
                left.insert(left.end(), piece.begin(), piece.end());
            else if (&unit == &units.front())
                headers.insert(headers.end(), piece.begin(), piece.end());
        }
        unit.data = std::move(left);
    }
    return headers;
}

std::vector<std::uint8_t> reference(const Clip &clip, const std::string &format, const std::string &options)
{
    const std::string bytes =
        output_of(std::string(kFfmpeg) + "-i " + in_quotes(clip.path) + " -fps_mode passthrough -f rawvideo -pix_fmt "
                  + format + " " + options + " -");
    return {bytes.begin(), bytes.end()};
}

} // namespace spice_overlay
