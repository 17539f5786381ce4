// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "theatre.h"

namespace spice_overlay::doctor {

/// Fills in what `report` says of the ladder and of the streams. With a theatre clips are played in it; without one that is left out,
/// and what is known beforehand is said. `connection` is null with no compositor.
void climb(Report &report, WaylandConnection *connection, Theatre *theatre, const std::string &decoder_program);

} // namespace spice_overlay::doctor
