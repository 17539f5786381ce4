// SPDX-License-Identifier: LGPL-2.1-or-later
// The library without X11.
#include "follower.h"

namespace spice_overlay::guest {

Result<std::unique_ptr<Follower>> Follower::open(const std::string &, const Target &)
{
    return Error{"this libspice-overlay-guest was built without X11; tell the place of the picture by "
                 "spice_overlay_stream_set_region()"};
}

void Follower::want(bool, std::int64_t) {}

int Follower::fd() const
{
    return -1;
}

std::int64_t Follower::deadline() const
{
    return -1;
}

void Follower::dispatch(std::int64_t) {}

} // namespace spice_overlay::guest
