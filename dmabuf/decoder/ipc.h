// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/image.h"
#include "portclient/wire/messages.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// What the viewer and its decoder process say to each other.
///
/// The decoder is started with one end of a SOCK_SEQPACKET socketpair as descriptor 3 and the memory of access units, a
/// sealed memfd of kUnitsSize bytes, as descriptor 4; where Open names an allocator with a device, that is descriptor 5, and the
/// render node of a GPU that may decode is descriptor 6: the decoder opens none itself. Every packet of the socket is one message of exactly its struct's
/// size (Open: plus surface formats and extradata), in host byte order: both ends come from one build, and a version that differs ends the
/// conversation. The viewer begins with Open. The decoder says nothing to it but Log, and Failed when it cannot serve it, and
/// exits after Failed.
namespace spice_overlay::ipc {

inline constexpr std::uint16_t kVersion = 5;
inline constexpr int kSocketFd = 3;
inline constexpr int kUnitsFd = 4;
inline constexpr int kDeviceFd = 5;
inline constexpr int kRenderNodeFd = 6;

/// Three of the largest access units: with one in use at any place, another fits before or behind it. Pages that are
/// not in use for long cost nothing.
inline constexpr std::size_t kUnitsSize = 3 * std::size_t{wire::kMaxAccessUnit};
inline constexpr std::size_t kMaxUnits = 256; ///< access units in there at most

inline constexpr unsigned kMaxSlots = 64;
inline constexpr unsigned kMaxDescriptors = 64;         ///< of one stream's frames
inline constexpr std::size_t kFrameMemory = 256u << 20; ///< bytes of frames, unless kMinFrames need more
inline constexpr std::size_t kMinFrames = 16; ///< what reference frames, threads and presenting take at the least
inline constexpr std::size_t kMaxFrameMemory = 1024u << 20; ///< bytes of frames, always

/// Bytes of frames in main memory that one stream may have, the largest of which takes, or took, `bytes`: when its size changes, frames of
/// both are on show. The pool that makes them keeps to it, and the viewer holds it to that. (Of a device's surfaces there are as many as its
/// driver wants, up to kMaxFrameMemory.)
constexpr std::size_t max_frame_memory(std::size_t bytes)
{
    return std::min(kMaxFrameMemory, std::max(kFrameMemory, kMinFrames * bytes));
}

/// Frames of `bytes` each that one stream may have.
constexpr std::size_t max_frames(std::size_t bytes)
{
    return std::min<std::size_t>(max_frame_memory(bytes) / bytes, kMaxSlots);
}

/// Of a decoder that has units to decode and says nothing, ns. A weak processor takes a second for the largest picture.
inline constexpr std::int64_t kSilence = 4'000'000'000;
/// The same until it has said by what it decodes, ns: a GPU's driver may lie on a slow disk. More than it gives the driver itself.
inline constexpr std::int64_t kSilenceAtStart = 12'000'000'000;

/// Frames that the viewer may hold before the decoder waits for one to come back: it decodes no further ahead.
inline constexpr std::size_t kLeastHeld = 3;
constexpr std::size_t max_held(std::size_t bytes)
{
    return std::max(max_frames(bytes) / 3, kLeastHeld);
}

inline constexpr std::size_t kMaxSurfaceFormats = 512;

/// What GPUs decode into and who may pick them.
struct SurfaceFormat {
    std::uint32_t fourcc = 0;
    std::uint32_t reserved = 0;
    std::uint64_t modifier = 0;
};

/// Whether a GPU may decode.
enum class HardwareUse : std::uint32_t {
    kNever = 0,
    kAutomatic = 1, ///< where it proves itself
    kAlways = 2,    ///< without proof, and in spite of what is known of its driver
};

enum class Kind : std::uint16_t {
    // viewer to decoder
    kOpen = 1,
    kUnit = 2,   ///< Control with an access unit
    kNotice = 3, ///< Control without
    // decoder to viewer
    kBuffer = 0x81,
    kFrame = 0x82,
    kConsumed = 0x83,
    kFailed = 0x84,
    kLog = 0x85,
    kPath = 0x86,
    kReady = 0x87,
};

struct Head {
    std::uint16_t version = kVersion;
    Kind kind{};
    std::uint32_t size = 0; ///< of the whole message, bytes
};

/// First message. `surface_formats` SurfaceFormats follow the struct, then `extradata_size` bytes.
struct Open {
    Head head{kVersion, Kind::kOpen, 0};
    std::uint16_t codec = 0; ///< wire::Codec
    std::uint16_t fourcc_count = 0;
    std::uint16_t allocator = 0;      ///< spice_overlay::Allocator
    std::uint16_t dmabuf_fourccs = 0; ///< bit i: frames of fourccs[i] are to be dmabufs, if the allocator makes any
    std::int32_t profile = -1;
    std::int32_t level = -1;
    std::uint32_t coded_width = 0;
    std::uint32_t coded_height = 0;
    wire::ColourDescription colour;
    std::uint32_t frame_rate_num = 0;
    std::uint32_t frame_rate_den = 1;
    std::uint32_t fourccs[3] = {};
    std::uint32_t yuv_matrix = 0; ///< as DecoderProcess::Config
    std::uint32_t threads = 0;    ///< never 0 here
    std::uint32_t extradata_size = 0;
    std::uint32_t told_colours = 0; ///< YuvColourSet
    std::uint32_t reserved = 0;
    std::uint32_t hardware = 0; ///< HardwareUse
    std::uint32_t surface_formats = 0;
};

/// In a notice: no unit follows for now, bring out the pictures that wait for later ones.
inline constexpr std::uint32_t kDrain = 1u << 16;

/// Everything the viewer has to say while a stream runs. State travels with every message, so that none needs to be
/// sent for its own sake when a unit is on its way anyway, and none is lost when the socket is full.
struct Control {
    Head head{kVersion, Kind::kNotice, sizeof(Control)};
    std::uint32_t epoch = 0;     ///< larger than before: forget everything decoded so far
    std::uint32_t flags = 0;     ///< wire::AccessUnitFlag, or kDrain in a notice
    std::uint64_t released = 0;  ///< bit per slot: the viewer is through with it
    std::uint64_t offset = 0;    ///< of the unit in that memory
    std::uint32_t unit_size = 0; ///< 0 in a notice
    std::uint32_t reserved = 0;
    std::int64_t pts = 0;
};

/// A slot's memory, before its first frame, with its descriptors: the memfd, if there is one, then the dmabufs. In a memfd the planes
/// lie as shm_layout() says, and dmabufs beside it are the same memory.
struct Buffer {
    Head head{kVersion, Kind::kBuffer, sizeof(Buffer)};
    std::uint32_t slot = 0;
    std::uint32_t fourcc = 0;
    std::uint32_t width = 0; ///< pixels, allocated
    std::uint32_t height = 0;
    std::uint64_t size = 0; ///< bytes of the memfd; 0: there is none
    std::uint64_t modifier = kModifierLinear;
    std::uint32_t dmabufs = 0; ///< how many descriptors are dmabufs
    std::uint32_t plane_count = 0;
    ImageDescription::Plane planes[kMaxPlanes] = {}; ///< their objects are dmabufs, from 0
};

/// A picture. The viewer holds the slot until a Control releases it.
struct Frame {
    Head head{kVersion, Kind::kFrame, sizeof(Frame)};
    std::uint32_t consumed = 0; ///< access units, the oldest, that are done with since the last message
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    std::uint32_t colour = 0; ///< YuvColour, one of Open::told_colours or none
    wire::Rect crop;
    std::int64_t pts = 0;
    std::int64_t decode_ns = 0;
};

/// Access units that made no picture.
struct Consumed {
    Head head{kVersion, Kind::kConsumed, sizeof(Consumed)};
    std::uint32_t consumed = 0; ///< never 0 here
    std::uint32_t reserved = 0;
};

/// By what pictures are decoded from here on.
struct Path {
    Head head{kVersion, Kind::kPath, sizeof(Path)};
    std::uint32_t hardware = 0;  ///< 1: by a GPU, 0: by the processor
    std::uint32_t processed = 0; ///< 1: the GPU converts them for the compositor
    char name[80] = {}; ///< NUL-terminated, for people
    char why[408] = {}; ///< why not by something better
};

/// The codec is open and the sandbox closed: units are decoded from here on. Once.
struct Ready {
    Head head{kVersion, Kind::kReady, sizeof(Ready)};
    std::int64_t at = 0; ///< ns of CLOCK_MONOTONIC
};

/// The decoder's last word.
struct Failed {
    Head head{kVersion, Kind::kFailed, sizeof(Failed)};
    std::uint32_t reason = 0; ///< wire::Reason
    std::uint32_t reserved = 0;
    char text[240] = {}; ///< NUL-terminated, for people
};

/// A line for the log. In its sandbox the decoder has no standard error.
struct Log {
    Head head{kVersion, Kind::kLog, sizeof(Log)};
    char text[240] = {}; ///< NUL-terminated
};
inline constexpr unsigned kMaxLogLines = 24; ///< of one process

inline constexpr std::size_t kMaxReply = std::max(sizeof(Failed), sizeof(Path));
inline constexpr std::size_t kMaxRequest =
    sizeof(Open) + kMaxSurfaceFormats * sizeof(SurfaceFormat) + wire::kMaxExtradata;

// No padding: what is sent is what was written, and nothing of the sender's memory beside it.
template <typename... Messages>
inline constexpr bool kHavePadding = !(std::has_unique_object_representations_v<Messages> && ...);
static_assert(!kHavePadding<Open, SurfaceFormat, Control, Buffer, Frame, Consumed, Failed, Path, Ready, Log>);

} // namespace spice_overlay::ipc
