// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace spice_overlay::tool {

/// Text of the other end, fit for a terminal and for JSON: valid UTF-8 in which line feed and tab are the only control
/// characters, U+0080 to U+009F included. A ? stands for each byte of anything else.
class PlainText {
public:
    /// `ascii`: a ? stands for each character beyond ASCII, too.
    explicit PlainText(bool ascii) : ascii_(ascii) {}

    /// What `bytes` add to the text. A character may come in parts; it is given whole.
    [[nodiscard]] std::string take(std::span<const std::uint8_t> bytes);

private:
    bool ascii_;
    std::string begun_;       ///< of a character
    std::size_t missing_ = 0; ///< bytes of it
};

} // namespace spice_overlay::tool
