// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdint>

#include "capture_protocol.h"

namespace spice_overlay {
namespace {

const wl_interface *no_types[] = {nullptr, nullptr};
const wl_interface *shot_types[] = {&wl_output_interface, &wl_buffer_interface};
const wl_interface *create_types[] = {&wl_output_interface, nullptr, &kCaptureSourceInterface};
const wl_interface *capture_types[] = {&wl_buffer_interface};

const wl_message shooter_requests[] = {{"take_shot", "oo", shot_types}};
const wl_message shooter_events[] = {{"done", "", no_types}};
const wl_message capture_requests[] = {{"destroy", "", no_types}, {"create", "oun", create_types}};
const wl_message source_requests[] = {{"destroy", "", no_types}, {"capture", "o", capture_types}};
const wl_message source_events[] = {{"format", "u", no_types},
                                    {"size", "ii", no_types},
                                    {"complete", "", no_types},
                                    {"retry", "", no_types},
                                    {"failed", "?s", no_types}};

} // namespace

const wl_interface kScreenshooterInterface = {"weston_screenshooter", 1, 1, shooter_requests, 1, shooter_events};
const wl_interface kCaptureInterface = {"weston_capture_v1", 1, 2, capture_requests, 0, nullptr};
const wl_interface kCaptureSourceInterface = {"weston_capture_source_v1", 1, 2, source_requests, 5, source_events};

} // namespace spice_overlay
