// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay::test {

/// A directory that is removed with everything in it.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    [[nodiscard]] std::string operator/(const std::string &name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// Runs the `ffmpeg` program with these words behind "ffmpeg -v error -nostdin -y"; true when it succeeded.
/// Its standard output goes to `output` where given.
[[nodiscard]] bool ffmpeg(const std::vector<std::string> &words, std::string *output = nullptr);
[[nodiscard]] bool has_ffmpeg();
[[nodiscard]] bool has_encoder(const std::string &name);

/// The checksum of every picture that the `ffmpeg` program decodes, in display order. `format`: demuxer to use, or "".
[[nodiscard]] std::vector<std::string> picture_checksums(const std::string &path, const std::string &format = "");

/// A clip of `seconds` in which every picture differs from every other, encoded by `encoder` (words for ffmpeg).
[[nodiscard]] bool make_clip(const std::string &path, const std::vector<std::string> &encoder, int seconds = 2,
                             const std::string &size = "320x240");

/// An IVF file around `frames`.
void write_ivf(const std::string &path, const char (&fourcc)[5], const std::vector<std::vector<std::uint8_t>> &frames);
void write_bytes(const std::string &path, std::span<const std::uint8_t> bytes);
[[nodiscard]] std::vector<std::uint8_t> read_bytes(const std::string &path);

} // namespace spice_overlay::test
