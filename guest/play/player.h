// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "geometry_feed.h"
#include "guest/conversation/conversation.h"
#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"
#include "track.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// Plays tracks through a port: the program's one loop over port, geometry socket, signals and time. One thread.
class Player : private Conversation::Listener {
public:
    struct Options {
        std::string port;
        std::optional<UniqueFd> geometry; ///< lines as geometry_feed.h says
        bool loop = false;
        bool status_line = false; ///< on standard error, while something plays
    };

    explicit Player(Options options);

    /// `place`: where it is shown until the geometry socket says otherwise. Before run().
    void add(std::string name, std::unique_ptr<UnitSource> source, std::optional<wire::Rect> place);

    /// Opens the port; what fails here is for a person to mend.
    [[nodiscard]] Status open();

    enum class End { kDone, kRefused, kFailed };
    /// Until everything has been played, refused, or a signal (from `signal_fd`, a signalfd) ends it.
    [[nodiscard]] End run(int signal_fd);

    [[nodiscard]] const Conversation::Counters &counters() const { return conversation_.counters(); }
    [[nodiscard]] const std::deque<Track> &tracks() const { return tracks_; }

private:
    void established(const wire::Hello &peer) override;
    void over(wire::Reason why) override;
    void message(const wire::Message &message, std::int64_t now) override;
    [[nodiscard]] bool next_data(std::vector<std::uint8_t> &out) override;
    void notice(const std::string &text) override { say(text); }

    void read_geometry(std::int64_t now);
    template <typename M>
    void take(const M &message, std::int64_t now);
    void feed_line(std::string_view line, std::int64_t now);
    void refuse(Track &track, const char *what, wire::Reason reason);
    void tick(std::int64_t now);
    void report(std::int64_t now);
    void stop(wire::Reason reason);
    void wait(int signal_fd, std::int64_t until);
    [[nodiscard]] std::int64_t next_wake(std::int64_t now) const;
    [[nodiscard]] std::optional<End> finished() const;
    [[nodiscard]] bool playing() const;
    [[nodiscard]] Track *find(std::uint32_t stream);
    void say(const std::string &text);

    Options options_;
    Conversation conversation_;
    std::deque<Track> tracks_;
    std::vector<bool> complained_; ///< of each track: what its source had to complain about was said
    LineReader lines_;
    bool had_geometry_ = false;
    bool stopping_ = false;
    std::size_t next_track_ = 0; ///< whose turn it is to send data
    int feed_errors_ = 0;

    // The status line.
    std::int64_t report_at_ = 0;
    std::int64_t reported_at_ = 0;
    std::uint64_t reported_units_ = 0;
    std::uint64_t reported_bytes_ = 0;
    bool reported_playing_ = false;
    bool line_shown_ = false;
};

} // namespace spice_overlay::guest
