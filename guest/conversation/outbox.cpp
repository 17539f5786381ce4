// SPDX-License-Identifier: LGPL-2.1-or-later
#include "outbox.h"

#include <algorithm>

namespace spice_overlay::guest {
namespace {

std::uint32_t stream_of(const wire::Message &message)
{
    return std::visit(
        [](const auto &m) -> std::uint32_t {
            if constexpr (requires { m.stream; })
                return m.stream;
            else
                return 0;
        },
        message);
}

bool newest_holds(const wire::Message &message)
{
    return std::holds_alternative<wire::Hello>(message) || std::holds_alternative<wire::Geometry>(message)
           || std::holds_alternative<wire::PlayState>(message);
}

} // namespace

void Outbox::control(const wire::Message &message)
{
    Entry entry{message.index(), stream_of(message), {}};
    if (std::holds_alternative<wire::StreamClose>(message)) {
        bool untold = find(wire::Message(wire::StreamOpen{}).index(), entry.stream) != control_.end();
        forget(entry.stream);
        if (untold)
            return;
    }
    wire::encode(message, entry.bytes);
    control_bytes_ += entry.bytes.size();
    if (newest_holds(message)) {
        auto older = find(entry.kind, entry.stream);
        if (older != control_.end()) {
            control_bytes_ -= older->bytes.size();
            *older = std::move(entry);
            return;
        }
    }
    control_.push_back(std::move(entry));
}

std::deque<Outbox::Entry>::iterator Outbox::find(std::size_t kind, std::uint32_t stream)
{
    return std::find_if(control_.begin(), control_.end(),
                        [&](const Entry &entry) { return entry.kind == kind && entry.stream == stream; });
}

bool Outbox::take_control()
{
    if (control_.empty())
        return false;
    current_ = std::move(control_.front().bytes);
    control_bytes_ -= current_.size();
    control_.pop_front();
    return true;
}

void Outbox::forget()
{
    control_.clear();
    control_bytes_ = 0;
}

void Outbox::forget(std::uint32_t stream)
{
    std::erase_if(control_, [&](const Entry &entry) {
        if (entry.stream == stream)
            control_bytes_ -= entry.bytes.size();
        return entry.stream == stream;
    });
}

void Outbox::clear()
{
    forget();
    current_.clear();
    written_ = 0;
}

} // namespace spice_overlay::guest
