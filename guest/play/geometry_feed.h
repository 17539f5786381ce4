// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/wire/messages.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace spice_overlay::guest {

/// One line of the geometry socket: what the guest's window system says about the file `index` (from 1) of the
/// command line.
struct FeedGeometry {
    std::size_t index = 0;
    wire::Geometry geometry; ///< stream and serial are not set
};
struct FeedOpen {
    std::size_t index = 0;
};
struct FeedClose {
    std::size_t index = 0;
};
struct FeedPause {
    std::size_t index = 0;
};
struct FeedResume {
    std::size_t index = 0;
};
struct FeedSeek {
    std::size_t index = 0;
    std::int64_t position = 0; ///< ns of media time
};
using FeedEvent = std::variant<FeedGeometry, FeedOpen, FeedClose, FeedPause, FeedResume, FeedSeek>;

/// Reads one line, without its end. `files`: how many there are; an index beyond that is an error.
[[nodiscard]] Result<FeedEvent> parse_feed_line(std::string_view line, std::size_t files);

/// "X,Y,W,H" in guest pixels.
[[nodiscard]] Result<wire::Rect> parse_rect(std::string_view text);

/// Cuts a byte stream into lines. A line of more than kLongestLine bytes is left out and counted.
class LineReader {
public:
    static constexpr std::size_t kLongestLine = 16384;

    template <typename Sink>
    void feed(std::span<const char> bytes, Sink &&sink)
    {
        for (char c : bytes) {
            if (c != '\n') {
                if (line_.size() < kLongestLine)
                    line_.push_back(c);
                else
                    too_long_ = true;
                continue;
            }
            if (too_long_)
                left_out_++;
            else
                sink(std::string_view(line_));
            line_.clear();
            too_long_ = false;
        }
    }

    [[nodiscard]] std::size_t left_out() const { return left_out_; }

private:
    std::string line_;
    bool too_long_ = false;
    std::size_t left_out_ = 0;
};

} // namespace spice_overlay::guest
