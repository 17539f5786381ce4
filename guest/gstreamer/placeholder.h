// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <gst/gst.h>
#include <gst/video/video.h>

#include <cstdint>

namespace spice_overlay::gst {

/// Flat frames in whatever form downstream likes best. They are rare, and each is painted anew. Streaming thread.
class Placeholder {
public:
    explicit Placeholder(GstPad *src) : src_(src) {}
    ~Placeholder() { forget(); }
    Placeholder(const Placeholder &) = delete;

    /// Agrees with downstream on a form of `encoded`'s size, aspect and frame rate.
    [[nodiscard]] Result<GstCaps *> choose(const GstCaps *encoded);

    /// After `caps`, which choose() returned, have gone downstream: finds memory for frames in the colour 0xRRGGBB.
    [[nodiscard]] Status prepare(GstCaps *caps, std::uint32_t colour);
    [[nodiscard]] bool prepared() const { return pool_; }
    /// The next frame is to be agreed upon anew.
    void forget();

    /// NULL with the reason in `flow`.
    [[nodiscard]] GstBuffer *frame(GstFlowReturn &flow);

private:
    [[nodiscard]] bool paint(GstBuffer *buffer) const;

    GstPad *src_;
    GstBufferPool *pool_ = nullptr;
    GstVideoInfo info_{};
    std::uint32_t colour_ = 0;
};

} // namespace spice_overlay::gst
