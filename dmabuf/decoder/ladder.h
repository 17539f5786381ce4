// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "codec.h"
#include "dmabuf/format_set.h"
#include "hardware.h"
#include "post_processor.h"
#include "proof.h"
#include "sandbox.h"
#include "watchdog.h"

#include <compare>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spice_overlay {

/// Decodes one stream by the best there is: a device that decodes into memory which the compositor takes, or converts it to such, else
/// software. A device has to prove itself on the stream's first picture. When it fails, then or later, software goes on from the same place: the units of pictures
/// that have not been shown are kept for it (a device may be late by many), back to a key unit, and pictures that were shown already are left out. There is no way back up. One thread.
class Ladder {
public:
    /// By what pictures are decoded from here on, and why not by something better.
    struct Path {
        bool hardware = false;
        bool processed = false; ///< the device converts them for the compositor
        std::string name;
        std::string why;
    };
    struct Listener {
        std::function<void(const Path &)> path;
        /// A picture in order of presentation. `surface` is where a device's picture lies, lent to the viewer; null: software's.
        std::function<void(AVFrame &frame, FramePool::Slot *surface)> picture;
        std::function<void()> hung; ///< a driver does not return: end the process. From another thread
    };

    /// `accepted` are the formats of surfaces that the compositor takes; `render_node` is the device that may decode, or invalid.
    Ladder(const ipc::Open &open, std::vector<FormatSet::Entry> accepted, UniqueFd render_node, FramePool &pool,
           Listener listener);

    /// Opens the device, with whatever files its driver reads: its codec too, where that has its device to itself. What does not return is
    /// ended by SIGALRM.
    void open_device(std::span<const std::uint8_t> extradata);
    /// By what it may come to decode.
    [[nodiscard]] SandboxKind sandbox() const;
    /// Opens the codecs: afterwards the process may lock itself in.
    [[nodiscard]] std::optional<Failure> start(std::span<const std::uint8_t> extradata);

    [[nodiscard]] std::optional<Failure> decode(const VideoCodec::Unit &unit);
    void drain();
    void flush();

    [[nodiscard]] VideoCodec &software() { return software_; }

private:
    struct Ready {
        std::shared_ptr<AVFrame> frame;
        FramePool::Slot *slot = nullptr;
    };
    /// When a picture is shown. Eras are counted: in each, time grows from key unit to key unit.
    struct Moment {
        std::uint32_t era = 0;
        std::int64_t pts = 0;
        auto operator<=>(const Moment &) const = default; // NOLINT(modernize-use-nullptr): its 0 is no pointer
    };
    struct KeptUnit {
        std::vector<std::uint8_t> data;
        Moment moment;
        bool key = false;
    };

    void refuse(const std::string &name, const std::string &why);
    [[nodiscard]] bool start_hardware(std::span<const std::uint8_t> extradata);
    void keep(const VideoCodec::Unit &unit);
    void forget_kept();
    void forget_groups_before(const std::deque<KeptUnit>::iterator &key);
    [[nodiscard]] std::deque<KeptUnit>::iterator newest_key();
    [[nodiscard]] std::vector<VideoCodec::Unit> newest_group();
    [[nodiscard]] Moment moment_of(const AVFrame &frame) const;
    [[nodiscard]] bool make_reference(const AVFrame &frame);
    void take(const AVFrame &frame);
    void note_shown(Moment moment);
    void show_ready();
    [[nodiscard]] Result<Ready> place(const AVFrame &frame);
    [[nodiscard]] Result<Ready> place_processed(const AVFrame &frame);
    [[nodiscard]] bool accepts(const Image &memory) const;
    [[nodiscard]] std::vector<ProcessedKind> kinds_for(const AVFrame &frame) const;
    [[nodiscard]] Status start_processing(const AVFrame &frame);
    [[nodiscard]] Status try_processor(PostProcessor &processor, const AVFrame &frame);
    using Prover = std::function<Result<Proof>(const AVFrame &reference)>;
    [[nodiscard]] Status judge(const AVFrame &frame, const Prover &prover);
    [[nodiscard]] std::optional<Failure> step_down();
    void show_new(AVFrame &frame);

    const ipc::Open open_;
    const std::vector<FormatSet::Entry> accepted_;
    UniqueFd render_node_;
    FramePool &pool_;
    Listener listener_;
    VideoCodec software_;
    std::unique_ptr<Watchdog> watchdog_;
    std::unique_ptr<Hardware> device_; ///< stays when it has failed: the viewer may still show its pictures
    std::optional<VideoCodec> hardware_;
    std::unique_ptr<PostProcessor> processor_; ///< of the device, for surfaces of generation proved_
    std::string why_process_; ///< why the compositor cannot have the device's pictures as they are; empty: it can

    std::string refusals_;               ///< why there is no device
    std::string broken_;                 ///< why hardware is of no use any more
    std::optional<std::uint64_t> proved_; ///< generation of surfaces that has shown a right picture
    std::vector<Ready> ready_;           ///< to be shown when the driver is not at work: that may take its time
    std::shared_ptr<AVFrame> reference_; ///< software's picture of a key unit, while a proof is due
    std::deque<KeptUnit>
        kept_; ///< those of all pictures that have not been shown, and from the key unit before them on
    std::size_t kept_bytes_ = 0;
    bool kept_all_ = true;
    std::optional<Moment> newest_; ///< of the units
    std::optional<Moment> shown_;  ///< of the device's newest picture; none before it may be shown again
    std::uint32_t era_ = 0;        ///< of what software decodes
};

} // namespace spice_overlay
