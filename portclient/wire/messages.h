// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

/// The messages of spice-overlay's port protocol, version 1. docs/protocol.md is normative; this header follows it.
///
/// Every integer is little-endian. A message is a 4-byte header (size of the whole message, type, flags) and a body.
/// Rectangles are in guest pixels of the named display unless a field says otherwise; times are nanoseconds of the
/// clock that the field names. A value that this header decodes has been checked against the limits below, except what
/// a STREAM_OPEN describes: that is refused by STREAM_REJECT, stream by stream.
namespace spice_overlay::wire {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr char kDefaultPortName[] = "org.spice-overlay.video.0";

// Limits. A message beyond one of these is malformed.
inline constexpr std::size_t kHeaderSize = 4;
inline constexpr std::size_t kMaxMessageSize = 65535;      ///< bytes, header included
inline constexpr std::size_t kMaxHelloSize = 4096;         ///< bytes, header included
inline constexpr std::size_t kMaxExtradata = 32768;        ///< bytes
inline constexpr std::size_t kMaxRegionRects = 256;
inline constexpr std::size_t kMaxCodecs = 64;              ///< entries in a HELLO
inline constexpr std::size_t kMaxNameLength = 64;          ///< bytes of UTF-8
inline constexpr std::uint32_t kMaxAccessUnit = 16u << 20; ///< bytes
inline constexpr std::uint32_t kMaxCodedSide = 8192;       ///< pixels
inline constexpr std::uint32_t kMaxCodedArea = 1u << 25;   ///< pixels
inline constexpr std::int32_t kMaxCoordinate = 32767;      ///< guest pixels, either sign; widths and heights too
inline constexpr std::int64_t kMaxTime = std::int64_t{1} << 61; ///< ns, either sign: sums never overflow

enum class Role : std::uint8_t { kGuest = 1, kClient = 2 };

enum class Codec : std::uint16_t {
    kH264 = 1, ///< Annex B byte stream, one access unit per unit (ITU-T H.264)
    kHevc = 2, ///< Annex B byte stream (ITU-T H.265)
    kVp8 = 3,  ///< one frame (RFC 6386)
    kVp9 = 4,  ///< one frame or superframe
    kAv1 = 5,  ///< one temporal unit, low-overhead OBU format (AV1 section 5)
    kMpeg2 = 6,
    kMjpeg = 7,
};

/// Why a stream was refused or ended. Both sides use the same codes; text for people comes from describe().
enum class Reason : std::uint16_t {
    kNone = 0,
    kEndOfStream = 1, ///< the source has ended
    kClosedByUser = 2,
    kUnsupportedCodec = 3,
    kUnsupportedProfile = 4, ///< profile, level, chroma format or bit depth
    kTooLarge = 5,           ///< beyond the announced largest size, or the limits above
    kTooManyStreams = 6,
    kBadParameters = 7, ///< zero size, reused identifier
    kDecoderFailed = 8, ///< the decoder keeps dying or refuses every access unit
    kLinkTooSlow = 9,
    kProtocolError = 10,
    kNoResources = 11,
    kShuttingDown = 12,
    kNoClient = 13,        ///< of a relay: no client is connected
    kSessionInactive = 14, ///< of a relay: the player's session is locked, or another one is shown
};

/// Half-open rectangle [x, x+width) x [y, y+height). May lie partly or wholly outside the display.
struct Rect {
    std::int32_t x = 0;
    std::int32_t y = 0;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    bool operator==(const Rect &) const = default;
};

/// In 1/65536 of a coded pixel (16.16 unsigned fixed point), inside the coded picture.
struct SourceCrop {
    std::uint32_t x = 0;
    std::uint32_t y = 0;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    bool operator==(const SourceCrop &) const = default;
};

/// Code points of ITU-T H.273; 2 means unspecified.
struct ColourDescription {
    std::uint8_t primaries = 2;
    std::uint8_t transfer = 2;
    std::uint8_t matrix = 2;
    std::uint8_t full_range = 0; ///< 0 limited, 1 full
    bool operator==(const ColourDescription &) const = default;
};

struct CodecCapability {
    Codec codec = Codec::kH264;
    std::uint16_t flags = 0; ///< bit 0: decoded in hardware
    std::int32_t max_profile = -1; ///< codec's own number (e.g. profile_idc); -1: any
    std::int32_t max_level = -1;   ///< codec's own number; -1: any
    std::uint32_t max_width = 0;   ///< pixels
    std::uint32_t max_height = 0;
    bool operator==(const CodecCapability &) const = default;
};
inline constexpr std::uint16_t kCodecInHardware = 1;

/// Bit of Hello::capabilities: a relay, which keeps streams while there is no client. See docs/protocol.md, "Relays".
inline constexpr std::uint32_t kRelay = 1;

/// What the body of every HELLO begins with, in any version: how a side finds one in bytes of unknown kind.
inline constexpr std::array<std::uint8_t, 8> kHelloMagic = {'S', 'p', 'i', 'c', 'e', 'O', 'v', 'l'};

/// Both ways. Resets everything: streams, credits, clocks, and the framing of the byte stream itself.
/// `nonce` is fresh for every HELLO that starts a conversation; `peer_nonce` is the other side's, or 0 in a HELLO that
/// asks for an answer. See docs/protocol.md, "Handshake".
struct Hello {
    std::uint16_t min_version = kProtocolVersion;
    std::uint16_t max_version = kProtocolVersion;
    Role role = Role::kGuest;
    std::uint64_t nonce = 0;
    std::uint64_t peer_nonce = 0;
    std::uint32_t capabilities = 0;       ///< kRelay
    std::uint16_t max_streams = 0;        ///< client: live streams at most
    std::string name;                     ///< program and version, for logs
    std::vector<CodecCapability> codecs;  ///< client only
    bool operator==(const Hello &) const = default;
};

// ---- guest to client

struct StreamOpen {
    std::uint32_t stream = 0; ///< never 0, never used before on this connection
    Codec codec = Codec::kH264;
    std::int32_t profile = -1;
    std::int32_t level = -1;
    std::uint32_t coded_width = 0; ///< pixels
    std::uint32_t coded_height = 0;
    std::uint32_t aspect_num = 1; ///< sample aspect ratio
    std::uint32_t aspect_den = 1;
    ColourDescription colour;
    std::uint16_t rotation = 0; ///< degrees clockwise to turn the picture for display: 0, 90, 180, 270
    std::uint32_t frame_rate_num = 0; ///< 0: unknown
    std::uint32_t frame_rate_den = 1;
    std::uint32_t bit_rate = 0; ///< bits per second, a hint for the credit; 0: unknown
    std::vector<std::uint8_t> extradata;
    bool operator==(const StreamOpen &) const = default;
};

enum AccessUnitFlag : std::uint16_t {
    kKey = 1,           ///< decoding can start here
    kDiscontinuity = 2, ///< something before this unit was left out
    kDroppable = 4,     ///< no other unit refers to this one
};

/// The first chunk of an access unit. `data` borrows from the message it was decoded from.
struct AccessUnit {
    /// Decoded from the short form: serial and epoch are not set, pts is relative to the unit before. See resolve().
    bool follows = false;
    std::uint32_t stream = 0;
    std::uint32_t serial = 0; ///< counts access units of the stream from 0, dropped ones not counted
    std::uint32_t epoch = 0;
    std::uint16_t flags = 0;  ///< AccessUnitFlag
    std::int64_t pts = 0;     ///< when to show it: ns of the guest's CLOCK_MONOTONIC
    std::uint32_t total_size = 0; ///< bytes of the whole unit, 1 ... kMaxAccessUnit
    std::span<const std::uint8_t> data;
};

/// A further chunk; chunks of one unit come in order, with other messages between them.
struct AccessUnitChunk {
    std::uint32_t stream = 0;
    std::uint32_t serial = 0;
    std::uint32_t offset = 0; ///< bytes already sent of this unit
    std::span<const std::uint8_t> data;
};

/// Where a stream's picture is on the guest's desktop. The newest serial holds; it may come before STREAM_OPEN.
struct Geometry {
    std::uint32_t stream = 0;
    std::uint32_t serial = 0;
    std::uint32_t display = 0;
    Rect target; ///< where the whole (cropped) picture would be drawn
    SourceCrop crop; ///< all zero: the whole picture
    /// The placeholder that the guest paints over the visible region, 0x00RRGGBB, or nothing when it paints none.
    std::optional<std::uint32_t> placeholder;
    std::vector<Rect> visible; ///< union of these is the visible region; empty: nothing is visible
    bool operator==(const Geometry &) const = default;
};

enum class PlayMode : std::uint8_t { kPlaying = 0, kPaused = 1 };

/// Play state. A larger epoch flushes: access units of an older epoch are neither decoded further nor shown.
struct PlayState {
    std::uint32_t stream = 0;
    std::uint32_t epoch = 0;
    PlayMode mode = PlayMode::kPlaying;
    std::int32_t rate = 65536; ///< 16.16 fixed point, 1.0 is normal speed
    bool operator==(const PlayState &) const = default;
};

// ---- client to guest

struct StreamAccept {
    std::uint32_t stream = 0;
    bool operator==(const StreamAccept &) const = default;
};

struct StreamReject {
    std::uint32_t stream = 0;
    Reason reason = Reason::kNone;
    bool operator==(const StreamReject &) const = default;
};

/// Cumulative limits since STREAM_OPEN: the guest may have sent this many bytes of access units and started this many
/// units, and no more. Limits never shrink.
struct Credit {
    std::uint32_t stream = 0;
    std::uint64_t bytes = 0;
    std::uint32_t units = 0;
    bool operator==(const Credit &) const = default;
};

/// Counters are cumulative since STREAM_OPEN.
struct Feedback {
    std::uint32_t stream = 0;
    std::uint32_t epoch = 0;
    std::uint32_t presented = 0;
    std::uint32_t late = 0;     ///< decoded, dropped because a newer frame was due
    std::uint32_t decode_us = 0; ///< mean decode time since the last feedback, microseconds
    std::uint16_t queued = 0;   ///< access units received and not yet decoded
    bool operator==(const Feedback &) const = default;
};

/// The client cannot go on from here (its decoder was restarted): send from a key frame on.
struct NeedKey {
    std::uint32_t stream = 0;
    bool operator==(const NeedKey &) const = default;
};

// ---- relay to player

/// Whether there is a client behind the relay, and what it decodes.
struct ClientState {
    Reason reason = Reason::kNone; ///< kNone: there is one; else why nothing is redirected now
    std::vector<CodecCapability> codecs;
    bool operator==(const ClientState &) const = default;
};

/// What becomes of an accepted stream, until the next one.
struct StreamState {
    std::uint32_t stream = 0;
    Reason reason = Reason::kNone; ///< kNone: the client shows it; else why the player has to
    bool operator==(const StreamState &) const = default;
};

// ---- both ways

struct StreamClose {
    std::uint32_t stream = 0;
    Reason reason = Reason::kNone;
    bool operator==(const StreamClose &) const = default;
};

struct Ping {
    std::uint32_t id = 0;
    std::uint64_t sent = 0; ///< ns of the sender's CLOCK_MONOTONIC
    bool operator==(const Ping &) const = default;
};

struct Pong {
    std::uint32_t id = 0;
    std::uint64_t sent = 0;     ///< copied from the Ping
    std::uint64_t received = 0; ///< ns of the answering side's CLOCK_MONOTONIC
    std::uint64_t replied = 0;
    bool operator==(const Pong &) const = default;
};

enum class Type : std::uint16_t {
    kHello = 0x01,
    kPing = 0x02,
    kPong = 0x03,
    kStreamClose = 0x04,
    kStreamOpen = 0x10,
    kAccessUnit = 0x11,
    kAccessUnitChunk = 0x12,
    kGeometry = 0x13,
    kPlayState = 0x14,
    kStreamAccept = 0x20,
    kStreamReject = 0x21,
    kCredit = 0x22,
    kFeedback = 0x23,
    kNeedKey = 0x24,
    kClientState = 0x25,
    kStreamState = 0x26,
};

/// A well-formed message of a type that this version does not know: to be counted, and ignored.
struct Unknown {
    std::uint16_t type = 0;
};

using Message = std::variant<Hello, Ping, Pong, StreamClose, StreamOpen, AccessUnit, AccessUnitChunk, Geometry,
                             PlayState, StreamAccept, StreamReject, Credit, Feedback, NeedKey,
                             ClientState, StreamState, Unknown>;

/// Appends the whole message, header included, to `out`. The message must respect the limits above (asserted).
void encode(const Message &message, std::vector<std::uint8_t> &out);

/// The access unit before, of one stream: what the short form of ACCESS_UNIT refers to. One per stream at either end.
struct UnitReference {
    bool valid = false;
    std::uint32_t serial = 0;
    std::uint32_t epoch = 0;
    std::int64_t pts = 0;
};

/// Splits one access unit into its messages and appends them to `out` one after the other; `unit.data` is the whole
/// unit here and total_size is not read. `ends` receives the offset in `out` just behind each message, so that a sender
/// can write chunk by chunk. With `previous` (the stream's own, updated here; every unit encoded must then also be
/// sent) the short form is used where possible, which takes about 8 bytes less.
void encode_access_unit(const AccessUnit &unit, std::vector<std::uint8_t> &out, std::vector<std::size_t> &ends,
                        UnitReference *previous = nullptr);

/// Completes a decoded unit from the one before it in its stream and makes it the new `previous`. False, with nothing
/// changed, when there is none or the time is out of range.
[[nodiscard]] bool resolve(AccessUnit &unit, UnitReference &previous);

/// Payload bytes in one message of encode_access_unit(), at most: one write() of a virtio port moves 32 KiB.
inline constexpr std::size_t kChunkPayload = 32768 - 32;

const char *describe(Reason reason); ///< one line for people, in lower case; any number
const char *name(Codec codec);       ///< "H.264", "VP9" ...; "unknown" for any other number
const char *name(Type type);         ///< "ACCESS_UNIT" ...; "unknown" for any other number
std::optional<Codec> codec_from_number(std::uint16_t number);

} // namespace spice_overlay::wire
