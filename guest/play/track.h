// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/outbox.h"
#include "guest/conversation/stream_sender.h"
#include "unit_source.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay::guest {

/// One file being played: where it is in time, and its stream while there is one. No input or output of its own but the
/// source's; time comes in as a parameter (`now`, ns of CLOCK_MONOTONIC).
///
/// Media time m is due at clock_ + m. The clock starts with the first credit that a client gives, and then runs on,
/// whether a client is there or not; a client that comes (back) is shown the present.
class Track {
public:
    Track(std::string name, std::unique_ptr<UnitSource> source, Outgoing &outgoing, bool loop);

    // The guest's side.
    void open();
    void close(wire::Reason reason);
    void pause(std::int64_t now);
    void resume(std::int64_t now);
    void seek(std::int64_t position, std::int64_t now); ///< ns of media time; taken back into the file
    void place(wire::Geometry geometry);                ///< stream and serial are filled in; also before open()

    // The conversation's side.
    void connected();
    void disconnected();

    // The client's messages for stream().
    void refused(wire::Reason reason); ///< STREAM_REJECT or STREAM_CLOSE
    void credit(const wire::Credit &credit, std::int64_t now);
    void need_key(std::int64_t now);
    void feedback(const wire::Feedback &feedback);

    /// Does what is due.
    void tick(std::int64_t now);
    /// Leaves out what is stuck. To be called when everything that can be written has been.
    void settle(std::int64_t now);
    /// When tick() is wanted if nothing else happens; negative: never. A paused track wants
    /// nothing once the picture it stands at has been handed over.
    [[nodiscard]] std::int64_t deadline(std::int64_t now) const;
    /// The next message with access-unit data, if one may go.
    [[nodiscard]] bool next_message(std::vector<std::uint8_t> &out);

    [[nodiscard]] const std::string &name() const { return name_; }
    [[nodiscard]] const UnitSource &source() const { return *source_; }
    [[nodiscard]] std::uint32_t stream() const { return stream_; } ///< 0: none on the wire
    [[nodiscard]] bool wanted() const { return wanted_; }          ///< opened, and neither closed nor at its end
    [[nodiscard]] bool paused() const { return paused_; }
    [[nodiscard]] bool at_end() const { return at_end_; } ///< the source has nothing more
    [[nodiscard]] bool streaming() const { return begun_; }
    [[nodiscard]] bool was_refused() const { return refused_; }  ///< in this conversation
    [[nodiscard]] std::int64_t position(std::int64_t now) const; ///< ns of media time
    [[nodiscard]] const StreamSender *sender() const { return sender_ ? &*sender_ : nullptr; }

    struct Totals {
        StreamSender::Counters sent;
        std::uint64_t presented = 0; ///< as the client says
        std::uint64_t late = 0;
        std::uint64_t streams = 0; ///< opened on the wire
        std::uint64_t seeks = 0;
        std::uint64_t key_requests = 0;
        std::vector<wire::Reason> rejected;
    };
    [[nodiscard]] Totals totals() const;

private:
    void begin_stream();
    void end_stream();
    void send_play_state();
    void send_geometry();
    void start_clock(std::int64_t now);
    void go_to(std::int64_t position, std::int64_t now, bool may_wait_for_key);
    void rejoin(std::int64_t now);
    void pull(std::int64_t now);
    void end_of_source(std::int64_t now);
    void close_at_end(std::int64_t now);

    std::string name_;
    std::unique_ptr<UnitSource> source_;
    Outgoing &outgoing_;
    bool loop_;

    bool wanted_ = false;
    bool paused_ = false;
    bool refused_ = false;

    // The stream on the wire.
    std::uint32_t stream_ = 0;
    std::optional<StreamSender> sender_;
    std::uint32_t epoch_ = 0;
    std::uint32_t geometry_serial_ = 0;
    std::optional<wire::Geometry> geometry_;
    wire::Feedback feedback_;
    bool begun_ = false; ///< credit has come, units are going out

    // Where the file is.
    bool clock_started_ = false;
    std::int64_t clock_ = 0;           ///< the moment of media time 0
    std::int64_t paused_position_ = 0; ///< while paused; before the clock starts, where it will start
    std::optional<Unit> next_;
    std::int64_t catching_up_since_ = -1;  ///< a burst from the last key unit to the present is under way
    std::int64_t skip_before_ = INT64_MIN; ///< units due before this media time are left out
    std::int64_t grace_until_ = 0;         ///< until then units wait for credit rather than being dropped
    std::int64_t end_pts_ = INT64_MIN;     ///< end of the last picture read in this pass
    bool at_end_ = false;
    std::int64_t key_wanted_at_ = -1; ///< when to answer NEED_KEY
    std::int64_t last_rejoin_ = INT64_MIN / 2;
    Totals totals_; ///< of earlier streams
};

} // namespace spice_overlay::guest
