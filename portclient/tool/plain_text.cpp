// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plain_text.h"

namespace spice_overlay::tool {

namespace {

/// Of a character's second byte (Unicode, table 3-7). What lies outside is longer than it need be, half of a pair, beyond
/// U+10FFFF, or a control character.
bool may_follow(std::uint8_t first, std::uint8_t byte)
{
    int least = first == 0xe0 || first == 0xc2 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    int most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return byte >= least && byte <= most;
}

} // namespace

std::string PlainText::take(std::span<const std::uint8_t> bytes)
{
    std::string text;
    for (std::uint8_t byte : bytes) {
        if (missing_ > 0) {
            bool second = begun_.size() == 1;
            if (second ? may_follow(static_cast<std::uint8_t>(begun_[0]), byte) : (byte & 0xc0) == 0x80) {
                begun_ += static_cast<char>(byte);
                if (--missing_ == 0)
                    text += ascii_ ? "?" : begun_;
                continue;
            }
            text.append(begun_.size(), '?');
            missing_ = 0;
        }
        if (byte >= 0xc2 && byte <= 0xf4) {
            begun_ = static_cast<char>(byte);
            missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        } else {
            bool plain = (byte >= 0x20 && byte < 0x7f) || byte == '\n' || byte == '\t';
            text += plain ? static_cast<char>(byte) : '?';
        }
    }
    return text;
}

} // namespace spice_overlay::tool
