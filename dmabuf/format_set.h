// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "formats.h"
#include "portclient/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace spice_overlay {

/// Which formats with which modifiers somebody takes. Keeps the order in which they were added, each once.
class FormatSet {
public:
    using Entry = std::pair<std::uint32_t, std::uint64_t>; ///< fourcc, modifier

    void add(std::uint32_t fourcc, std::uint64_t modifier);
    void add(const FormatSet &other);
    [[nodiscard]] bool contains(std::uint32_t fourcc, std::uint64_t modifier) const;
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] const std::vector<Entry> &entries() const { return entries_; }

private:
    std::vector<Entry> entries_;
};

/// The table that linux-dmabuf feedback names its formats from: entries of 16 bytes in memory that the compositor shares.
/// It is read once, when it comes, and indexed from then on; the descriptor is borrowed.
class FormatTable {
public:
    [[nodiscard]] static Result<FormatTable> read(int fd, std::uint32_t size);

    /// The entries of these indices. An index beyond the table is an error.
    [[nodiscard]] Result<FormatSet> pick(std::span<const std::uint16_t> indices) const;

private:
    std::vector<FormatSet::Entry> entries_;
};

/// What a compositor says it takes as dmabufs, whole: by the events of linux-dmabuf version 3, or the feedback of 4 and later.
struct DmabufFeedback {
    struct Tranche {
        dev_t device = 0;
        bool scanout = false; ///< may be shown without being drawn
        FormatSet formats;
    };
    bool has_device = false; ///< only feedback names devices
    dev_t main_device = 0;
    std::vector<Tranche> tranches; ///< best first
    FormatSet formats;             ///< of all tranches
};

} // namespace spice_overlay
