// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <string>

namespace spice_overlay::gst {

/// The decoder that the player would have had without us: a child of our element while it is needed, with pads of ours before and behind it. Fed by
/// whoever holds the stream lock of our element's sink pad.
class InnerDecoder {
public:
    struct Output {
        std::function<GstFlowReturn(GstBuffer *)> buffer; ///< takes it
        std::function<bool(GstEvent *)> event;            ///< takes it
        std::function<bool(GstQuery *)> upstream;         ///< what it asks its source
        std::function<bool(GstQuery *)> downstream;       ///< what it asks its sink
        std::function<bool(GstEvent *)> upstream_event;   ///< takes it
    };

    /// Loads the best decoder's plugin, which may take a third of a second, so that make() need not.
    static void load(GstCaps *caps);

    /// The best decoder for `caps` that starts.
    [[nodiscard]] static Result<std::unique_ptr<InnerDecoder>> make(GstBin *bin, GstCaps *caps, const Output &output);
    /// Whether `source`, from which `bin` has a message, is of a decoder that has not started yet, and may give way to the next. Any thread.
    [[nodiscard]] static bool starting(GstBin *bin, GstObject *source);
    ~InnerDecoder();
    InnerDecoder(const InnerDecoder &) = delete;

    [[nodiscard]] GstFlowReturn push(GstBuffer *buffer); ///< takes it
    bool push_event(GstEvent *event);                    ///< takes it
    bool send_upstream(GstEvent *event);                 ///< from behind it, as a sink would; takes it
    bool query(GstQuery *query);                         ///< likewise
    [[nodiscard]] std::string name() const;

private:
    InnerDecoder(GstBin *bin, GstElement *decoder, Output output);
    [[nodiscard]] bool link(GstCaps *caps);

    GstBin *bin_;
    GstElement *decoder_; ///< the bin's
    GstPad *feed_;        ///< ours, before it
    GstPad *drain_;       ///< ours, behind it
    Output output_;
};

} // namespace spice_overlay::gst
