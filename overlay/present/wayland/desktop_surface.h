// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"
#include "overlay/layout/desktop_sync.h"
#include "overlay/layout/plan.h"

#include <array>
#include <functional>

struct wl_buffer;
struct wl_callback;
struct wl_subsurface;
struct wl_surface;
struct wp_viewport;

namespace spice_overlay {

/// The guest's desktop as a subsurface of the viewer's window (D in docs/architecture.md): three buffers in shared memory, each of which
/// is brought up to date by copying only what has changed since it was last written. Transparent exactly where the hole is.
/// Takes no input. One thread.
class DesktopSurface {
public:
    /// `on_ready` is called when the compositor is ready for a next commit; must not destroy the surface.
    static Result<std::unique_ptr<DesktopSurface>> create(WaylandConnection &connection, wl_surface *parent,
                                                          std::function<void()> on_ready);
    ~DesktopSurface();

    /// Position and size. The position takes effect with the parent's next commit, the size with commit().
    void set_fit(const Fit &fit);
    [[nodiscard]] const Fit &fit() const { return fit_; } ///< as it was set last
    /// Below the parent's own pixels or, as at first, above them; with the parent's next commit.
    void place(bool below_parent);
    /// Commits no picture at all, and so hides everything below it too, until the next commit().
    void clear();
    /// Where the picture is; empty when there is none.
    [[nodiscard]] Fit shown() const { return width_ > 0 ? fit_ : Fit(); }

    [[nodiscard]] bool has_free_buffer() const;
    /// From when on commit() can take a new picture without running ahead, ns of CLOCK_MONOTONIC: when the last one has been shown, which
    /// `on_ready` tells, or is not going to be. Negative: not before a buffer is free, which `on_ready` tells.
    [[nodiscard]] std::int64_t ready_at() const { return has_free_buffer() ? ready_at_ : -1; }

    /// Commits what has changed together with all pending state of the surfaces below it. Outside of `damage` and of what has changed in `hole`
    /// nothing is copied, unless together they take more than kMostDamage boxes. `seen`: whether anything of the desktop is, between what
    /// lies above. False: no buffer is free, or no memory; nothing is committed then.
    bool commit(const Picture &picture, const GuestRegion &damage, const GuestRegion &hole, bool seen);
    /// Commits pending state alone, the picture as it is.
    void commit_state();

    /// While the parent lays out: commits wait for the parent's, so that all of it changes at once.
    void set_synchronised(bool on);

    [[nodiscard]] wl_surface *surface() const { return surface_; }
    [[nodiscard]] const GuestRegion &hole() const { return hole_; }
    [[nodiscard]] std::uint64_t copied_pixels() const { return copied_pixels_; }

private:
    friend struct DesktopEvents;
    /// Compositors tell nothing of a surface while nothing of it is seen. Where it is known to be so, it is not waited for.
    static constexpr std::int64_t kMostWait = 100'000'000;
    static constexpr std::int64_t kUnseenWait = 16'666'667; ///< as a refresh takes
    struct Buffer {
        wl_buffer *buffer = nullptr;
        std::uint32_t *pixels = nullptr;
        GuestRegion stale;
        bool busy = false;
    };

    DesktopSurface(WaylandConnection &connection, wl_surface *parent, std::function<void()> on_ready)
        : connection_(connection), parent_(parent), on_ready_(std::move(on_ready))
    {
    }
    bool allocate(int width, int height);
    void free_buffers();
    void update_opaque_region();

    WaylandConnection &connection_;
    wl_surface *parent_;
    std::function<void()> on_ready_;
    bool below_parent_ = false;
    wl_surface *surface_ = nullptr;
    wl_subsurface *subsurface_ = nullptr;
    wp_viewport *viewport_ = nullptr;
    wl_callback *frame_ = nullptr; ///< outstanding while no commit has been shown since it was asked for
    std::int64_t ready_at_ = 0;
    std::array<Buffer, 3> buffers_;
    std::uint32_t *memory_ = nullptr;
    std::size_t memory_size_ = 0;
    int width_ = 0; ///< guest pixels
    int height_ = 0;
    Fit fit_;
    GuestRegion hole_;
    std::uint64_t copied_pixels_ = 0;
};

} // namespace spice_overlay
