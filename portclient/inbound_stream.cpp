// SPDX-License-Identifier: LGPL-2.1-or-later
#include "inbound_stream.h"

#include <algorithm>
#include <utility>

namespace spice_overlay {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

} // namespace

InboundStream::Received InboundStream::receive(wire::AccessUnit unit, std::int64_t now)
{
    std::uint32_t last_epoch = last_unit_.epoch;
    bool cuts_off = filled_ != 0;
    if (!wire::resolve(unit, last_unit_) || unit.serial != begun_ || unit.epoch > epoch_ || unit.epoch < last_epoch)
        return {Verdict::kViolation};
    if (cuts_off && unit.epoch == last_epoch)
        return {Verdict::kViolation};
    if (begun_ >= granted_units_ || !account(unit.data.size(), now))
        return {Verdict::kViolation};

    if (cuts_off) {
        drop_assembly();
        ++dropped_;
    }
    ++begun_;
    fate_ = Verdict::kMore;
    if (unit.epoch < epoch_)
        fate_ = Verdict::kStale;
    else if (waiting_for_key_ && !(unit.flags & wire::kKey))
        fate_ = Verdict::kNotKey;
    if (unit.data.size() == unit.total_size)
        return finish(unit);

    head_ = unit;
    head_.data = {};
    filled_ = unit.data.size();
    if (fate_ == Verdict::kMore) {
        taken_ = unit.total_size;
        budget_.taken += taken_;
        assembly_.assign(unit.data.begin(), unit.data.end());
        if (budget_.taken > budget_.most)
            return {Verdict::kNoMemory};
    }
    return {Verdict::kMore};
}

InboundStream::Received InboundStream::receive(const wire::AccessUnitChunk &chunk, std::int64_t now)
{
    if (filled_ == 0 || chunk.serial != head_.serial || chunk.offset != filled_ ||
        chunk.data.size() > head_.total_size - filled_ || !account(chunk.data.size(), now))
        return {Verdict::kViolation};
    filled_ += chunk.data.size();
    if (fate_ == Verdict::kMore) {
        assembly_.reserve(head_.total_size);
        assembly_.insert(assembly_.end(), chunk.data.begin(), chunk.data.end());
    }
    if (filled_ < head_.total_size)
        return {Verdict::kMore};
    head_.data = assembly_;
    Received received = finish(head_);
    drop_assembly();
    return received;
}

// The whole unit is here: it goes to the decoder, or it is dropped and its credit comes back at once.
InboundStream::Received InboundStream::finish(const wire::AccessUnit &unit)
{
    if (fate_ != Verdict::kMore) {
        ++dropped_;
        return {fate_};
    }
    waiting_for_key_ = false;
    ++delivered_;
    return {Verdict::kComplete, unit};
}

void InboundStream::take_back()
{
    if (assembly_.capacity() > kKept)
        std::vector<std::uint8_t>().swap(assembly_);
}

void InboundStream::discard(Verdict why)
{
    if (filled_ == 0 || fate_ != Verdict::kMore)
        return;
    fate_ = why;
    budget_.taken -= std::exchange(taken_, 0);
    std::vector<std::uint8_t>().swap(assembly_);
}

// Leaves the bytes in place, since the finished unit is lent from there.
void InboundStream::drop_assembly()
{
    filled_ = 0;
    budget_.taken -= std::exchange(taken_, 0);
}

bool InboundStream::play_state(const wire::PlayState &state)
{
    if (state.epoch < epoch_)
        return false;
    if (state.epoch > epoch_)
        discard(Verdict::kStale);
    epoch_ = state.epoch;
    mode_ = state.mode;
    return true;
}

std::optional<bool> InboundStream::geometry(const wire::Geometry &geometry)
{
    const wire::SourceCrop &crop = geometry.crop;
    if (std::uint64_t{crop.x} + crop.width > std::uint64_t{open_.coded_width} << 16 ||
        std::uint64_t{crop.y} + crop.height > std::uint64_t{open_.coded_height} << 16)
        return std::nullopt;
    if (geometry_serial_ && geometry.serial <= *geometry_serial_)
        return false;
    geometry_serial_ = geometry.serial;
    return true;
}

bool InboundStream::need_key()
{
    if (!(head_.flags & wire::kKey))
        discard(Verdict::kNotKey);
    return !std::exchange(waiting_for_key_, true);
}

void InboundStream::done(std::uint32_t units)
{
    done_ += std::min(units, delivered_ - done_);
}

// Takes bytes from the credit and into the measured rate. False: there is no such credit.
bool InboundStream::account(std::size_t bytes, std::int64_t now)
{
    if (bytes > granted_bytes_ - received_)
        return false;
    received_ += bytes;
    std::int64_t elapsed = now - second_began_;
    if (elapsed >= kSecond) {
        // Elapsed time is cut so that the product stays in range; a longer gap is no rate anyway.
        auto milliseconds = static_cast<std::uint64_t>(std::min(elapsed, 3600 * kSecond) / 1'000'000);
        last_rate_ = second_bytes_ * 8 * 1000 / milliseconds;
        second_began_ = now;
        second_bytes_ = 0;
    }
    second_bytes_ += bytes;
    return true;
}

std::uint64_t InboundStream::window() const
{
    std::uint64_t rate = std::max({std::uint64_t{open_.bit_rate}, last_rate_, second_bytes_ * 8});
    return std::max(kMinWindow, std::min(rate, kMaxBitRate) / 8 / 4);
}

std::optional<wire::Credit> InboundStream::credit(bool anyway)
{
    std::uint64_t bytes = std::max(granted_bytes_, received_ + window());
    std::uint32_t units = std::max(granted_units_, done_ + dropped_ + kUnitWindow);
    bool many_bytes = bytes - granted_bytes_ >= window() / 2;
    bool many_units = units - granted_units_ >= kUnitWindow / 2;
    bool starving = granted_units_ - begun_ <= 1 && units > granted_units_;
    bool any = bytes > granted_bytes_ || units > granted_units_;
    if (!many_bytes && !many_units && !starving && !(anyway && any))
        return std::nullopt;
    granted_bytes_ = bytes;
    granted_units_ = units;
    return wire::Credit{open_.stream, bytes, units};
}

} // namespace spice_overlay
