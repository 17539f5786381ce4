// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace spice_overlay::guest {

/// What a person may tell a player, by the keyboard of its window or of its terminal.
enum class Command { kPause, kBack, kForward, kFarBack, kFarForward, kQuieter, kLouder, kMute, kFullscreen, kQuit };

/// A window of our own for a video, on the X display of the environment. Paints nothing: whoever shows the video does.
/// One thread; never waits once it is open.
class X11Window {
public:
    /// `width`, `height`: of the inside, in pixels, until somebody resizes it. The error says what to do without an X
    /// display.
    [[nodiscard]] static Result<std::unique_ptr<X11Window>> open(const std::string &title, unsigned width,
                                                                 unsigned height);
    ~X11Window();
    X11Window(const X11Window &) = delete;
    X11Window &operator=(const X11Window &) = delete;

    [[nodiscard]] std::uint32_t id() const;
    [[nodiscard]] int fd() const; ///< readable when dispatch() has something to do

    struct Events {
        std::function<void(Command)> command; ///< by a key, or kQuit by the window's close button
        std::function<void()> exposed;        ///< its content has to be painted again
    };
    /// Handles what came. False: the X server has gone.
    [[nodiscard]] bool dispatch(const Events &events);

    void set_title(const std::string &title);
    void resize(unsigned width, unsigned height); ///< pixels; not above the screen's size, whose shape is kept
    void toggle_fullscreen();                     ///< asks the window manager (EWMH); without one nothing happens

private:
    struct Private;
    explicit X11Window(std::unique_ptr<Private> p);
    std::unique_ptr<Private> p_;
};

} // namespace spice_overlay::guest
