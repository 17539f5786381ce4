// SPDX-License-Identifier: LGPL-2.1-or-later
// The C functions: arguments are checked here, and no exception passes.
#include "connection.h"
#include "key_colour.h"
#include "spice-overlay-guest.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>

using namespace spice_overlay;
using namespace spice_overlay::guest;

struct spice_overlay_guest {
    Connection connection;
};

struct spice_overlay_stream {
    Connection &connection;
    std::shared_ptr<PlayerStream> player;
    spice_overlay_format format; ///< without the extradata
};

namespace {

thread_local std::string last_error = "no error";

void fail(int number, std::string message)
{
    last_error = std::move(message);
    errno = number;
}

/// Runs what may throw for want of memory or threads.
template <typename Function>
auto guarded(Function &&function) -> decltype(function())
{
    try {
        return function();
    } catch (const std::bad_alloc &) {
        errno = ENOMEM;
    } catch (const std::exception &error) {
        errno = EAGAIN;
        try {
            last_error = error.what();
        } catch (...) {
        }
    }
    return {};
}

/// The number in an enumeration of the header: C callers may have put any there.
template <typename Enum>
std::uint32_t number_in(const Enum &theirs)
{
    std::uint32_t number;
    static_assert(sizeof number == sizeof theirs);
    std::memcpy(&number, &theirs, sizeof number);
    return number;
}

std::optional<wire::Codec> codec_in(const spice_overlay_codec &theirs)
{
    std::uint32_t number = number_in(theirs);
    return number <= UINT16_MAX ? wire::codec_from_number(static_cast<std::uint16_t>(number)) : std::nullopt;
}

constexpr std::size_t kSmallestFormat = sizeof(spice_overlay_format);
constexpr std::size_t kSmallestEvents = sizeof(spice_overlay_stream_events);

/// A caller's struct of another version: what it does not have is 0, what this version does not know is not read.
template <typename Struct>
bool take_struct(const Struct *theirs, std::size_t smallest, Struct &ours)
{
    if (theirs->struct_size < smallest)
        return false;
    ours = {};
    std::memcpy(&ours, theirs, std::min(theirs->struct_size, sizeof ours));
    return true;
}

/// What is wrong with a format; null: nothing.
const char *complaint(const spice_overlay_format &format)
{
    if (!codec_in(format.codec))
        return "unknown codec";
    if (format.width == 0 || format.height == 0)
        return "the size is 0";
    if (std::max(format.width, format.height) > wire::kMaxCodedSide
        || std::uint64_t{format.width} * format.height > wire::kMaxCodedArea)
        return "the size is above 8192 pixels a side, or 2^25 pixels";
    if (format.aspect_num == 0 || format.aspect_den == 0)
        return "the sample aspect ratio has a 0";
    if (format.rotation % 90 != 0 || format.rotation > 270)
        return "the rotation is none of 0, 90, 180, 270";
    if (format.full_range > 1)
        return "full_range is neither 0 nor 1";
    if (format.frame_rate_den == 0)
        return "the frame rate's denominator is 0";
    if (format.extradata_size > wire::kMaxExtradata || (format.extradata_size > 0 && !format.extradata))
        return "the extradata is above 32768 bytes, or NULL";
    return nullptr;
}

wire::StreamOpen description_of(const spice_overlay_format &format)
{
    wire::StreamOpen open;
    open.codec = codec_in(format.codec).value();
    open.profile = format.profile;
    open.level = format.level;
    open.coded_width = format.width;
    open.coded_height = format.height;
    open.aspect_num = format.aspect_num;
    open.aspect_den = format.aspect_den;
    open.colour = {format.primaries, format.transfer, format.matrix, format.full_range};
    open.rotation = format.rotation;
    open.frame_rate_num = format.frame_rate_num;
    open.frame_rate_den = format.frame_rate_den;
    open.bit_rate = format.bit_rate;
    if (format.extradata_size > 0)
        open.extradata.assign(format.extradata, format.extradata + format.extradata_size);
    return open;
}

wire::Reason wire_reason(spice_overlay_reason reason)
{
    std::uint32_t number = number_in(reason);
    bool known = number <= static_cast<std::uint32_t>(wire::Reason::kSessionInactive);
    return known ? static_cast<wire::Reason>(number) : wire::Reason::kClosedByUser;
}

/// Within what the wire carries; false when that leaves nothing or (`whole`) takes something away.
bool take_rect(const spice_overlay_rect &theirs, bool whole, wire::Rect &ours)
{
    constexpr std::int64_t kLimit = wire::kMaxCoordinate;
    std::int64_t x1 = std::max<std::int64_t>(theirs.x, -kLimit);
    std::int64_t y1 = std::max<std::int64_t>(theirs.y, -kLimit);
    std::int64_t x2 = std::min<std::int64_t>(std::int64_t{theirs.x} + theirs.width, kLimit);
    std::int64_t y2 = std::min<std::int64_t>(std::int64_t{theirs.y} + theirs.height, kLimit);
    x2 = std::min(x2, x1 + kLimit);
    y2 = std::min(y2, y1 + kLimit);
    if (x1 >= x2 || y1 >= y2)
        return false;
    ours = {static_cast<std::int32_t>(x1), static_cast<std::int32_t>(y1), static_cast<std::uint32_t>(x2 - x1),
            static_cast<std::uint32_t>(y2 - y1)};
    return !whole
           || (ours.x == theirs.x && ours.y == theirs.y && ours.width == theirs.width && ours.height == theirs.height);
}

std::optional<std::uint32_t> colour_of(std::int32_t colour)
{
    if (colour < 0)
        return {};
    return static_cast<std::uint32_t>(colour) & 0xffffff;
}

int follow(spice_overlay_stream *stream, const char *display_name, Target target, bool keep_shape)
{
    if (keep_shape) {
        std::uint64_t width = std::uint64_t{stream->format.width} * stream->format.aspect_num;
        std::uint64_t height = std::uint64_t{stream->format.height} * stream->format.aspect_den;
        while (std::max(width, height) > INT32_MAX) {
            width = std::max<std::uint64_t>(width / 2, 1);
            height = std::max<std::uint64_t>(height / 2, 1);
        }
        if (stream->format.rotation % 180 != 0)
            std::swap(width, height);
        target.aspect_width = static_cast<std::uint32_t>(width);
        target.aspect_height = static_cast<std::uint32_t>(height);
    }
    int result = -1;
    guarded([&] {
        auto follower = Follower::open(display_name ? display_name : "", target);
        if (!follower) {
            fail(ENOTSUP, follower.error().message);
            return 0;
        }
        stream->connection.set(*stream->player, [&](PlayerStream &player) {
            player.follower = std::move(follower).value();
            player.moved = true;
        });
        return result = 0;
    });
    return result;
}

} // namespace

