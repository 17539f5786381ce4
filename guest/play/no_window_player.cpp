// SPDX-License-Identifier: LGPL-2.1-or-later
// Stands for window_player.cpp where GStreamer or xcb was missing at build time.
#include "window_player.h"

namespace spice_overlay::guest {

struct WindowPlayer::Private {};

WindowPlayer::WindowPlayer(std::unique_ptr<Private> p) : p_(std::move(p)) {}
WindowPlayer::~WindowPlayer() = default;

Result<std::unique_ptr<WindowPlayer>> WindowPlayer::open(Options)
{
    return Error{"this build has no window (it lacked GStreamer or xcb); give a port to send to with --port"};
}

bool WindowPlayer::run()
{
    return false;
}

std::string WindowPlayer::statistics_json() const
{
    return "{\"files\": []}\n";
}

} // namespace spice_overlay::guest
