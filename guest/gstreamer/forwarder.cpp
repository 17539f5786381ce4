// SPDX-License-Identifier: LGPL-2.1-or-later
#include "forwarder.h"

#include "debug.h"
#include "portclient/base/clock.h"
#include "unit.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#define GST_CAT_DEFAULT stream_category

namespace spice_overlay::gst {
namespace {

/// More than any player puts between its decoder and its sink before it plays.
constexpr std::size_t kMostHeld = 64;
constexpr std::size_t kMostExtradata = 32768;
/// What is decoded only for the sake of later pictures is due in this fraction of its time, in order, just before them.
constexpr std::int64_t kSqueeze = 1000;

} // namespace

Forwarder::~Forwarder()
{
    end(SPICE_OVERLAY_REASON_CLOSED_BY_USER);
}

void Forwarder::begin(spice_overlay_guest *guest, const spice_overlay_format &format, const Place &place)
{
    end(SPICE_OVERLAY_REASON_CLOSED_BY_USER);
    std::lock_guard lock(mutex_);
    guest_ = guest;
    format_ = format;
    place_ = place;
    gap_ = false;
    found_ = seen_ = lost_ = false;
}

void Forwarder::end(spice_overlay_reason reason)
{
    spice_overlay_stream *stream;
    {
        std::lock_guard lock(mutex_);
        if (reason == SPICE_OVERLAY_REASON_END_OF_STREAM)
            release_held();
        forget_held();
        stream = std::exchange(stream_, nullptr);
        guest_ = nullptr;
    }
    spice_overlay_stream_free(stream, reason); // waits for a callback that runs
    reason_ = SPICE_OVERLAY_REASON_PENDING;
}

bool Forwarder::open_with(GstBuffer *buffer)
{
    GstMapInfo map;
    if (!is_key(format_.codec, buffer) || !gst_buffer_map(buffer, &map, GST_MAP_READ))
        return false;
    std::vector<std::uint8_t> sets = parameter_sets(format_.codec, {map.data, map.size});
    gst_buffer_unmap(buffer, &map);

    spice_overlay_format format = format_;
    if (sets.size() <= kMostExtradata) {
        format.extradata = sets.empty() ? nullptr : sets.data();
        format.extradata_size = sets.size();
    }
    spice_overlay_stream_events events{};
    events.struct_size = sizeof events;
    events.state = [](void *data, spice_overlay_reason reason) { static_cast<Forwarder *>(data)->set_reason(reason); };
    events.need_key = [](void *data) { static_cast<Forwarder *>(data)->events_.key_unit_wanted(); };
    events.placed = [](void *data, std::uint32_t width, std::uint32_t height, std::uint64_t visible) {
        auto *self = static_cast<Forwarder *>(data);
        if (width && height)
            self->found_ = true;
        self->seen_ = visible > 0;
    };
    stream_ = spice_overlay_stream_new(guest_, &format, &events, this);
    if (!stream_) {
        GST_WARNING("no stream: %s", spice_overlay_guest_error());
        set_reason(SPICE_OVERLAY_REASON_BAD_PARAMETERS);
        guest_ = nullptr;
        return false;
    }
    spice_overlay_stream_set_rate(stream_, rate_);
    spice_overlay_stream_set_paused(stream_, paused_);

    const char *display = place_.display_name.empty() ? nullptr : place_.display_name.c_str();
    int placed = 0;
    if (place_.window)
        placed = spice_overlay_stream_follow_window(stream_, display, place_.window, 1, place_.key_colour);
    else if (place_.region)
        spice_overlay_stream_set_region(stream_, place_.monitor, &*place_.region, &*place_.region, 1,
                                        place_.key_colour);
    else
        placed = spice_overlay_stream_follow_colour(stream_, display, 0, place_.key_colour);
    lost_ = placed != 0;
    if (lost_)
        GST_WARNING("the picture's place on the screen cannot be followed: %s", spice_overlay_guest_error());
    GST_INFO("stream of %ux%u opened, %zu bytes of parameter sets", format.width, format.height, format.extradata_size);
    return true;
}

void Forwarder::unit(GstBuffer *buffer, std::int64_t running_time)
{
    std::lock_guard lock(mutex_);
    if (!guest_ || (!stream_ && !open_with(buffer)))
        return;
    if (clock_.runs() || running_time <= start_) {
        release_held();
        deliver(buffer, running_time);
    } else {
        if (held_.size() == kMostHeld) { // of a pipeline that does not mean to play; what is lost ends at a key unit
            gst_buffer_unref(held_.front().buffer);
            held_.pop_front();
            gap_ = true;
        }
        held_.push_back({gst_buffer_ref(buffer), running_time});
    }
}

void Forwarder::release_held()
{
    for (const Held &held : held_) {
        deliver(held.buffer, held.running_time);
        gst_buffer_unref(held.buffer);
    }
    held_.clear();
}

void Forwarder::forget_held()
{
    for (const Held &held : held_)
        gst_buffer_unref(held.buffer);
    held_.clear();
}

std::int64_t Forwarder::due(std::int64_t running_time)
{
    std::int64_t at_start = clock_.runs() ? clock_.monotonic(start_) : start_due_;
    std::int64_t after = running_time - start_;
    return at_start + (after < 0 ? after / kSqueeze : after);
}

void Forwarder::deliver(GstBuffer *buffer, std::int64_t running_time)
{
    GstMapInfo map;
    if (!stream_ || !gst_buffer_map(buffer, &map, GST_MAP_READ))
        return;
    std::span<const std::uint8_t> unit(map.data, map.size);
    unsigned flags = 0;
    if (is_key(format_.codec, buffer))
        flags |= SPICE_OVERLAY_UNIT_KEY;
    if (gap_ || (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT) && counters_.sent > 0))
        flags |= SPICE_OVERLAY_UNIT_DISCONTINUITY;
    std::int64_t pts = due(running_time);
    gap_ = spice_overlay_stream_submit(stream_, unit.data(), unit.size(), pts, flags) != 0;
    if (gap_) {
        counters_.refused++;
        GST_INFO("a unit of %zu bytes was left out: %s", unit.size(), spice_overlay_guest_error());
    } else {
        counters_.sent++;
        GST_LOG("unit of %zu bytes, flags %u, due in %" G_GINT64_FORMAT " us", unit.size(), flags,
                (pts - monotonic_now()) / 1000);
    }
    gst_buffer_unmap(buffer, &map);
}

