// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "colour.h"

#include "portclient/base/result.h"

extern "C" {
#include <libswscale/swscale.h>
}

#include <memory>

namespace spice_overlay {

/// One pass from whatever a codec decodes into to XRGB8888. One thread.
class RgbConverter {
public:
    /// Converts the whole picture (cropping already applied) to `destination`, lines of `stride` bytes. The memory must
    /// be good for a few bytes more than the last line needs.
    [[nodiscard]] Status convert(const AVFrame &picture, const Colour &colour, std::uint8_t *destination,
                                 std::uint32_t stride);

private:
    struct Key {
        int width = 0;
        int height = 0;
        int format = AV_PIX_FMT_NONE;
        int matrix = 0;
        bool full_range = false;
        bool operator==(const Key &) const = default;
    };
    struct Free {
        void operator()(SwsContext *context) const { sws_freeContext(context); }
    };

    Key key_;
    std::unique_ptr<SwsContext, Free> context_;
};

} // namespace spice_overlay
