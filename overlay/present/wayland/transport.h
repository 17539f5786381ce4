// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/device.h"
#include "dmabuf/format_set.h"
#include "portclient/base/result.h"

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace spice_overlay {

class WaylandConnection;

/// What the environment variable SPICE_OVERLAY_DMABUF says.
enum class DmabufUse {
    kAutomatic, ///< where it is known to be right
    kNever,     ///< "never"
    kAlways,    ///< "always": wherever the compositor takes it, whatever it draws then
};
[[nodiscard]] Result<DmabufUse> dmabuf_use_from(const char *value); ///< null: not set

/// Whether dmabufs may be given to a compositor that says this of itself; else why not. That it accepts a buffer proves nothing of
/// what it draws, and a client cannot look. So what decides is the device that reads the memory: a GPU, by its driver, and none that
/// is known to be wrong. Without one the compositor draws in software, and reads plain shared memory as well.
[[nodiscard]] Status judge_dmabufs(const DmabufFeedback &feedback, DmabufUse use,
                                   const std::function<Result<DrmDevice>(dev_t)> &find_device);

/// The lower rungs of the ladder: how frames of software decoders get to the compositor. Dmabufs, format by format, until the
/// compositor refuses one; else wl_shm. What was refused stays refused until the compositor takes other things than before: no
/// flapping. One thread.
class Transport {
public:
    /// The connection outlives the transport.
    Transport(const WaylandConnection &connection, DmabufUse use) : connection_(connection), use_(use) {}

    /// What a decoder may send, best first (DecoderProcess::Config).
    struct Offer {
        std::vector<std::uint32_t> fourccs;
        std::vector<std::uint32_t> dmabuf_fourccs;
        Allocator allocator = Allocator::kNone;
        int device = -1; ///< the transport's
    };
    [[nodiscard]] Offer offer();

    /// Whether an image of this kind may be tried.
    [[nodiscard]] bool takes_dmabuf(std::uint32_t fourcc, std::uint64_t modifier) const;

    /// The compositor has refused one: none of that format is offered any more. True the first time.
    bool refuse(std::uint32_t fourcc);

    /// What the compositor takes has changed: everything is open again.
    void reconsider();

    /// Why frames do not go as dmabufs; empty when they do, or nothing was offered yet.
    [[nodiscard]] const std::string &why_not() const { return why_not_; }

private:
    void decide();

    const WaylandConnection &connection_;
    DmabufUse use_;
    bool decided_ = false;
    ChosenAllocator allocator_; ///< Allocator::kNone: no dmabufs
    std::string why_not_;
    std::set<std::uint32_t> refused_; ///< fourccs
};

} // namespace spice_overlay
