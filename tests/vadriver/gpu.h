// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "tests/dmabuf/clips.h"
#include "tests/dmabuf/driver.h"

#include "dmabuf/formats.h"

#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#define NEED_ENCODER(encoder)                                                                                          \
    if (!can_encode(encoder))                                                                                          \
    GTEST_SKIP() << "the ffmpeg program is missing, or has no encoder " << (encoder)

namespace spice_overlay {

constexpr int kFrames = 40;
constexpr std::uint64_t kTiled = 0x0100000000000002; ///< I915_FORMAT_MOD_Y_TILED

/// A kind of stream for the drivers of the tests.
struct Kind {
    const char *name;
    wire::Codec codec;
    const char *encoder;
    const char *options;
    std::uint32_t width;
    std::uint32_t height;
    bool deep = false; ///< 10 bits
};
void PrintTo(const Kind &kind, std::ostream *out);

/// Sets a variable of a driver's while it lives.
class Variable {
public:
    Variable(const char *name, const char *value);
    ~Variable();
    Variable(const Variable &) = delete;
    Variable &operator=(const Variable &) = delete;

private:
    const char *name_;
    std::optional<std::string> before_;
};

/// kFrames pictures of a moving test picture. Kept.
[[nodiscard]] const Clip &clip_of(const Kind &kind);
/// The clip's pictures as the ffmpeg program decodes them. Kept.
[[nodiscard]] const std::vector<std::uint8_t> &expected_of(const Kind &kind);
[[nodiscard]] std::size_t picture_size(const Kind &kind); ///< bytes

/// A decoder that may use the GPU of the tests: the driver's memory is a memfd, and taken for a dmabuf.
struct Gpu {
    UniqueFd node;
    DecoderProcess::Config config;

    explicit Gpu(const Kind &kind);
};

/// Every picture of the clip has come out once, in order, as the ffmpeg program decodes it. Returns how many were in surfaces.
std::size_t check_pictures(const Driver &driver, const Kind &kind, const Clip &clip);
/// The same of streams whose units lie in another order than their pictures.
std::size_t check_shown_pictures(const Driver &driver, const Kind &kind);

/// Decodes the clip while nothing comes back, then gives everything back: no picture is lost.
void waits_for_pictures_to_come_back(const DecoderProcess::Config &config, const Kind &kind);
/// Decodes the clip of `kind`, and after it, in the same stream, that of `large`, which is of another size.
void gives_a_stream_of_another_size_new_surfaces(const Kind &kind, const Kind &large);

/// Decodes the clip: every picture comes out of the surfaces of the device that has this name.
void shows_every_picture(Driver &driver, const Kind &kind, const std::string &name);

/// A driver's fault, and what is to come of it.
struct Mishap {
    const char *name;
    const char *fault;    ///< of the driver's, or "" when the compositor is to blame
    const char *why;      ///< a part of what is said
    std::size_t surfaces; ///< pictures before
};
void PrintTo(const Mishap &mishap, std::ostream *out);
/// Decodes the clip: no picture is lost or repeated, and why the device is left is said once. Returns how many were in its surfaces.
std::size_t steps_down(Driver &driver, const Kind &kind, const Mishap &mishap);

} // namespace spice_overlay
