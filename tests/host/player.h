// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "desktop.h"
#include "scene.h"

#include <functional>
#include <string>
#include <vector>

namespace spice_overlay::host {

/// Runs a scene's actions on a Desktop. Time is the scene's own, in seconds, and stands still at a step.
class Player {
public:
    /// What a scene wants of the videos' sender, beyond geometry: "open", "close", "pause", "resume", "seek".
    struct VideoCommand {
        const char *verb;
        int index;          ///< of the video, from 1
        double seconds = 0; ///< "seek" only
    };

    struct Listener {
        std::function<void(const VideoCommand &)> video;
        std::function<void(const std::string &name)> step; ///< the player has stopped: resume() lets it go on
        std::function<void()> end;
    };

    Player(const Scene &scene, Desktop &desktop, Listener listener);

    /// Brings the scene `seconds` further: runs every action that is due, in order, and moves what moves.
    void advance(double seconds);

    /// From a step; at once, or from inside Listener::step.
    void resume() { stopped_ = false; }

    [[nodiscard]] bool stopped() const { return stopped_; }

    /// Whether time must go on for anything to happen: false at a step, and at the end with nothing animated.
    [[nodiscard]] bool busy() const;

private:
    struct Motion {
        std::size_t window;
        bool moves; ///< or resizes
        int from_a, from_b, to_a, to_b;
        double begin, end;
    };
    struct Animation {
        std::size_t window;
        double period;
        double next;
    };

    [[nodiscard]] double next_event() const;
    void run_motions();
    void run_animations();
    void run_actions();
    bool run(const SceneAction &action); ///< false: it is not over yet
    void apply(const Motion &motion, double share);

    const Scene &scene_;
    Desktop &desktop_;
    Listener listener_;
    double now_ = 0;
    double wait_until_ = -1;
    std::size_t next_ = 0;
    bool stopped_ = false;
    bool ended_ = false;
    std::vector<Motion> motions_;
    std::vector<Animation> animations_;
};

} // namespace spice_overlay::host
