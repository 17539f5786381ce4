// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/messages.h"

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace spice_overlay::guest {

/// What goes into the port next, message by message: control messages in their order, and only when there is none,
/// data. A message that has begun is finished before another one begins. No input or output of its own.
class Outbox {
public:
    /// Queues a control message. A newer HELLO, or geometry or play state of the same stream, takes the place of the older
    /// one that has not begun. STREAM_CLOSE takes the place of all that has not begun of its stream, and goes only when
    /// STREAM_OPEN was not among that.
    void control(const wire::Message &message);

    /// What is to be written next, borrowed until the next call; empty when there is nothing. `more(out)` fills `out`
    /// with the next data message or returns false.
    template <typename More>
    [[nodiscard]] std::span<const std::uint8_t> front(More &&more)
    {
        if (written_ == current_.size()) {
            current_.clear();
            written_ = 0;
            if (!take_control() && !more(current_))
                current_.clear();
        }
        return std::span<const std::uint8_t>(current_).subspan(written_);
    }

    void wrote(std::size_t bytes) { written_ += bytes; }

    /// Forgets what has not begun: the conversation begins anew on the same port.
    void forget();
    /// The same of one stream alone, which the other side has ended.
    void forget(std::uint32_t stream);

    /// Forgets everything: the port is gone, with half a message perhaps.
    void clear();

    [[nodiscard]] bool has_control() const { return !control_.empty(); }
    [[nodiscard]] std::size_t control_bytes() const { return control_bytes_; } ///< that have not begun

private:
    bool take_control();

    struct Entry {
        std::size_t kind;     ///< index in wire::Message
        std::uint32_t stream; ///< 0: of none
        std::vector<std::uint8_t> bytes;
    };
    [[nodiscard]] std::deque<Entry>::iterator find(std::size_t kind, std::uint32_t stream);

    std::deque<Entry> control_;
    std::size_t control_bytes_ = 0;
    std::vector<std::uint8_t> current_;
    std::size_t written_ = 0;
};

/// What all streams of one conversation share on their way out.
struct Outgoing {
    Outbox outbox;
    bool established = false;
    std::uint32_t last_stream = 0; ///< stream numbers are never used again in the life of the program
};

} // namespace spice_overlay::guest
