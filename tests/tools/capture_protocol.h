// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <wayland-client.h>

/// Weston's two ways to hand out what an output shows, written down by hand since no package installs their XML:
/// weston_screenshooter (to Weston 11) and weston_capture_v1 (from Weston 12). Both need Weston's --debug.
namespace spice_overlay {

// weston_screenshooter v1: request 0 take_shot(output, buffer); event 0 done()
extern const wl_interface kScreenshooterInterface;
inline constexpr std::uint32_t kTakeShot = 0;

// weston_capture_v1 v1: request 0 destroy(), 1 create(output, source, new_id weston_capture_source_v1)
extern const wl_interface kCaptureInterface;
inline constexpr std::uint32_t kCaptureCreate = 1;
inline constexpr std::uint32_t kCaptureFramebuffer = 1; ///< pixel source: what the renderer drew

// weston_capture_source_v1 v1: request 0 destroy(), 1 capture(buffer);
// events format(drm fourcc), size(width, height), complete(), retry(), failed(text or null)
extern const wl_interface kCaptureSourceInterface;
inline constexpr std::uint32_t kCapture = 1;

} // namespace spice_overlay
