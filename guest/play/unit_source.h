// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/access_unit.h"
#include "portclient/wire/messages.h"

#include <cstdint>
#include <optional>
#include <string>

namespace spice_overlay::guest {

/// Where a track's access units come from. One thread. Times are nanoseconds of media time.
class UnitSource {
public:
    virtual ~UnitSource() = default;

    /// What STREAM_OPEN says, but for the stream's number.
    [[nodiscard]] virtual const wire::StreamOpen &description() const = 0;

    /// The next access unit in decoding order; nothing at the end.
    [[nodiscard]] virtual std::optional<Unit> next() = 0;

    /// Makes next() continue at the last key unit to be shown at or before `position`, or at the first key unit there
    /// is. False when the source cannot seek or has no key unit; next() then continues anywhere.
    [[nodiscard]] virtual bool seek(std::int64_t position) = 0;

    /// When the first key unit after `position` would be sent, where an index tells.
    [[nodiscard]] virtual std::optional<std::int64_t> next_key_after(std::int64_t position) const = 0;

    /// Of the whole file; 0 when unknown.
    [[nodiscard]] virtual std::int64_t duration() const = 0;

    /// After next() gave nothing: what a person should know about how the file ended ("is cut off ..."), or "".
    [[nodiscard]] virtual std::string complaint() const = 0;
};

} // namespace spice_overlay::guest