extern "C" {

const char *spice_overlay_reason_text(spice_overlay_reason reason)
{
    switch (std::uint32_t number = number_in(reason)) {
    case SPICE_OVERLAY_REASON_NONE:
        return "redirected";
    case SPICE_OVERLAY_REASON_NO_AGENT:
        return "no agent answers; is spice-overlay-agentd running?";
    case SPICE_OVERLAY_REASON_PENDING:
        return "the agent has not answered yet";
    default:
        return wire::describe(static_cast<wire::Reason>(std::min<std::uint32_t>(number, UINT16_MAX)));
    }
}

spice_overlay_guest *spice_overlay_guest_new(const char *socket_path, const char *name)
{
    return guarded([&]() -> spice_overlay_guest * {
        const char *from_environment = secure_getenv("SPICE_OVERLAY_AGENT");
        std::string path = socket_path                             ? socket_path
                           : from_environment && *from_environment ? from_environment
                                                                   : SPICE_OVERLAY_AGENT_SOCKET;
        std::string text = name ? name : "";
        std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
        text.resize(std::min(text.size(), wire::kMaxNameLength));
        return new spice_overlay_guest{{std::move(path), std::move(text)}};
    });
}

void spice_overlay_guest_free(spice_overlay_guest *guest)
{
    if (guest && guest->connection.on_own_thread())
        std::abort(); // the thread would wait for itself
    delete guest;
}

spice_overlay_reason spice_overlay_guest_check(spice_overlay_guest *guest, spice_overlay_codec codec, uint32_t width,
                                               uint32_t height, int timeout_ms)
{
    if (!guest)
        return SPICE_OVERLAY_REASON_NO_AGENT;
    return guest->connection.check(codec_in(codec), width, height, timeout_ms);
}

void spice_overlay_guest_on_change(spice_overlay_guest *guest, void (*changed)(void *data), void *data)
{
    if (guest)
        guest->connection.on_change(changed, data);
}

spice_overlay_stream *spice_overlay_stream_new(spice_overlay_guest *guest, const spice_overlay_format *format,
                                               const spice_overlay_stream_events *events, void *data)
{
    return guarded([&]() -> spice_overlay_stream * {
        spice_overlay_format ours{};
        spice_overlay_stream_events our_events{};
        if (!guest || !format) {
            fail(EINVAL, "spice_overlay_stream_new: no connection, or no format");
            return nullptr;
        }
        if (!take_struct(format, kSmallestFormat, ours)
            || (events && !take_struct(events, kSmallestEvents, our_events))) {
            fail(EINVAL, "spice_overlay_stream_new: struct_size is not set");
            return nullptr;
        }
        if (const char *wrong = complaint(ours)) {
            fail(EINVAL, std::string("spice_overlay_stream_new: ") + wrong);
            return nullptr;
        }
        auto stream = std::unique_ptr<spice_overlay_stream>(new spice_overlay_stream{guest->connection, nullptr, ours});
        stream->player = guest->connection.open(description_of(ours), our_events, data);
        return stream.release();
    });
}

void spice_overlay_stream_free(spice_overlay_stream *stream, spice_overlay_reason reason)
{
    if (stream)
        stream->connection.free(stream->player, wire_reason(reason));
    delete stream;
}

spice_overlay_reason spice_overlay_stream_state(spice_overlay_stream *stream)
{
    return stream ? stream->connection.state(*stream->player) : SPICE_OVERLAY_REASON_BAD_PARAMETERS;
}

int spice_overlay_stream_submit(spice_overlay_stream *stream, const uint8_t *data, size_t size, int64_t pts,
                                unsigned flags)
{
    if (!stream || !data || size == 0 || size > wire::kMaxAccessUnit || pts > wire::kMaxTime || pts < -wire::kMaxTime) {
        fail(EINVAL, "spice_overlay_stream_submit: an access unit is of 1 byte to 16 MiB, its time at most 2^61 ns");
        return -1;
    }
    int error = ENOMEM;
    guarded([&] {
        Unit unit;
        unit.data.assign(data, data + size);
        unit.pts = unit.dts = pts;
        unit.key = (flags & SPICE_OVERLAY_UNIT_KEY) != 0;
        unit.droppable = (flags & SPICE_OVERLAY_UNIT_DROPPABLE) != 0;
        unit.discontinuity = (flags & SPICE_OVERLAY_UNIT_DISCONTINUITY) != 0;
        error = stream->connection.submit(*stream->player, std::move(unit));
        return 0;
    });
    if (error == 0)
        return 0;
    fail(error, "spice_overlay_stream_submit: too much waits; hand units over nearer to their time");
    return -1;
}

void spice_overlay_stream_flush(spice_overlay_stream *stream)
{
    if (stream)
        stream->connection.set(*stream->player, [](PlayerStream &player) {
            player.units.clear();
            player.units_bytes = player.waiting_units = player.waiting_bytes = 0;
            player.left_out = false;
            player.flush = true;
        });
}

void spice_overlay_stream_set_paused(spice_overlay_stream *stream, int paused)
{
    if (stream)
        stream->connection.set(*stream->player, [&](PlayerStream &player) { player.paused = paused != 0; });
}

void spice_overlay_stream_set_rate(spice_overlay_stream *stream, double rate)
{
    if (!stream || !std::isfinite(rate))
        return;
    double limit = INT32_MAX;
    auto fixed = static_cast<std::int32_t>(std::lround(std::clamp(rate * 65536, -limit, limit)));
    stream->connection.set(*stream->player, [&](PlayerStream &player) { player.rate = fixed; });
}

void spice_overlay_stream_set_region(spice_overlay_stream *stream, uint32_t display, const spice_overlay_rect *target,
                                     const spice_overlay_rect *visible, size_t count, int32_t placeholder)
{
    if (!stream)
        return;
    guarded([&] {
        wire::Geometry geometry;
        geometry.display = display;
        geometry.placeholder = colour_of(placeholder);
        if (target && visible && count <= wire::kMaxRegionRects && take_rect(*target, true, geometry.target)) {
            for (std::size_t i = 0; i < count; i++)
                if (wire::Rect rect; take_rect(visible[i], false, rect))
                    geometry.visible.push_back(rect);
        } else {
            geometry.target = {};
        }
        stream->connection.set(*stream->player, [&](PlayerStream &player) {
            player.geometry = std::move(geometry);
            player.follower.reset();
            player.moved = true;
        });
        return 0;
    });
}

int spice_overlay_stream_follow_window(spice_overlay_stream *stream, const char *display_name, uint32_t window,
                                       int keep_aspect, int32_t key_colour)
{
    if (!stream || window == 0) {
        fail(EINVAL, "spice_overlay_stream_follow_window: no stream, or no window");
        return -1;
    }
    Target target;
    target.window = window;
    target.key_colour = colour_of(key_colour);
    return follow(stream, display_name, std::move(target), keep_aspect != 0);
}

int spice_overlay_stream_follow_colour(spice_overlay_stream *stream, const char *display_name, uint32_t pid,
                                       int32_t key_colour)
{
    if (!stream || key_colour < 0) {
        fail(EINVAL, "spice_overlay_stream_follow_colour: no stream, or no colour");
        return -1;
    }
    Target target;
    target.processes = {pid ? pid : static_cast<std::uint32_t>(getpid())};
    target.key_colour = colour_of(key_colour);
    return follow(stream, display_name, std::move(target), true);
}

int32_t spice_overlay_key_colour(void)
{
    return key_colour();
}

const char *spice_overlay_guest_error(void)
{
    return last_error.c_str();
}

} // extern "C"
