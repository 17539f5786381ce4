// SPDX-License-Identifier: LGPL-2.1-or-later
#include "format_set.h"

#include <unistd.h>

#include <algorithm>
#include <string>

namespace spice_overlay {

namespace {

/// As the protocol lays it out; the padding is the protocol's.
struct TableEntry {
    std::uint32_t fourcc;
    std::uint32_t padding;
    std::uint64_t modifier;
};
static_assert(sizeof(TableEntry) == 16);

constexpr std::uint32_t kMaxTable = 65536 * sizeof(TableEntry); ///< bytes: indices have 16 bits

} // namespace

void FormatSet::add(std::uint32_t fourcc, std::uint64_t modifier)
{
    if (!contains(fourcc, modifier))
        entries_.emplace_back(fourcc, modifier);
}

void FormatSet::add(const FormatSet &other)
{
    for (const auto &[fourcc, modifier] : other.entries_)
        add(fourcc, modifier);
}

bool FormatSet::contains(std::uint32_t fourcc, std::uint64_t modifier) const
{
    return std::find(entries_.begin(), entries_.end(), Entry{fourcc, modifier}) != entries_.end();
}

Result<FormatTable> FormatTable::read(int fd, std::uint32_t size)
{
    FormatTable table;
    if (size == 0)
        return table;
    if (size > kMaxTable || size % sizeof(TableEntry) != 0)
        return Error{"format table of " + std::to_string(size) + " bytes"};
    std::vector<TableEntry> entries(size / sizeof(TableEntry));
    if (::pread(fd, entries.data(), size, 0) != static_cast<ssize_t>(size))
        return Error{"format table shorter than announced"};
    for (const TableEntry &entry : entries)
        table.entries_.emplace_back(entry.fourcc, entry.modifier);
    return table;
}

Result<FormatSet> FormatTable::pick(std::span<const std::uint16_t> indices) const
{
    FormatSet set;
    for (const std::uint16_t index : indices) {
        if (index >= entries_.size())
            return Error{"format " + std::to_string(index) + " of a table of " + std::to_string(entries_.size())};
        set.add(entries_[index].first, entries_[index].second);
    }
    return set;
}

} // namespace spice_overlay
