// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "dmabuf/format_set.h"
#include "frame_budget.h"
#include "frame_buffer.h"
#include "ipc.h"
#include "portclient/base/result.h"
#include "portclient/wire/messages.h"
#include "yuv_colour.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace spice_overlay {

/// A decoded picture, in decoding output (presentation) order. Holds its slot until release().
struct DecodedFrame {
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    std::int64_t pts = 0;       ///< as in the access unit it came from
    std::int64_t decode_ns = 0; ///< time spent in the decoder, conversion included
    wire::Rect crop;            ///< the picture inside the buffer, buffer pixels
    YuvColour colour = YuvColour::kUnsaid; ///< what the compositor has to be told of it: one of Config::told_colours
};

/// By what pictures are decoded, and why not by something better; for people but for the flags.
struct DecodePath {
    bool hardware = false;  ///< by a GPU
    bool processed = false; ///< which converts them for the compositor as well
    std::string name;
    std::string why;
};

/// One stream's decoder in a process of its own, seen from the viewer. The viewer writes access units into shared
/// memory and speaks over a socketpair; it never maps frame memory. The process is treated as compromised: a reply that
/// is not right in every detail ends it (Listener::failed()). One thread; nothing here blocks.
class DecoderProcess {
public:
    struct Config {
        std::string program; ///< path of spice-overlay-decoder
        wire::StreamOpen stream;
        /// Formats the presenter takes, best first, out of the three of FrameBuffer::fourcc. XRGB8888 is always among
        /// them.
        std::vector<std::uint32_t> fourccs;
        /// The H.273 matrix by which the compositor turns untagged YUV into RGB (always limited range), or 0 when it is
        /// told the stream's own. A YUV format is used only for pictures this is right for (unspecified counts as
        /// right); others are converted to XRGB8888 in the decoder.
        std::uint8_t yuv_matrix = 6;
        /// What the compositor takes besides, when it is told (DecodedFrame::colour).
        YuvColourSet told_colours = 0;
        /// What the decoder is to make dmabufs by, of frames in these of `fourccs`. `device` is the allocator's own, borrowed.
        Allocator allocator = Allocator::kNone;
        int device = -1;
        std::vector<std::uint32_t> dmabuf_fourccs;
        /// A GPU that may decode, by its render node (borrowed), into surfaces of these formats. Surfaces come as images only, without
        /// a memfd.
        ipc::HardwareUse hardware = ipc::HardwareUse::kNever;
        int render_node = -1;
        FormatSet surfaces;
        bool sandbox = true;  ///< false: at a person's wish, who has been warned
        FrameBudget *budget = nullptr; ///< shared with other streams, outlives them; null: none
        unsigned threads = 0; ///< 0: as many as processors, 4 at most
    };

    class Listener {
    public:
        virtual ~Listener() = default;
        /// A new slot, or new memory for a known one; comes before its first frame.
        virtual void buffer(FrameBuffer buffer) = 0;
        virtual void frame(const DecodedFrame &frame) = 0;
        /// By what frames are decoded from here on.
        virtual void path(const DecodePath &path) { static_cast<void>(path); }
        /// The process decodes from here on: since `at`, ns of CLOCK_MONOTONIC, between its start and now. Once.
        virtual void ready(std::int64_t at) { static_cast<void>(at); }
        /// So many access units, the oldest, are out of the shared memory.
        virtual void consumed(std::uint32_t units) = 0;
        /// The process is gone or had to be ended: it sent nonsense, died, or could not decode. Slots and the memory
        /// that the compositor still shows stay valid. Destroy the DecoderProcess after this (not from inside the
        /// call).
        virtual void failed(wire::Reason reason, const std::string &why) = 0;
    };

    /// Starts the process, which ends with the calling thread at the latest. `listener` outlives the object.
    static Result<std::unique_ptr<DecoderProcess>> start(const Config &config, Listener &listener);
    ~DecoderProcess(); ///< kills it; it is collected when it is gone

    /// Poll this for input and call dispatch().
    [[nodiscard]] int fd() const;
    void dispatch();

    /// Copies the unit into shared memory. False: there is no room (the sender ignored its credit). After failed()
    /// units are swallowed.
    [[nodiscard]] bool send(const wire::AccessUnit &unit);
    void release(std::uint32_t slot); ///< the compositor and the presenter are through with the frame
    void flush(std::uint32_t epoch);  ///< forget everything before; frames of older epochs are dropped in dispatch()
    /// No unit follows for now: brings out the pictures that wait for later ones (reordering, frame threads). Decoding
    /// goes on at the next key unit only.
    void drain();
    /// Ends a decoder that has units to decode, may do so, and has said nothing since a call ipc::kSilence ago
    /// (kSilenceAtStart while it has not said a thing). Returns when to call next; negative: there is nothing to wait for until the
    /// next send(). `now`: ns of CLOCK_MONOTONIC.
    /// One that has hung up and is not gone in two seconds is given up.
    [[nodiscard]] std::int64_t watch(std::int64_t now);
    [[nodiscard]] bool ending() const; ///< it has hung up and is not gone: watch() is to be called
    [[nodiscard]] int pid() const; ///< -1 after failed()

private:
    struct Private;
    explicit DecoderProcess(std::unique_ptr<Private> p);
    std::unique_ptr<Private> p_;
};

} // namespace spice_overlay
