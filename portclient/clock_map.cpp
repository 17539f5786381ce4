// SPDX-License-Identifier: LGPL-2.1-or-later
#include "clock_map.h"

#include <algorithm>

namespace spice_overlay {

wire::Ping ClockMap::ping(std::int64_t now)
{
    wire::Ping ping{next_id_++, static_cast<std::uint64_t>(now)};
    asked_.push_back(ping);
    if (asked_.size() > kRecent)
        asked_.erase(asked_.begin());
    return ping;
}

void ClockMap::pong(const wire::Pong &pong, std::int64_t now)
{
    auto asked = std::ranges::find(asked_, wire::Ping{pong.id, pong.sent});
    constexpr auto limit = static_cast<std::uint64_t>(wire::kMaxTime);
    if (asked == asked_.end() || pong.received > limit || pong.replied > limit || pong.replied < pong.received)
        return;
    auto sent = static_cast<std::int64_t>(asked->sent);
    auto received = static_cast<std::int64_t>(pong.received);
    auto replied = static_cast<std::int64_t>(pong.replied);
    asked_.erase(asked);
    std::int64_t round_trip = (now - sent) - (replied - received);
    if (round_trip < 0)
        return;
    samples_.push_back({round_trip, ((received - sent) + (replied - now)) / 2});
    if (samples_.size() > kRecent)
        samples_.erase(samples_.begin());
    ahead_ = std::ranges::min_element(samples_, {}, &Sample::round_trip)->ahead;
    known_ = true;
}

void ClockMap::first_unit(std::int64_t pts, std::int64_t now)
{
    if (!known_)
        ahead_ = pts - now;
    known_ = true;
}

} // namespace spice_overlay
