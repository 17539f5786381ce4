// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "message_bar.h"
#include "options.h"
#include "overlay/widget/display.h"
#include "overlay/widget/glib_sources.h"
#include "portclient/base/unique_fd.h"

#include <gtk/gtk.h>
#include <spice-client.h>

#include <cstdio>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace spice_overlay {

/// The application: one window with one session. Main thread.
class Viewer {
public:
    explicit Viewer(ViewerOptions options) : options_(std::move(options)) {}
    ~Viewer();

    /// Connects and shows the window. GTK has been initialised.
    Status start();
    /// Runs until the window is closed or, where the person is not to be asked, the connection ends. Returns the exit code.
    int run();

private:
    friend struct ViewerSignals;
    void finish(int exit_code, const std::string &message = {});
    [[nodiscard]] bool connect();
    void channel_event(SpiceChannel *channel, SpiceChannelEvent event);
    void disconnected();
    void tell(const std::string &trouble);
    [[nodiscard]] std::string sentence(std::string clause) const;
    void toggle_fullscreen();
    void watch_termination();
    void write_statistics(bool final);

    ViewerOptions options_;
    std::string name_; ///< of the connection, for messages
    SpiceSession *session_ = nullptr;
    GtkWindow *window_ = nullptr;
    SpiceOverlayDisplay *display_ = nullptr;
    std::optional<MessageBar> bar_;
    std::string loss_;           ///< why the connection is about to end, or has
    std::set<std::string> told_; ///< on this connection
    GMainLoop *loop_ = nullptr;
    std::FILE *statistics_ = nullptr;
    unsigned statistics_timer_ = 0; ///< 0: nothing has changed
    int exit_code_ = 0;
    bool sized_ = false; ///< the window, by the guest's display
    bool finished_ = false;
    std::list<SignalConnection> signals_;
    UniqueFd termination_; ///< readable after SIGTERM or SIGINT
    std::optional<FdWatch> termination_watch_;
};

} // namespace spice_overlay
