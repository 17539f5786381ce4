// SPDX-License-Identifier: LGPL-2.1-or-later
#include "messages.h"

#include "bytes.h"
#include "deframer.h"

#include <algorithm>
#include <cassert>

namespace spice_overlay::wire {

namespace {

// Flags in a message's header.
constexpr std::uint8_t kUnitFlags = kKey | kDiscontinuity | kDroppable;
constexpr std::uint8_t kUnitPartial = 8;      // ACCESS_UNIT: total_size is there, and chunks follow
constexpr std::uint8_t kUnitFollows = 16;     // ACCESS_UNIT: short form
constexpr std::uint8_t kWithPlaceholder = 1;  // GEOMETRY
constexpr std::uint8_t kWithCrop = 2;         // GEOMETRY

template <typename V, typename M>
concept Is = std::same_as<std::remove_const_t<V>, M>;

// The layout of each message, once for both directions: `io` is a Reader or a Writer, `flags` those of the header. A
// reader stops with a text where a count or a value is out of bounds; what a whole struct must fulfil is in check().

template <typename Io>
const char *rect(Io &io, Is<Rect> auto &r)
{
    auto x = static_cast<std::int16_t>(r.x);
    auto y = static_cast<std::int16_t>(r.y);
    auto width = static_cast<std::uint16_t>(r.width);
    auto height = static_cast<std::uint16_t>(r.height);
    io(x, y, width, height);
    if constexpr (Io::kReading) {
        if (x < -kMaxCoordinate || y < -kMaxCoordinate || width > kMaxCoordinate || height > kMaxCoordinate)
            return "rectangle out of range";
        r = {x, y, width, height};
    }
    return nullptr;
}

/// `count` entries; those of an unknown codec, from a newer version, are left out when reading.
template <typename Io>
void codec_list(Io &io, auto &codecs, unsigned count)
{
    auto entry = [&](auto &c) { io(c.codec, c.flags, c.max_profile, c.max_level, c.max_width, c.max_height); };
    if constexpr (Io::kReading) {
        codecs.clear();
        for (unsigned i = 0; i < count && !io.failed(); ++i) {
            CodecCapability c;
            entry(c);
            if (codec_from_number(static_cast<std::uint16_t>(c.codec)))
                codecs.push_back(c);
        }
    } else {
        for (const CodecCapability &c : codecs)
            entry(c);
    }
}

constexpr std::size_t kCodecSize = 20; // bytes of an entry

/// What a HELLO has before its codecs.
template <typename Io>
const char *hello_head(Io &io, Is<Hello> auto &m, std::uint8_t &codecs)
{
    std::array<std::uint8_t, kHelloMagic.size()> magic = kHelloMagic;
    for (std::uint8_t &byte : magic)
        io(byte);
    auto name_length = static_cast<std::uint8_t>(m.name.size());
    io(m.min_version, m.max_version, m.nonce, m.peer_nonce, m.capabilities, m.max_streams, m.role, codecs, name_length);
    if constexpr (Io::kReading) {
        if (magic != kHelloMagic)
            return "wrong magic";
        if (codecs > kMaxCodecs)
            return "too many codecs";
        if (name_length > kMaxNameLength)
            return "name too long";
        auto text = io.bytes(name_length);
        if (std::ranges::any_of(text, [](std::uint8_t c) { return c < 0x20 || c == 0x7f; }))
            return "control character in the name";
        m.name.assign(text.begin(), text.end());
    } else {
        io.bytes({reinterpret_cast<const std::uint8_t *>(m.name.data()), m.name.size()});
    }
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Hello> auto &m, std::uint8_t &)
{
    auto codecs = static_cast<std::uint8_t>(m.codecs.size());
    if (const char *why = hello_head(io, m, codecs))
        return why;
    codec_list(io, m.codecs, codecs);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Ping> auto &m, std::uint8_t &)
{
    io(m.id, m.sent);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Pong> auto &m, std::uint8_t &)
{
    io(m.id, m.sent, m.received, m.replied);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<StreamClose> auto &m, std::uint8_t &)
{
    io(m.stream, m.reason);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<StreamOpen> auto &m, std::uint8_t &)
{
    io(m.stream, m.codec, m.rotation, m.profile, m.level, m.coded_width, m.coded_height, m.aspect_num, m.aspect_den,
       m.colour.primaries, m.colour.transfer, m.colour.matrix, m.colour.full_range, m.frame_rate_num, m.frame_rate_den,
       m.bit_rate);
    if constexpr (Io::kReading) {
        if (io.left() > kMaxExtradata)
            return "extradata too long";
        auto rest = io.bytes(io.left());
        m.extradata.assign(rest.begin(), rest.end());
    } else {
        io.bytes(m.extradata);
    }
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<AccessUnit> auto &m, std::uint8_t &flags)
{
    if constexpr (Io::kReading) {
        io(Varint{m.stream});
        m.follows = flags & kUnitFollows;
        if (m.follows) {
            std::uint64_t zigzag = 0;
            io(Varint{zigzag});
            m.pts = static_cast<std::int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
        } else {
            io(Varint{m.serial}, Varint{m.epoch}, m.pts);
        }
        m.flags = flags & kUnitFlags;
        if (flags & kUnitPartial)
            io(Varint{m.total_size});
        m.data = io.bytes(io.left());
        if (!(flags & kUnitPartial))
            m.total_size = static_cast<std::uint32_t>(m.data.size());
        else if (m.total_size <= m.data.size())
            return "partial, yet all of the unit is there";
    } else {
        flags |= static_cast<std::uint8_t>(m.flags & kUnitFlags);
        io(Varint{m.stream});
        if (m.follows) {
            flags |= kUnitFollows;
            std::uint64_t zigzag = (static_cast<std::uint64_t>(m.pts) << 1) ^ (m.pts < 0 ? ~std::uint64_t{0} : 0);
            io(Varint{zigzag});
        } else {
            io(Varint{m.serial}, Varint{m.epoch}, m.pts);
        }
        if (m.total_size != m.data.size()) {
            flags |= kUnitPartial;
            io(Varint{m.total_size});
        }
        io.bytes(m.data);
    }
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<AccessUnitChunk> auto &m, std::uint8_t &)
{
    io(Varint{m.stream}, Varint{m.serial}, Varint{m.offset});
    if constexpr (Io::kReading)
        m.data = io.bytes(io.left());
    else
        io.bytes(m.data);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Geometry> auto &m, std::uint8_t &flags)
{
    io(m.stream, m.serial, m.display);
    if (const char *why = rect(io, m.target))
        return why;
    if constexpr (Io::kReading) {
        m.placeholder.reset();
        m.crop = {};
        if (flags & kWithPlaceholder)
            io(m.placeholder.emplace());
        if (flags & kWithCrop)
            io(m.crop.x, m.crop.y, m.crop.width, m.crop.height);
        std::uint16_t count = 0;
        io(count);
        if (count > kMaxRegionRects)
            return "too many rectangles";
        if (io.left() < count * std::size_t{8}) // before any memory is taken
            return "too short";
        m.visible.resize(count);
    } else {
        if (m.placeholder) {
            flags |= kWithPlaceholder;
            io(*m.placeholder);
        }
        if (m.crop != SourceCrop{}) {
            flags |= kWithCrop;
            io(m.crop.x, m.crop.y, m.crop.width, m.crop.height);
        }
        io(static_cast<std::uint16_t>(m.visible.size()));
    }
    for (auto &r : m.visible)
        if (const char *why = rect(io, r))
            return why;
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<PlayState> auto &m, std::uint8_t &)
{
    io(m.stream, m.epoch, m.rate, m.mode);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<StreamAccept> auto &m, std::uint8_t &)
{
    io(m.stream);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<StreamReject> auto &m, std::uint8_t &)
{
    io(m.stream, m.reason);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Credit> auto &m, std::uint8_t &)
{
    io(m.stream, m.bytes, m.units);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<Feedback> auto &m, std::uint8_t &)
{
    io(m.stream, m.epoch, m.presented, m.late, m.decode_us, m.queued);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<NeedKey> auto &m, std::uint8_t &)
{
    io(m.stream);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<ClientState> auto &m, std::uint8_t &)
{
    auto codecs = static_cast<std::uint8_t>(m.codecs.size());
    io(m.reason, codecs);
    if (codecs > kMaxCodecs)
        return "too many codecs";
    codec_list(io, m.codecs, codecs);
    return nullptr;
}

template <typename Io>
const char *fields(Io &io, Is<StreamState> auto &m, std::uint8_t &)
{
    io(m.stream, m.reason);
    return nullptr;
}

// What a complete message must fulfil, beyond its layout; encode() asserts the same.

template <typename M>
const char *check(const M &)
{
    return nullptr;
}

const char *check(const Hello &m)
{
    if (m.role != Role::kGuest && m.role != Role::kClient)
        return "unknown role";
    if (m.nonce == 0)
        return "nonce 0";
    if (m.min_version == 0 || m.min_version > m.max_version)
        return "empty range of versions";
    return nullptr;
}

const char *check(const AccessUnit &m)
{
    if (m.data.empty())
        return "no data";
    if (m.total_size > kMaxAccessUnit)
        return "access unit too large";
    if (m.pts < -kMaxTime || m.pts > kMaxTime)
        return "time out of range";
    return nullptr;
}

const char *check(const AccessUnitChunk &m)
{
    if (m.data.empty())
        return "no data";
    if (m.offset == 0 || m.offset > kMaxAccessUnit || m.data.size() > kMaxAccessUnit - m.offset)
        return "chunk outside any access unit";
    return nullptr;
}

const char *check(const Geometry &m)
{
    constexpr std::uint32_t limit = kMaxCodedSide << 16;
    const SourceCrop &c = m.crop;
    if (c != SourceCrop{} && (c.width == 0 || c.height == 0))
        return "empty crop";
    if (c.x > limit || c.width > limit - c.x || c.y > limit || c.height > limit - c.y)
        return "crop out of range";
    if (m.placeholder && *m.placeholder > 0xffffff)
        return "placeholder out of range";
    return nullptr;
}

const char *check(const PlayState &m)
{
    return m.mode == PlayMode::kPlaying || m.mode == PlayMode::kPaused ? nullptr : "unknown mode";
}

// Only what the writer cannot represent or the reader would refuse for its length.
bool fits(const Hello &m) { return m.codecs.size() <= kMaxCodecs && m.name.size() <= kMaxNameLength; }
bool fits(const ClientState &m) { return m.codecs.size() <= kMaxCodecs; }
bool fits(const StreamOpen &m) { return m.extradata.size() <= kMaxExtradata; }
bool fits(const AccessUnit &m) { return m.data.size() <= m.total_size; }

bool fits(const Rect &r)
{
    return r.x >= -kMaxCoordinate && r.x <= kMaxCoordinate && r.y >= -kMaxCoordinate && r.y <= kMaxCoordinate &&
           r.width <= kMaxCoordinate && r.height <= kMaxCoordinate;
}

bool fits(const Geometry &m)
{
    return fits(m.target) && m.visible.size() <= kMaxRegionRects &&
           std::ranges::all_of(m.visible, [](const Rect &r) { return fits(r); });
}

template <typename M>
bool fits(const M &)
{
    return true;
}

template <typename M>
const char *decode_as(Reader &in, std::uint8_t flags, Message &out)
{
    M &m = out.emplace<M>();
    if (const char *why = fields(in, m, flags))
        return in.failed() ? "too short" : why;
    if (in.failed())
        return "too short";
    if (in.left() > 0 && !std::is_same_v<M, Hello>) // a later version may append to HELLO
        return "too long";
    if constexpr (requires { m.stream; }) {
        if (m.stream == 0)
            return "stream 0";
    }
    return check(m);
}

struct Entry {
    Type type;
    const char *name;
    std::uint8_t flags; ///< those that version 1 defines
    const char *(*decode)(Reader &in, std::uint8_t flags, Message &out);
};

constexpr Entry kEntries[] = {
    {Type::kHello, "HELLO", 0xff, decode_as<Hello>},
    {Type::kPing, "PING", 0, decode_as<Ping>},
    {Type::kPong, "PONG", 0, decode_as<Pong>},
    {Type::kStreamClose, "STREAM_CLOSE", 0, decode_as<StreamClose>},
    {Type::kStreamOpen, "STREAM_OPEN", 0, decode_as<StreamOpen>},
    {Type::kAccessUnit, "ACCESS_UNIT", kUnitFlags | kUnitPartial | kUnitFollows, decode_as<AccessUnit>},
    {Type::kAccessUnitChunk, "ACCESS_UNIT_CHUNK", 0, decode_as<AccessUnitChunk>},
    {Type::kGeometry, "GEOMETRY", kWithPlaceholder | kWithCrop, decode_as<Geometry>},
    {Type::kPlayState, "PLAY_STATE", 0, decode_as<PlayState>},
    {Type::kStreamAccept, "STREAM_ACCEPT", 0, decode_as<StreamAccept>},
    {Type::kStreamReject, "STREAM_REJECT", 0, decode_as<StreamReject>},
    {Type::kCredit, "CREDIT", 0, decode_as<Credit>},
    {Type::kFeedback, "FEEDBACK", 0, decode_as<Feedback>},
    {Type::kNeedKey, "NEED_KEY", 0, decode_as<NeedKey>},
    {Type::kClientState, "CLIENT_STATE", 0, decode_as<ClientState>},
    {Type::kStreamState, "STREAM_STATE", 0, decode_as<StreamState>},
};

const Entry *find(Type type)
{
    auto found = std::ranges::find(kEntries, type, &Entry::type);
    return found == std::end(kEntries) ? nullptr : found;
}

// In the order of the variant's alternatives, Unknown aside.
constexpr Type kTypes[] = {Type::kHello,      Type::kPing,         Type::kPong,         Type::kStreamClose,
                           Type::kStreamOpen, Type::kAccessUnit,   Type::kAccessUnitChunk, Type::kGeometry,
                           Type::kPlayState,  Type::kStreamAccept, Type::kStreamReject, Type::kCredit,
                           Type::kFeedback,   Type::kNeedKey,      Type::kClientState,  Type::kStreamState};
static_assert(std::size(kTypes) == std::variant_size_v<Message> - 1);

template <typename M>
void encode_as(Type type, const M &message, std::vector<std::uint8_t> &out)
{
    assert(fits(message) && !check(message));
    std::size_t start = out.size();
    std::uint8_t flags = 0;
    Writer writer(out);
    writer(std::uint16_t{0}, static_cast<std::uint8_t>(type), flags);
    fields(writer, message, flags);
    std::size_t size = out.size() - start;
    assert(size <= kMaxMessageSize);
    out[start] = static_cast<std::uint8_t>(size);
    out[start + 1] = static_cast<std::uint8_t>(size >> 8);
    out[start + 3] = flags;
}

} // namespace

bool decode(std::span<const std::uint8_t> message, Message &out, std::string &why)
{
    Reader in(message);
    std::uint16_t size = 0;
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    in(size, type, flags);
    if (in.failed() || size != message.size()) {
        why = "message of a wrong size";
        return false;
    }
    const Entry *entry = find(static_cast<Type>(type));
    if (!entry) {
        out.emplace<Unknown>().type = type;
        return true;
    }
    const char *problem = flags & ~entry->flags ? "undefined flag" : entry->decode(in, flags, out);
    if (problem)
        why.assign(entry->name).append(": ").append(problem);
    return !problem;
}

HelloHead look_at_hello(std::span<const std::uint8_t> bytes)
{
    Reader header(bytes);
    std::uint16_t size = 0;
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::uint8_t codecs = 0;
    header(size, type, flags);
    Hello hello;
    Reader in(bytes.first(std::min<std::size_t>(size, bytes.size())));
    in.bytes(kHeaderSize);
    const char *problem = hello_head(in, hello, codecs);
    if (in.failed())
        return size > bytes.size() ? HelloHead::kTooShort : HelloHead::kWrong;
    const std::size_t behind = size - std::min<std::size_t>(size, bytes.size()) + in.left();
    return problem || check(hello) || behind < codecs * kCodecSize ? HelloHead::kWrong : HelloHead::kRight;
}

void encode(const Message &message, std::vector<std::uint8_t> &out)
{
    std::visit(
        [&](const auto &m) {
            using M = std::remove_cvref_t<decltype(m)>;
            if constexpr (std::is_same_v<M, Unknown>)
                assert(!"an unknown message cannot be written");
            else
                encode_as(kTypes[message.index()], m, out);
        },
        message);
}

void encode_access_unit(const AccessUnit &unit, std::vector<std::uint8_t> &out, std::vector<std::size_t> &ends,
                        UnitReference *previous)
{
    AccessUnit first = unit;
    first.total_size = static_cast<std::uint32_t>(unit.data.size());
    first.data = unit.data.first(std::min(unit.data.size(), kChunkPayload));
    first.follows = previous && previous->valid && unit.serial == previous->serial + 1 && unit.epoch == previous->epoch
                    && unit.pts - previous->pts >= -kMaxTime && unit.pts - previous->pts <= kMaxTime;
    if (first.follows)
        first.pts = unit.pts - previous->pts;
    if (previous)
        *previous = {true, unit.serial, unit.epoch, unit.pts};

    out.reserve(out.size() + unit.data.size() + 32 * (1 + unit.data.size() / kChunkPayload));
    encode_as(Type::kAccessUnit, first, out);
    ends.push_back(out.size());
    for (std::size_t offset = first.data.size(); offset < unit.data.size();) {
        auto data = unit.data.subspan(offset, std::min(unit.data.size() - offset, kChunkPayload));
        encode_as(Type::kAccessUnitChunk,
                  AccessUnitChunk{unit.stream, unit.serial, static_cast<std::uint32_t>(offset), data}, out);
        ends.push_back(out.size());
        offset += data.size();
    }
}

bool resolve(AccessUnit &unit, UnitReference &previous)
{
    if (unit.follows) {
        std::int64_t pts = previous.pts + unit.pts; // both within kMaxTime
        if (!previous.valid || pts < -kMaxTime || pts > kMaxTime)
            return false;
        unit.serial = previous.serial + 1;
        unit.epoch = previous.epoch;
        unit.pts = pts;
        unit.follows = false;
    }
    previous = {true, unit.serial, unit.epoch, unit.pts};
    return true;
}

const char *describe(Reason reason)
{
    switch (reason) {
    case Reason::kNone: return "no reason";
    case Reason::kEndOfStream: return "the video has ended";
    case Reason::kClosedByUser: return "closed by the user";
    case Reason::kUnsupportedCodec: return "the client cannot decode this codec";
    case Reason::kUnsupportedProfile: return "the client cannot decode this profile, level or bit depth";
    case Reason::kTooLarge: return "the picture is larger than the client can take";
    case Reason::kTooManyStreams: return "too many videos at once";
    case Reason::kBadParameters: return "the stream was described wrongly";
    case Reason::kDecoderFailed: return "the decoder failed repeatedly";
    case Reason::kLinkTooSlow: return "the link is too slow for this video";
    case Reason::kProtocolError: return "a message broke the protocol";
    case Reason::kNoResources: return "out of memory or another resource";
    case Reason::kShuttingDown: return "the other side went away";
    case Reason::kNoClient: return "no client is connected";
    case Reason::kSessionInactive: return "another session is shown, or the screen is locked";
    }
    return "unknown reason";
}

const char *name(Codec codec)
{
    switch (codec) {
    case Codec::kH264: return "H.264";
    case Codec::kHevc: return "HEVC";
    case Codec::kVp8: return "VP8";
    case Codec::kVp9: return "VP9";
    case Codec::kAv1: return "AV1";
    case Codec::kMpeg2: return "MPEG-2";
    case Codec::kMjpeg: return "MJPEG";
    }
    return "unknown";
}

const char *name(Type type)
{
    const Entry *entry = find(type);
    return entry ? entry->name : "unknown";
}

std::optional<Codec> codec_from_number(std::uint16_t number)
{
    if (number < static_cast<std::uint16_t>(Codec::kH264) || number > static_cast<std::uint16_t>(Codec::kMjpeg))
        return std::nullopt;
    return static_cast<Codec>(number);
}

} // namespace spice_overlay::wire
