// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "forwarder.h"
#include "inner_decoder.h"
#include "placeholder.h"
#include "unit.h"
#include "unit_cache.h"

#include <gst/gst.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace spice_overlay::gst {

/// What the element spiceoverlaydec does with a stream. Either it is *redirected*: the client shows it, and flat frames go downstream; or it is *local*:
/// an inner decoder makes the frames. Units go to the agent in both cases.
///
/// Functions marked S are called with the stream lock of the sink pad; what has no mark is for any thread.
class Redirector : private Forwarder::Events {
public:
    struct Settings {
        std::string socket;
        std::string display_name;
        std::int32_t key_colour = -1; ///< 0xRRGGBB, -1: one of the library's choice for each stream
        int search_ms = 10000; ///< how long flat frames may be shown without being found on the screen; 0: for ever
    };

    /// All three are the element's, and outlive this.
    Redirector(GstBin *element, GstPad *sink, GstPad *src);
    ~Redirector() override;

    /// Whether there is an agent with a client that decodes anything.
    [[nodiscard]] Status check(const Settings &settings) const;
    [[nodiscard]] Status check_caps(const Settings &settings, const GstCaps *caps) const;

    // State changes of the element.
    void start(const Settings &settings);
    void interrupt(); ///< before the pads become inactive
    void stop();      ///< after that
    void play();
    void pause();

    GstFlowReturn unit(GstBuffer *buffer); ///< S; takes it
    bool sink_event(GstEvent *event);      ///< S for serialised events; takes it
    bool src_event(GstEvent *event);       ///< takes it
    bool src_query(GstQuery *query);

    [[nodiscard]] bool redirected() const
    {
        return running_ && !local_ && forwarder_.reason() == SPICE_OVERLAY_REASON_NONE;
    }
    [[nodiscard]] std::string reason() const; ///< why it is not redirected

private:
    void redirection_changed() override;
    void key_unit_wanted() override;
    void follow_from_outside();
    [[nodiscard]] bool take_refresh();
    void wake();

    // All S.
    void reset(); ///< or when nobody else is left
    bool set_caps(GstCaps *caps);
    bool set_segment(GstEvent *event);
    void flush_stop(GstEvent *event);
    bool end_of_stream(GstEvent *event);
    void await_link();
    void look_at_clock();
    [[nodiscard]] std::string why_local();
    [[nodiscard]] GstFlowReturn process(GstBuffer *buffer);
    enum class Pace { kGo, kChanged, kFlushing };
    /// Waits until what is decoded at this running time is to go; meanwhile something else may have become due.
    [[nodiscard]] Pace wait_for_time(std::int64_t running_time);
    [[nodiscard]] bool still() const; ///< paused, and a picture is seen
    /// Goes over from the one to the other where that is due; `done`: has brought something downstream.
    [[nodiscard]] GstFlowReturn follow(bool &done);
    [[nodiscard]] GstFlowReturn go_local();
    [[nodiscard]] GstFlowReturn feed(InnerDecoder &decoder, GstBuffer *unit);
    void go_redirected();
    [[nodiscard]] GstFlowReturn refresh();
    [[nodiscard]] GstFlowReturn show_placeholder(GstClockTime at, GstClockTime duration, bool always);
    [[nodiscard]] GstFlowReturn negotiate();
    [[nodiscard]] std::int64_t running(GstClockTime at) const;
    [[nodiscard]] GstClockTime presentation(GstBuffer *buffer);

    // The inner decoder's output, on whatever thread that has it.
    GstFlowReturn decoded(GstBuffer *buffer);
    bool decoder_event(GstEvent *event);
    [[nodiscard]] GstFlowReturn show_late(GstBuffer *buffer);
    [[nodiscard]] GstFlowReturn output(GstBuffer *buffer);
    [[nodiscard]] std::int64_t wanted_now();

    [[nodiscard]] std::shared_ptr<InnerDecoder> inner() const;
    void set_inner(std::shared_ptr<InnerDecoder> decoder);
    void tell(const std::string &why_local);

    GstBin *element_;
    GstPad *sink_;
    GstPad *src_;
    Settings settings_;
    Forwarder forwarder_;
    Placeholder placeholder_;
    ParameterSets parameter_sets_;
    UnitCache cache_;

    GstCaps *caps_ = nullptr; ///< encoded
    Result<spice_overlay_format> format_ = Error{"no stream"};
    GstEvent *stream_start_ = nullptr;
    GstEvent *segment_event_ = nullptr;
    GstSegment segment_;
    bool segment_due_ = false; ///< has not gone downstream yet
    bool asked_ = false;       ///< the agent's first answer about this stream has been waited for
    bool linked_ = false;      ///< downstream has been looked at
    bool ended_ = false;
    bool told_ = false;   ///< whether it is redirected
    bool turned_ = false; ///< the sink may have to turn the picture
    std::string not_displayed_;
    std::int64_t searching_since_ = 0; ///< ns of CLOCK_MONOTONIC, 0 not
    std::atomic<std::int64_t> reported_at_ = 0; ///< when the sink first reported on a frame since then; ns, 0 not yet
    bool not_found_ = false;
    std::int32_t key_colour_ = -1;
    GstClockTime last_pts_ = GST_CLOCK_TIME_NONE; ///< of units
    GstClockTime end_ = GST_CLOCK_TIME_NONE;      ///< of the last picture, in presentation order

    // Output.
    GstClockTime last_out_ = GST_CLOCK_TIME_NONE;
    GstClockTime last_flat_ = GST_CLOCK_TIME_NONE;
    std::int64_t start_ = 0;            ///< running time of the segment's start
    std::int64_t together_from_ = INT64_MIN / 2; ///< running time of the last unit that was waited for
    std::atomic<unsigned> outputs_ = 0; ///< since the last flush
    bool catching_up_ = false;
    bool refreshing_ = false;
    std::int64_t last_shown_ = 0;        ///< while catching up; ns of CLOCK_MONOTONIC
    std::int64_t paused_at_ = INT64_MIN; ///< running time of what is seen while paused
    GstBuffer *latest_ = nullptr;        ///< while catching up: decoded last, and not shown

    std::atomic<std::int64_t> seen_at_ = INT64_MIN; ///< running time at which it was paused

    std::atomic<bool> running_ = false;
    std::atomic<bool> local_ = false;
    std::atomic<bool> local_anyway_ = false; ///< whatever the agent says
    std::atomic<bool> refresh_due_ = false;

    std::mutex wake_mutex_;
    std::condition_variable wake_;
    std::uint64_t wakes_ = 0;            ///< guarded by wake_mutex_
    std::atomic<bool> flushing_ = false; ///< from upstream, or since it ends

    std::mutex flush_mutex_;   ///< while downstream is made to flush; taken after the stream lock
    mutable std::mutex mutex_; ///< guards what follows
    std::shared_ptr<InnerDecoder> inner_;
    std::string reason_;
};

} // namespace spice_overlay::gst
