// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <memory>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// Plays files and URLs in a window of its own, with sound, by GStreamer. Whether the picture is redirected is decided by
/// spice-overlay's own decoder element, which playbin prefers; without it, or when it declines, playbin decodes here. One thread,
/// a GLib main loop; the process has one such player.
class WindowPlayer {
public:
    struct Options {
        std::vector<std::string> items; ///< paths or URLs, played one after the other
        bool local = false;             ///< never redirect
        bool sound = true;
        bool loop = false;
        bool fullscreen = false;
        bool status_line = false; ///< on standard error
    };

    /// Opens the window. The error says what to do without an X display or without GStreamer's plugins.
    [[nodiscard]] static Result<std::unique_ptr<WindowPlayer>> open(Options options);
    ~WindowPlayer();

    /// Until everything has been played, or a person or a signal ends it. False: something could not be played; it has been
    /// said what, and why.
    [[nodiscard]] bool run();

    /// What was done, as one line of JSON: `files`, each with `file`, `redirected_s`, `local_s` and `reasons` (why it was
    /// shown here).
    [[nodiscard]] std::string statistics_json() const;

private:
    struct Private;
    explicit WindowPlayer(std::unique_ptr<Private> p);
    std::unique_ptr<Private> p_;
};

} // namespace spice_overlay::guest
