// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream_sender.h"

#include <algorithm>

namespace spice_overlay::guest {

void StreamSender::grant(std::uint64_t bytes, std::uint32_t units)
{
    byte_limit_ = std::max(byte_limit_, bytes);
    unit_limit_ = std::max(unit_limit_, units);
}

bool StreamSender::has_room() const
{
    return waiting_.empty() || (waiting_.size() < kMostWaiting && bytes_held() < kMostBytes);
}

void StreamSender::push(Unit unit, std::int64_t pts, std::int64_t came)
{
    if (unit.data.size() > wire::kMaxAccessUnit)
        unit.data.clear(); // keeps its place in the order, until trim() leaves it out
    waiting_.push_back({std::move(unit), pts, came});
    trim();
}

void StreamSender::drop(const Waiting &waiting)
{
    counters_.dropped++;
    if (!waiting.unit.droppable)
        needs_key_ = gap_ = true;
}

bool StreamSender::may_begin(const Waiting &next) const
{
    // A unit larger than all the credit there ever is could not wait for the whole of it: it begins with the first
    // chunk.
    return units_left() > 0 && bytes_left() >= std::min(next.unit.data.size(), wire::kChunkPayload);
}

/// Leaves out what cannot be decoded since something before it was left out.
void StreamSender::trim()
{
    while (!waiting_.empty()) {
        const Waiting &front = waiting_.front();
        // What is shown before the key unit that the stream resumed with refers to what was left out.
        bool leading = !front.unit.key && front.pts < resumed_at_;
        if (front.unit.data.empty()) {
            drop(front);
            waiting_.pop_front();
            continue;
        }
        if (front.unit.key || (!needs_key_ && !leading))
            return;
        counters_.dropped++; // the key unit's own discontinuity stands for these
        waiting_.pop_front();
    }
}

void StreamSender::settle(std::int64_t now)
{
    trim();
    if (waiting_.size() > 1) {
        auto newest = std::prev(waiting_.end());
        waiting_.erase(std::remove_if(waiting_.begin(), newest,
                                      [this](const Waiting &waiting) {
                                          if (waiting.unit.droppable)
                                              drop(waiting);
                                          return waiting.unit.droppable;
                                      }),
                       newest);
    }
    while (!waiting_.empty() && now - waiting_.front().came >= kPatience) {
        drop(waiting_.front());
        waiting_.pop_front();
        trim();
    }
}

bool StreamSender::next_message(std::vector<std::uint8_t> &out)
{
    if (at_ == ends_.size()) {
        trim();
        if (waiting_.empty() || !may_begin(waiting_.front()))
            return false;
        begin(waiting_.front());
        waiting_.pop_front();
    }
    std::size_t payload = std::min(unit_bytes_, wire::kChunkPayload);
    if (payload > bytes_left())
        return false;
    auto from = messages_.begin() + static_cast<std::ptrdiff_t>(at_ ? ends_[at_ - 1] : 0);
    out.assign(from, messages_.begin() + static_cast<std::ptrdiff_t>(ends_[at_]));
    unit_bytes_ -= payload;
    if (++at_ == ends_.size())
        end_unit();
    sent_bytes_ += payload;
    counters_.bytes += payload;
    return true;
}

void StreamSender::begin(const Waiting &next)
{
    wire::AccessUnit unit;
    unit.stream = stream_;
    unit.serial = sent_units_;
    unit.epoch = epoch_;
    unit.pts = next.pts;
    unit.data = next.unit.data;
    unit.total_size = static_cast<std::uint32_t>(next.unit.data.size());
    bool gap = (gap_ && sent_units_ > 0) || next.unit.discontinuity;
    unit.flags = static_cast<std::uint16_t>((next.unit.key ? wire::kKey : 0) | (gap ? wire::kDiscontinuity : 0)
                                            | (next.unit.droppable ? wire::kDroppable : 0));
    if (next.unit.key) {
        counters_.keys++;
        resumed_at_ = needs_key_ || gap ? next.pts : INT64_MIN;
    }
    needs_key_ = gap_ = false;
    counters_.sent++;
    sent_units_++;
    unit_size_ = unit_bytes_ = next.unit.data.size();
    wire::encode_access_unit(unit, messages_, ends_, &previous_);
}

void StreamSender::end_unit()
{
    std::vector<std::uint8_t>().swap(messages_); // it may have been large
    ends_.clear();
    at_ = unit_size_ = unit_bytes_ = 0;
}

std::int64_t StreamSender::deadline() const
{
    return waiting_.empty() ? -1 : waiting_.front().came + kPatience;
}

std::size_t StreamSender::bytes_waiting() const
{
    std::size_t bytes = unit_bytes_;
    for (const Waiting &waiting : waiting_)
        bytes += waiting.unit.data.size();
    return bytes;
}

std::size_t StreamSender::bytes_held() const
{
    return bytes_waiting() - unit_bytes_ + unit_size_;
}

void StreamSender::restart_at_key()
{
    waiting_.clear();
    needs_key_ = gap_ = true;
}

void StreamSender::flush(std::uint32_t epoch)
{
    restart_at_key();
    epoch_ = epoch;
    end_unit();
}

} // namespace spice_overlay::guest
