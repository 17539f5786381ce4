// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/device.h"
#include "dmabuf/format_set.h"
#include "portclient/base/result.h"
#include "timeline.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
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

/// Which GPU may decode: what the environment variables SPICE_OVERLAY_HARDWARE and SPICE_OVERLAY_RENDER_NODE say.
struct HardwareSettings {
    ipc::HardwareUse use = ipc::HardwareUse::kAutomatic;
    std::string render_node; ///< path; empty: that of the device that the compositor names
};
[[nodiscard]] Result<HardwareSettings> hardware_settings_from(const char *use, const char *render_node);

/// Whether dmabufs may be given to a compositor that says this of itself; else why not. That it accepts a buffer proves nothing of
/// what it draws, and a client cannot look. So what decides is the device that reads the memory: a GPU, by its driver, and none that
/// is known to be wrong. Without one the compositor draws in software, and reads plain shared memory as well.
[[nodiscard]] Status judge_dmabufs(const DmabufFeedback &feedback, DmabufUse use,
                                   const std::function<Result<DrmDevice>(dev_t)> &find_device);

/// The ladder: how frames get to the compositor. Surfaces that a GPU decodes into, where it may; else dmabufs of software decoders, format
/// by format, until the compositor refuses one; else wl_shm. What was refused stays refused until the compositor takes other things than
/// before, and a GPU that has failed at a codec is not asked again: no flapping. One thread.
class Transport {
public:
    /// The connection outlives the transport.
    Transport(const WaylandConnection &connection, DmabufUse use) : connection_(connection), use_(use) {}

    /// Before the first stream.
    void set_hardware(HardwareSettings settings) { hardware_ = std::move(settings); }

    /// What a decoder may send, best first (DecoderProcess::Config).
    struct Offer {
        std::vector<std::uint32_t> fourccs;
        std::vector<std::uint32_t> dmabuf_fourccs;
        Allocator allocator = Allocator::kNone;
        int device = -1; ///< the transport's
    };
    [[nodiscard]] Offer offer();

    /// What a GPU may decode into, for a stream of this codec (DecoderProcess::Config).
    struct Hardware {
        ipc::HardwareUse use = ipc::HardwareUse::kNever;
        int render_node = -1; ///< the transport's
        FormatSet surfaces;
        std::string why_not; ///< for people; empty: it may
    };
    [[nodiscard]] Hardware hardware(wire::Codec codec);

    /// A decoder that used a GPU for this codec has ended: none is given one any more.
    void refuse_hardware(wire::Codec codec, const std::string &why) { failed_hardware_[codec] = why; }

    /// What makes timelines for this compositor: the device that it names.
    [[nodiscard]] Result<std::unique_ptr<TimelineDevice>> open_timelines() const;

    /// Whether an image of this kind may be tried.
    [[nodiscard]] bool takes_dmabuf(std::uint32_t fourcc, std::uint64_t modifier) const;

    /// The compositor has refused one: none of that kind is offered any more. True the first time.
    bool refuse(std::uint32_t fourcc, std::uint64_t modifier);

    /// What the compositor takes has changed: everything is open again.
    void reconsider();

    /// Why frames do not go as dmabufs; empty when they do, or nothing was offered yet.
    [[nodiscard]] const std::string &why_not() const { return why_not_; }

private:
    void decide();
    [[nodiscard]] Result<DrmDevice> find_device() const;
    [[nodiscard]] Result<ChosenAllocator> choose() const;
    [[nodiscard]] Result<std::string> find_render_node() const;

    const WaylandConnection &connection_;
    DmabufUse use_;
    HardwareSettings hardware_;
    UniqueFd render_node_;
    std::map<wire::Codec, std::string> failed_hardware_; ///< and why
    bool imports_ = false;                               ///< dmabufs may be given at all
    bool decided_ = false;
    ChosenAllocator allocator_; ///< Allocator::kNone: no dmabufs
    std::string why_not_;
    FormatSet refused_;
};

} // namespace spice_overlay
