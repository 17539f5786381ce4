// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/decoder/decoder_process.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>

namespace spice_overlay {

/// Runs a DecoderProcess as the viewer would and keeps what it says. Unlike the viewer it maps frames, to look at them.
class Driver : public DecoderProcess::Listener {
public:
    struct Unit {
        std::vector<std::uint8_t> data;
        std::int64_t pts = 0;
        bool key = false;
    };
    struct Picture {
        DecodedFrame frame;
        std::uint32_t fourcc = 0;
        std::uint32_t buffer_width = 0;
        std::uint32_t buffer_height = 0;
        std::vector<std::uint8_t>
            pixels; ///< cropped: Y, U and V planes (16-bit samples from P010, as they are in 10 bits), or B, G, R, X
    };

    static constexpr std::chrono::seconds kDeadline{30};

    /// Every fourcc offered, YU12 first, two threads, yuv_matrix 0.
    static DecoderProcess::Config config(const std::string &program, wire::Codec codec, std::uint32_t width,
                                         std::uint32_t height);

    explicit Driver(const DecoderProcess::Config &config);

    /// Dispatches until `done` says so; false when the deadline passes first.
    [[nodiscard]] bool wait(const std::function<bool()> &done, std::chrono::milliseconds deadline = kDeadline);

    /// Sends one unit, dispatching while more than `window` are in flight. False: there was no room, or the decoder
    /// failed.
    [[nodiscard]] bool feed(const Unit &unit, std::uint16_t flags = 0);
    /// Sends all, drains, and waits for the pictures.
    [[nodiscard]] bool feed_all(const std::vector<Unit> &units);

    void release_all();

    std::unique_ptr<DecoderProcess> decoder;
    std::string start_error;

    std::size_t window = 8;
    bool hold = false; ///< keep frames until release_all()
    bool keep_pixels = true;
    std::uint32_t epoch = 0; ///< of the units sent

    std::vector<Picture> pictures;
    std::vector<std::uint32_t> held;
    std::size_t buffers = 0; ///< descriptors received
    std::set<std::uint32_t> slots;
    std::size_t units_sent = 0;
    std::size_t units_consumed = 0;
    std::vector<DecodePath> paths;
    unsigned failures = 0;
    wire::Reason reason = wire::Reason::kNone;
    std::string why;

private:
    void buffer(FrameBuffer buffer) override;
    void frame(const DecodedFrame &frame) override;
    void path(const DecodePath &path) override;
    void consumed(std::uint32_t units) override;
    void failed(wire::Reason failed_reason, const std::string &text) override;

    std::map<std::uint32_t, FrameBuffer> buffers_;
};

} // namespace spice_overlay
