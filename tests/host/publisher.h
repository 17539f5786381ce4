// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "desktop.h"
#include "player.h"
#include "qxl_display.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace spice_overlay::host {

/// How long a geometry line leaves after the desktop's damage; negative: before it, so that the damage waits.
struct Skew {
    int milliseconds = 0;
    bool random = false; ///< drawn anew for every change, -50 to 50; `milliseconds` is not looked at
};

/// Brings what a Desktop shows out of the house by its two ways, which may be out of step on purpose: damage to the
/// SPICE display, geometry to whoever sends the video. Each way keeps its order. All damage of one publish() is one
/// drawing command. Main thread.
class Publisher {
public:
    using Send = std::function<void(const std::string &line)>;

    /// `settled` is called, from the main loop, when nothing is left on either way after something was.
    Publisher(Desktop &desktop, QxlDisplay &display, Skew skew, Send send, std::function<void()> settled);
    Publisher(const Publisher &) = delete;
    Publisher &operator=(const Publisher &) = delete;
    ~Publisher();

    /// For the geometry way, in its order, with the next publish().
    void command(const Player::VideoCommand &command) { commands_.push_back(command); }

    /// Paints and sends what has changed. When spice-server does not keep up this does nothing, and what has changed
    /// goes out with a later call.
    void publish();

    /// Damage that has not left yet is dropped: the display it belongs to is gone.
    void drop_pictures() { pictures_.clear(); }

    /// Everything published has been handed on.
    [[nodiscard]] bool settled() const;

    /// What somebody new on the geometry way has to know: the state as it was sent.
    void replay(const Send &send) const;

    [[nodiscard]] std::uint64_t geometry_lines() const { return geometry_lines_; }

private:
    struct Lines {
        std::int64_t due; ///< µs, monotonic
        std::vector<std::string> lines;
        std::vector<Player::VideoCommand> commands; ///< those among the lines
        std::map<int, std::string> geometries;      ///< likewise, by video
    };
    struct Picture {
        std::int64_t due; ///< µs, monotonic
        Drawing drawing;
    };
    struct Sent {
        std::string geometry;
        bool open = false;
        bool paused = false;
    };

    void flush();
    void send(const Lines &lines);
    [[nodiscard]] Drawing drawing_of(const std::vector<Rect> &areas) const;

    Desktop &desktop_;
    QxlDisplay &display_;
    Skew skew_;
    Send send_;
    std::function<void()> settled_;
    std::mt19937 random_{20261122};
    std::vector<Player::VideoCommand> commands_;
    std::map<int, std::string> published_; ///< newest geometry line by video, sent or still waiting
    std::deque<Lines> lines_;
    std::deque<Picture> pictures_;
    std::map<int, Sent> sent_;
    std::uint64_t geometry_lines_ = 0;
    bool postponed_ = false; ///< a publish() did nothing
    unsigned timer_ = 0;
};

} // namespace spice_overlay::host
