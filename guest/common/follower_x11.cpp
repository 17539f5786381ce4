// SPDX-License-Identifier: LGPL-2.1-or-later
#include "follower.h"

namespace spice_overlay::guest {
namespace {

constexpr std::uint32_t kOnlyTarget = 1;
constexpr std::int64_t kRetryInterval = 1'000'000'000;

} // namespace

Result<std::unique_ptr<Follower>> Follower::open(const std::string &display_name, const Target &target)
{
    std::unique_ptr<Follower> follower(new Follower(display_name, target));
    if (Status connected = follower->connect(); !connected)
        return connected.error();
    return follower;
}

Status Follower::connect()
{
    auto tracker = WindowTracker::open(display_name_,
                                       [this](std::uint32_t, const Placement &placement) { placement_ = placement; });
    if (!tracker)
        return tracker.error();
    if (Status watching = tracker.value()->watch(kOnlyTarget, target_); !watching)
        return watching;
    tracker_ = std::move(tracker).value();
    return Success{};
}

void Follower::disconnect()
{
    tracker_.reset();
    placement_ = {};
}

void Follower::want(bool wanted, std::int64_t now)
{
    wanted_ = wanted;
    if (!wanted)
        return disconnect();
    if (tracker_ || now < try_again_at_)
        return;
    if (!connect())
        try_again_at_ = now + kRetryInterval;
}

int Follower::fd() const
{
    return tracker_ ? tracker_->fd() : -1;
}

std::int64_t Follower::deadline() const
{
    return tracker_ ? tracker_->deadline() : wanted_ ? try_again_at_ : -1;
}

void Follower::dispatch(std::int64_t now)
{
    if (!tracker_ || tracker_->dispatch(now))
        return;
    disconnect();
    try_again_at_ = now + kRetryInterval;
}

} // namespace spice_overlay::guest
