// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

/// The framing of measurements, described in spice-overlay-port(1), FRAMES. It has nothing in common with the video
/// protocol, so that neither takes the other for its own.
namespace spice_overlay::tool {

inline constexpr std::size_t kHeaderSize = 28;
inline constexpr std::size_t kMaxFrame = 32768; ///< header included: what one write moves through a virtio port
inline constexpr std::size_t kMaxBody = kMaxFrame - kHeaderSize;

enum class Type : std::uint8_t {
    kPing = 1, ///< any body: answered by kPong of the same run, sequence and body
    kPong = 2,
    kData = 3,  ///< counted by whoever gets it
    kCount = 4, ///< asks for kCounted
    kCounted =
        5,     ///< what has come of the run's kData: five u64: frames, bytes, lost, broken, and ns from first to last
    kSend = 6, ///< asks for kData of u32 bytes each, for u32 ms
    kSent = 7, ///< the last of them is sent: two u64: frames, bytes
};

struct Frame {
    Type type;
    std::uint32_t run; ///< drawn for each measurement: what an earlier one left behind is told apart by it
    std::uint64_t sequence;
    std::span<const std::uint8_t> body; ///< at most kMaxBody
};

void append_frame(std::vector<std::uint8_t> &bytes, const Frame &frame);

/// Finds frames in a stream of bytes that may begin anywhere, have holes, and hold other things.
class Scanner {
public:
    class Sink {
    public:
        virtual ~Sink() = default;
        virtual void frame(const Frame &frame) = 0; ///< whole and sound; the body is borrowed for the call
        virtual void stray(std::span<const std::uint8_t> bytes) = 0; ///< belongs to no sound frame
    };

    void feed(std::span<const std::uint8_t> bytes, Sink &sink);
    void reset() { buffer_.clear(); }

    /// Frames with a sound header whose body was not.
    [[nodiscard]] std::uint64_t broken() const { return broken_; }

private:
    std::vector<std::uint8_t> buffer_; ///< less than a frame
    std::uint64_t broken_ = 0;
};

} // namespace spice_overlay::tool
