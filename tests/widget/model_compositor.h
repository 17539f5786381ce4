// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/region/geometry.h"

#include <wayland-client-core.h>
#include <wayland-server-core.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace spice_overlay {

/// What a video frame's memory begins with in this test: whose frame it is.
struct FrameTag {
    std::uint32_t stream = 0; ///< counted over all streams of the test: wire identifiers are used again
    std::uint32_t epoch = 0;
    std::uint32_t number = 0;
    bool operator==(const FrameTag &) const = default;
};

/// A compositor in the test's own thread that keeps to the rules of surfaces and subsurfaces, draws nothing, and tells after each commit
/// which video frames a person would see: those in the memory of mapped surfaces, as it is then. One client, whose connection is `display`.
class ModelCompositor {
public:
    ModelCompositor();
    ~ModelCompositor();
    ModelCompositor(const ModelCompositor &) = delete;
    ModelCompositor &operator=(const ModelCompositor &) = delete;

    struct Shown {
        FrameTag tag;
        int x = 0; ///< in the desktop's surface, logical pixels
        int y = 0;
        int width = 0;
        int height = 0;
    };
    [[nodiscard]] std::vector<Shown> shown() const;
    /// Where the desktop's surface is in the window, logical pixels; empty: it has no picture.
    [[nodiscard]] Box desktop() const;
    std::function<void()> on_commit; ///< something has been applied, or a surface is gone

    /// Handles all that both sides have to say to each other.
    void exchange();
    /// The same on a thread of its own while `call` blocks in round trips.
    void serve(const std::function<void()> &call);
    /// The screen is drawn: frame callbacks, and buffers that are no longer shown.
    void refresh();
    bool asks_everybody = false; ///< for frames, as Weston 10 does; else only surfaces of which something is seen
    bool covered = false;        ///< by another window: nothing of the viewer's is seen

    wl_display *display = nullptr; ///< the client's
    unsigned boxes = 0;            ///< of damage and of regions that the client has told

private:
    friend struct ModelRequests;
    struct Surface;
    struct Buffer;
    struct Pool;
    struct State;
    void commit(Surface &surface);
    void apply(Surface &surface, State &state);
    void changed();
    void draw(Surface &surface, int x, int y, std::vector<std::pair<Surface *, Box>> &drawn) const;
    [[nodiscard]] bool is_seen(const Surface &surface) const;

    wl_display *server_ = nullptr;
    wl_client *client_ = nullptr;
    std::vector<Surface *> surfaces_;               ///< in the order of their making
    std::vector<std::shared_ptr<Buffer>> replaced_; ///< to be released with it
};

} // namespace spice_overlay