void Forwarder::flush()
{
    std::lock_guard lock(mutex_);
    forget_held();
    gap_ = false;
    start_due_ = monotonic_now();
    if (stream_)
        spice_overlay_stream_flush(stream_);
}

void Forwarder::set_rate(double rate)
{
    std::lock_guard lock(mutex_);
    if (stream_ && rate != rate_)
        spice_overlay_stream_set_rate(stream_, rate);
    rate_ = rate;
}

void Forwarder::set_start(std::int64_t running_time)
{
    std::lock_guard lock(mutex_);
    start_ = running_time;
}

void Forwarder::run(GstClock *clock, GstClockTime base_time)
{
    std::lock_guard lock(mutex_);
    clock_.start(clock, base_time);
    paused_ = false;
    if (stream_)
        spice_overlay_stream_set_paused(stream_, 0);
    release_held();
}

void Forwarder::halt(bool paused)
{
    std::lock_guard lock(mutex_);
    if (paused)
        start_ = INT64_MIN / 2; // whatever comes now is later than what is seen
    clock_.stop();
    start_due_ = monotonic_now();
    if (paused && !paused_ && stream_)
        spice_overlay_stream_set_paused(stream_, 1);
    paused_ |= paused;
}

void Forwarder::set_latency(GstClockTime latency)
{
    std::lock_guard lock(mutex_);
    clock_.set_latency(latency);
}

bool Forwarder::open() const
{
    std::lock_guard lock(mutex_);
    return stream_;
}

bool Forwarder::runs() const
{
    std::lock_guard lock(mutex_);
    return clock_.runs();
}

GstClockTime Forwarder::base_time() const
{
    std::lock_guard lock(mutex_);
    return clock_.base_time();
}

std::optional<std::int64_t> Forwarder::now()
{
    std::lock_guard lock(mutex_);
    return clock_.runs() ? std::optional(clock_.running_time()) : std::nullopt;
}

Forwarder::Counters Forwarder::counters() const
{
    std::lock_guard lock(mutex_);
    return counters_;
}

void Forwarder::set_reason(spice_overlay_reason reason)
{
    GST_INFO("redirection: %s", spice_overlay_reason_text(reason));
    {
        std::lock_guard lock(answer_mutex_);
        reason_ = reason;
    }
    answered_.notify_all();
    events_.redirection_changed();
}

void Forwarder::wait_for_answer(int ms)
{
    std::unique_lock lock(answer_mutex_);
    interrupted_ = false;
    answered_.wait_for(lock, std::chrono::milliseconds(ms),
                       [this] { return interrupted_ || reason_ != SPICE_OVERLAY_REASON_PENDING; });
}

void Forwarder::interrupt()
{
    {
        std::lock_guard lock(answer_mutex_);
        interrupted_ = true;
    }
    answered_.notify_all();
}

} // namespace spice_overlay::gst
