// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/decoder/yuv_colour.h"

#include <cstdint>
#include <memory>

struct wl_registry;
struct wl_surface;

namespace spice_overlay {

/// The compositor's wp_color_representation_manager_v1, by which it is told what the samples of YUV buffers mean. Of a build whose
/// wayland-protocols lack it (before 1.44), and a compositor that does, there is none. One thread.
class ColourManager {
public:
    /// Whether `interface` is it. Null: this build does not know it.
    static std::unique_ptr<ColourManager> bind(wl_registry *registry, std::uint32_t name, const char *interface);
    virtual ~ColourManager() = default;

    /// What it can be told; complete after a round trip.
    [[nodiscard]] virtual YuvColourSet takes() const = 0;
    virtual void use_default_queue() = 0;

    /// What one surface is told. Goes with the surface, before it.
    class Surface {
    public:
        virtual ~Surface() = default;
        /// With the next commit, of the buffer that comes with it and those after it. kUnsaid for RGB.
        virtual void tell(YuvColour colour) = 0;
    };
    [[nodiscard]] virtual std::unique_ptr<Surface> surface(wl_surface *surface) = 0;
};

} // namespace spice_overlay
