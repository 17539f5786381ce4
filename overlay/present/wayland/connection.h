// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "explicit_sync.h"
#include "portclient/base/result.h"
#include "surface_colour.h"

#include <cstdint>
#include <memory>
#include <vector>

struct wl_compositor;
struct wl_display;
struct wl_shm;
struct wl_subcompositor;
struct wp_content_type_manager_v1;
struct wp_presentation;
struct wp_single_pixel_buffer_manager_v1;
struct wp_viewporter;
struct zwp_linux_dmabuf_v1;

namespace spice_overlay {

/// Deletes a Wayland object with its own destructor request.
template <auto Destroy>
struct WaylandDeleter {
    template <typename T>
    void operator()(T *object) const
    {
        Destroy(object);
    }
};
template <typename T, auto Destroy>
using WaylandPtr = std::unique_ptr<T, WaylandDeleter<Destroy>>;

class LinuxDmabuf;
class Transport;
enum class DmabufUse;

/// This project's own globals on somebody else's connection. Their events come by the display's default queue, which its owner
/// dispatches: a queue of our own would cost each iteration of the main loop a look at it. The display is borrowed and must
/// outlive this. One thread: the one that dispatches. Nothing blocks but connect(), which makes two round trips.
class WaylandConnection {
public:
    /// Fails when the compositor lacks wl_subcompositor or wp_viewporter, without which nothing can be shown.
    static Result<std::unique_ptr<WaylandConnection>> connect(wl_display *display, DmabufUse dmabufs);
    ~WaylandConnection();

    void flush();

    [[nodiscard]] wl_compositor *compositor() const { return compositor_; }
    [[nodiscard]] wl_subcompositor *subcompositor() const { return subcompositor_; }
    [[nodiscard]] wl_shm *shm() const { return shm_; }
    [[nodiscard]] wp_viewporter *viewporter() const { return viewporter_; }
    [[nodiscard]] wp_presentation *presentation() const { return presentation_; } ///< may be null
    [[nodiscard]] wp_content_type_manager_v1 *content_types() const { return content_types_; } ///< may be null
    [[nodiscard]] wp_single_pixel_buffer_manager_v1 *single_pixels() const { return single_pixels_; } ///< may be null

    [[nodiscard]] ColourManager *colours() const { return colours_.get(); } ///< may be null
    /// What of YUV the compositor can be told.
    [[nodiscard]] YuvColourSet told_colours() const { return colours_ ? colours_->takes() : 0; }
    [[nodiscard]] ExplicitSync *explicit_sync() const { return explicit_sync_.get(); } ///< may be null
    [[nodiscard]] LinuxDmabuf *linux_dmabuf() const { return linux_dmabuf_.get(); } ///< may be null

    /// How frames get to this compositor.
    [[nodiscard]] Transport &transport() const { return *transport_; }
    /// Whether wl_shm takes this DRM fourcc.
    [[nodiscard]] bool shm_takes(std::uint32_t fourcc) const;
    [[nodiscard]] const std::vector<std::uint32_t> &shm_formats() const { return shm_formats_; } ///< codes of wl_shm
    /// ns of CLOCK_MONOTONIC for a time of the presentation clock.
    [[nodiscard]] std::int64_t presentation_to_monotonic(std::int64_t ns) const;

private:
    friend struct ConnectionEvents;
    WaylandConnection(wl_display *display, DmabufUse dmabufs);

    wl_display *display_;
    wl_compositor *compositor_ = nullptr;
    wl_subcompositor *subcompositor_ = nullptr;
    wl_shm *shm_ = nullptr;
    wp_viewporter *viewporter_ = nullptr;
    wp_presentation *presentation_ = nullptr;
    wp_content_type_manager_v1 *content_types_ = nullptr;
    wp_single_pixel_buffer_manager_v1 *single_pixels_ = nullptr;
    std::unique_ptr<ColourManager> colours_;
    std::unique_ptr<ExplicitSync> explicit_sync_;
    zwp_linux_dmabuf_v1 *dmabuf_global_ = nullptr; ///< until linux_dmabuf_ has it
    std::unique_ptr<LinuxDmabuf> linux_dmabuf_;
    std::unique_ptr<Transport> transport_;
    int presentation_clock_ = 1; ///< CLOCK_MONOTONIC until the compositor says otherwise
    std::vector<std::uint32_t> shm_formats_; ///< wl_shm codes
};

} // namespace spice_overlay
