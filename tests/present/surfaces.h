// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/region/geometry.h"

#include <wayland-server-core.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay {

/// The surfaces of a compositor that draws nothing: what has been committed to each. Subsurfaces count as desynchronised.
class Surfaces {
public:
    enum class Kind { kNone, kShm, kDmabuf, kPixel };

    /// Makes the globals for them, but for those that `without` names. `kind_of` tells buffers apart that are no single pixels.
    Surfaces(wl_display *server, const std::vector<std::string> &without, std::function<Kind(wl_resource *)> kind_of);

    struct SyncPoint {
        unsigned timeline = 0; ///< which, in the order they were imported, from 1
        std::uint64_t point = 0;
        bool operator==(const SyncPoint &) const = default;
    };
    struct State {
        bool attached = false; ///< a buffer, or none, since the commit before
        Kind kind = Kind::kNone;
        wl_resource *buffer = nullptr;
        std::array<std::uint32_t, 4> rgba{}; ///< of a single pixel
        int width = 0;                       ///< of the viewport's destination; 0: none
        int height = 0;
        std::optional<std::array<double, 4>> source; ///< of the viewport: x, y, width, height
        Box opaque;                                  ///< bounds of the region
        bool takes_input = true;
        std::uint32_t content_type = 0;
        SyncPoint acquire; ///< since the commit before
        SyncPoint release;
    };
    struct Surface {
        Surfaces *all = nullptr;
        wl_resource *resource = nullptr; ///< null: gone
        State pending;
        State now;
        unsigned commits = 0;
        int x = 0; ///< in its parent
        int y = 0;
        Surface *parent = nullptr;
        std::vector<Surface *> stack; ///< itself among its subsurfaces, the lowest first
        std::vector<wl_resource *> frames;
        bool explicit_sync = false;   ///< its object for that exists
        std::vector<std::string> errors; ///< against the protocol
    };
    std::vector<std::unique_ptr<Surface>> list; ///< in the order they were made

    /// Says of all that was committed that it has been drawn.
    void draw();

    unsigned timelines = 0; ///< imported so far

private:
    friend struct SurfaceRequests;
    std::function<Kind(wl_resource *)> kind_of_;
};

} // namespace spice_overlay
