// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cassert>
#include <concepts>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace spice_overlay::wire {

/// Unsigned integer of at most five groups of seven bits, lowest first, bit 7 set on all but the last (LEB128).
template <std::unsigned_integral T>
struct Varint {
    T &value;
};
template <typename T>
Varint(T &) -> Varint<T>; // for clang before 17, which deduces none for aggregates

/// Reads little-endian fields. A read beyond the end yields zeroes and sets a flag that stays: ask failed() at the end.
class Reader {
public:
    static constexpr bool kReading = true;

    explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] std::size_t left() const { return rest_.size(); }

    template <typename... T>
    void operator()(T &&...fields)
    {
        (field(fields), ...);
    }

    /// The next `size` bytes, borrowed; empty when there are not so many.
    std::span<const std::uint8_t> bytes(std::size_t size)
    {
        if (size > rest_.size()) {
            failed_ = true;
            rest_ = {};
            return {};
        }
        auto taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }

private:
    template <typename T>
        requires std::integral<T> || std::is_enum_v<T>
    void field(T &value)
    {
        std::uint64_t bits = 0;
        unsigned shift = 0;
        for (std::uint8_t byte : bytes(sizeof(T))) {
            bits |= std::uint64_t{byte} << shift;
            shift += 8;
        }
        value = static_cast<T>(bits);
    }

    template <typename T>
    void field(Varint<T> varint)
    {
        std::uint64_t bits = 0;
        for (unsigned shift = 0;; shift += 7) {
            std::uint8_t byte = 0;
            field(byte);
            bits |= std::uint64_t{byte & 0x7fu} << shift;
            // The last group has to fit, and a group of zero bits at the end would be a second spelling of one value.
            bool last = !(byte & 0x80);
            bool too_long = shift + 7 >= 8 * sizeof(T) && (!last || byte >> (8 * sizeof(T) - shift) != 0);
            if (too_long || (last && byte == 0 && shift > 0))
                failed_ = true;
            if (last || too_long)
                break;
        }
        varint.value = static_cast<T>(bits);
    }

    std::span<const std::uint8_t> rest_;
    bool failed_ = false;
};

/// Appends little-endian fields to a vector.
class Writer {
public:
    static constexpr bool kReading = false;

    explicit Writer(std::vector<std::uint8_t> &out) : out_(out) {}

    template <typename... T>
    void operator()(T &&...fields)
    {
        (field(fields), ...);
    }

    void bytes(std::span<const std::uint8_t> data) { out_.insert(out_.end(), data.begin(), data.end()); }

private:
    template <typename T>
        requires std::integral<T> || std::is_enum_v<T>
    void field(T value)
    {
        auto bits = static_cast<std::uint64_t>(value);
        std::array<std::uint8_t, sizeof(T)> low_first;
        for (std::uint8_t &byte : low_first) {
            byte = static_cast<std::uint8_t>(bits);
            bits >>= 8;
        }
        bytes(low_first);
    }

    template <typename T>
    void field(Varint<T> varint)
    {
        std::uint64_t bits = varint.value;
        for (; bits >= 0x80; bits >>= 7)
            out_.push_back(static_cast<std::uint8_t>(bits | 0x80));
        out_.push_back(static_cast<std::uint8_t>(bits));
    }

    std::vector<std::uint8_t> &out_;
};

} // namespace spice_overlay::wire
