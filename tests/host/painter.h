// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "pixel_rect.h"
#include "scene.h"

#include <cstdint>
#include <vector>

/// The pictures that the desktop is put together from. Pixels are 0x00RRGGBB, rows from the top, no padding.
namespace spice_overlay::host {

/// What surrounds the area of a video window, in pixels: a flat frame all round, and a title bar above it.
inline constexpr int kFrame = 4;
inline constexpr int kTitle = 24;

using Pixels = std::vector<std::uint32_t>;

/// Colours kept for one purpose: no painted pixel comes near one of them.
using Reserved = std::vector<std::uint32_t>;

/// Fine detail everywhere: no two neighbouring pixels are equal for long, so that a picture one pixel off shows.
Pixels paint_wallpaper(int width, int height, std::uint32_t seed, const Reserved &reserved);

/// A window's whole box, its shape not cut out. `width` and `height` are those of the box, frame included.
/// The area of a video window shows a still picture here; the placeholder is the Desktop's business.
Pixels paint_window(const SceneWindow &window, int width, int height, const Reserved &reserved);

} // namespace spice_overlay::host
