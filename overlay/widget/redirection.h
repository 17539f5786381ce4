// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "overlay/pace/statistics.h"
#include "portclient/session.h"
#include "screen.h"
#include "stream_facts.h"
#include "video_stream.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace spice_overlay {

/// The client's conversation with the guest about videos, from the port's bytes to frames on the screen. Opens, feeds and ends streams. One
/// thread (the main loop's).
class Redirection : private Session::Listener, private VideoStream::Owner, private VideoSurface::Listener {
public:
    struct Config {
        std::string decoder_program;
        std::vector<wire::CodecCapability> codecs; ///< what it decodes
        std::int64_t target_delay = 0; ///< ns from a frame's presentation time on the guest to its time here
        bool sandbox = true;           ///< around decoders
    };

    /// `screen`, `connection` and `statistics` outlive the redirection. `transmit` takes bytes for the port; `on_screen_changed` is called
    /// when the screen wants an update(), `on_trouble` with what a person has to know.
    Redirection(Config config, Screen &screen, WaylandConnection &connection, Statistics &statistics,
                std::function<void(std::span<const std::uint8_t>)> transmit, std::function<void()> on_screen_changed,
                std::function<void(const std::string &)> on_trouble);
    ~Redirection() override;

    void port_opened();
    void port_closed();
    void port_data(std::span<const std::uint8_t> bytes);

    [[nodiscard]] const Session::Counters &counters() const { return session_.counters(); }
    [[nodiscard]] std::vector<int> decoder_pids() const;
    [[nodiscard]] std::vector<StreamFacts> streams() const;

private:
    wire::Reason open(const wire::StreamOpen &stream) override;
    void geometry(const wire::Geometry &geometry) override;
    void access_unit(const wire::AccessUnit &unit) override;
    void play_state(const wire::PlayState &state) override;
    void close(std::uint32_t stream, wire::Reason reason) override;
    void transmit(std::span<const std::uint8_t> bytes) override { transmit_(bytes); }

    void units_done(std::uint32_t stream, std::uint32_t units) override;
    void need_key(std::uint32_t stream) override;
    void frames_decoded(std::uint32_t stream, std::int64_t decode_ns) override;
    void stream_failed(std::uint32_t stream, wire::Reason reason) override;
    std::int64_t due_time(std::int64_t pts) override { return session_.to_local(pts) + config_.target_delay; }

    void frame_committed(const VideoFrame &frame, std::int64_t at) override;
    void frame_shown(const VideoFrame &frame) override;
    void frame_presented(const VideoFrame &frame, const VideoSurface::Presentation &how) override;
    void frame_replaced(const VideoFrame &frame, bool hidden) override;

    void end_stream(std::uint32_t stream, wire::Reason reason);
    void work();     ///< shows what is due, ends what has failed
    void tick();     ///< what the session has to do
    void schedule(); ///< sets the timer for the next work()

    Config config_;
    Screen &screen_;
    WaylandConnection &connection_;
    Statistics &statistics_;
    std::function<void(std::span<const std::uint8_t>)> transmit_;
    std::function<void()> on_screen_changed_;
    std::function<void(const std::string &)> on_trouble_;
    Session session_;
    MessageRate openings_;
    FrameBudget frame_budget_;
    std::map<std::uint32_t, std::unique_ptr<VideoStream>> streams_;
    std::map<std::uint32_t, wire::Reason> failed_; ///< to be closed in work()
    MainTimer timer_;
    std::int64_t session_wakes_ = -1;
};

} // namespace spice_overlay
