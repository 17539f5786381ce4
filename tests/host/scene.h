// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "pixel_rect.h"
#include "portclient/base/result.h"
#include "shape.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What a scene file says (docs/scenes.md). Plain data: the Desktop is made from it, the Player runs its actions.
namespace spice_overlay::host {

struct SceneWindow {
    std::string name;
    std::string text;
    /// The whole window in guest pixels; for a video window the video area, without its frame and title bar.
    Rect box;
    Shape shape;
    std::uint32_t colour = 0; ///< 0xRRGGBB: body of a window, frame of a video window
    bool hidden = false;
    int fps = 0;   ///< window: redrawn so many times a second, 0 never
    int video = 0; ///< index of the video that plays in it, from 1; 0 for an ordinary window
    std::uint32_t placeholder = 0; ///< 0xRRGGBB, video windows only
};

struct SceneAction {
    enum class Kind {
        kMove,
        kResize,
        kRaise,
        kLower,
        kShow,
        kHide,
        kMinimise,
        kRestore,
        kLeave,
        kReturn,
        kOpen,
        kClose,
        kPause,
        kResume,
        kSeek,
        kWait,
        kWaitAll,
        kStep,
    };
    Kind kind = Kind::kWait;
    std::size_t window = 0;   ///< index into Scene::windows, where the action has one
    int a = 0;                ///< kMove: x, kResize: width
    int b = 0;                ///< kMove: y, kResize: height
    double seconds = 0;       ///< kMove, kResize: duration; kWait: how long; kSeek: position in the file
    std::string name;         ///< kStep
};

struct Scene {
    int width = 1280; ///< of the guest's display, pixels
    int height = 800;
    std::uint32_t wallpaper_seed = 1;
    std::vector<SceneWindow> windows; ///< bottom to top
    std::vector<SceneAction> actions;
    bool loop = false;

    [[nodiscard]] bool has_video() const;
};

/// Reads a scene. An error's message starts with "FILE:LINE: " and says what is expected there; `file` is only a name.
Result<Scene> parse_scene(std::string_view text, const std::string &file);

/// Reads the file and parses it.
Result<Scene> load_scene(const std::string &path);

} // namespace spice_overlay::host
