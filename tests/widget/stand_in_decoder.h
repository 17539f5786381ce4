// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "model_compositor.h"
#include "portclient/base/unique_fd.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

namespace spice_overlay {

/// A decoder process that is none: the other end of the viewer's DecoderProcess, in the test's own thread. A unit's data is the tag of its
/// frame. It decodes when it is told to, and takes its time to hear that it should no more.
class StandInDecoder {
public:
    StandInDecoder(int socket, int units) : socket_(socket), units_(units) {}

    void hear(); ///< takes what the viewer has said
    /// Decodes the oldest unit that waits, whatever its epoch; false: there is none, or no slot is free.
    bool decode();
    void die() { socket_.reset(); }
    void say_nonsense();
    [[nodiscard]] bool has_units() const { return !waiting_.empty(); }

private:
    struct Unit {
        FrameTag tag;
        std::uint32_t epoch = 0;
        std::int64_t pts = 0;
    };
    template <typename Message>
    void send(const Message &message, int fd = -1);

    UniqueFd socket_;
    UniqueFd units_;
    std::deque<Unit> waiting_;
    std::map<std::uint32_t, UniqueFd> slots_;
    std::uint64_t held_ = 0; ///< bit for each slot
};

/// Those that have been started and not been ended, oldest first.
std::vector<std::shared_ptr<StandInDecoder>> live_decoders();

} // namespace spice_overlay
