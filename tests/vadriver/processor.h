// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "surfaces.h"

extern "C" {
#include <libswscale/swscale.h>
}

#include <va/va_vpp.h>

#include <memory>

namespace spice_overlay {

/// The post-processor: converts whole pictures of one size between NV12, P010 and BGRX, as the parameters say of their colours. Not
/// with the decoder's flags, so that no pixel is right by being made by the same code.
class Processor {
public:
    /// False: the parameters ask for what it does not do.
    [[nodiscard]] bool process(const VAProcPipelineParameterBuffer &parameters, const Surface &source,
                               const Surface &target);

private:
    struct Free {
        void operator()(SwsContext *context) const { sws_freeContext(context); }
    };
    std::unique_ptr<SwsContext, Free> context_;
};

} // namespace spice_overlay
