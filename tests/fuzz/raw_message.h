// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "input.h"
#include "portclient/wire/messages.h"

#include <array>

namespace spice_overlay::fuzz {

inline constexpr std::array kTypes = {
    wire::Type::kHello,      wire::Type::kPing,         wire::Type::kPong,         wire::Type::kStreamClose,
    wire::Type::kStreamOpen, wire::Type::kAccessUnit,   wire::Type::kGeometry,     wire::Type::kAccessUnitChunk,
    wire::Type::kPlayState,  wire::Type::kStreamAccept, wire::Type::kStreamReject, wire::Type::kCredit,
    wire::Type::kFeedback,   wire::Type::kNeedKey,      wire::Type::kClientState,  wire::Type::kStreamState};
inline constexpr std::uint8_t kFlagsThatMeanMuch = 31;

/// One of them, or a number that has none yet.
inline std::uint8_t type(Input &in)
{
    const std::uint8_t choice = in.byte();
    return choice < 0xf0 ? static_cast<std::uint8_t>(kTypes[choice % kTypes.size()]) : choice;
}

/// Appends `body` behind a header that fits it.
inline void append_message(std::uint8_t type, std::uint8_t flags, std::span<const std::uint8_t> body, Bytes &out)
{
    const std::size_t size = wire::kHeaderSize + body.size();
    out.reserve(out.size() + size); // in one piece: a sanitizer sees what is beyond
    out.insert(out.end(), {static_cast<std::uint8_t>(size), static_cast<std::uint8_t>(size >> 8), type, flags});
    out.insert(out.end(), body.begin(), body.end());
}

} // namespace spice_overlay::fuzz
