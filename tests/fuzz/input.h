// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

/// What every target defines. Returns 0; whatever is wrong ends the process.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size);

namespace spice_overlay::fuzz {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::int64_t kMs = 1'000'000; ///< ns

/// The fuzzer's bytes as a row of choices. When they are used up every choice is 0.
class Input {
public:
    Input(const std::uint8_t *data, std::size_t size) : left_(data, size) {}

    [[nodiscard]] bool empty() const { return left_.empty(); }
    [[gnu::always_inline]] std::uint8_t byte()
    {
        if (left_.empty())
            return 0;
        const std::uint8_t value = *left_.data();
        left_ = {left_.data() + 1, left_.size() - 1};
        return value;
    }
    template <typename T>
    T number()
    {
        T value = 0;
        const std::size_t size = std::min(sizeof value, left_.size());
        if (size > 0)
            std::memcpy(&value, left_.data(), size);
        left_ = left_.subspan(size);
        return value;
    }
    /// One in `n`, n at most 256.
    bool rarely(unsigned n) { return byte() % n == n - 1; }
    /// low ... high, both included, at most 65536 numbers.
    int range(int low, int high)
    {
        const unsigned span = static_cast<unsigned>(high - low) + 1;
        return low + static_cast<int>((span <= 256 ? byte() : number<std::uint16_t>()) % span);
    }
    template <typename T>
    T pick(std::initializer_list<T> choices)
    {
        return choices.begin()[byte() % choices.size()];
    }
    Bytes bytes(std::size_t most)
    {
        const auto some = borrow(most);
        return {some.begin(), some.end()};
    }
    /// The same, where they lie.
    std::span<const std::uint8_t> borrow(std::size_t most)
    {
        const auto some = left_.first(std::min(most, left_.size()));
        left_ = left_.subspan(some.size());
        return some;
    }
    std::span<const std::uint8_t> rest() { return borrow(left_.size()); }

private:
    std::span<const std::uint8_t> left_;
};

/// A promise that the code under test has to keep. Not assert(): it holds in every build.
inline void require(bool kept, const char *promise)
{
    if (kept)
        return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// Whoever is handed memory may read all of it: the sanitizer looks at what memcmp() is asked for, at little cost.
inline void look_at(std::span<const std::uint8_t> bytes)
{
    static const Bytes other(std::size_t{1} << 16);
    [[maybe_unused]] static volatile int seen;
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), other.size())))
        seen = std::memcmp(bytes.data(), other.data(), std::min(bytes.size(), other.size()));
}

/// A descriptor that is free, as long as nothing is left open: whoever opens one gets it. The fuzzer itself keeps some at times (to name
/// functions), but not while a target runs. One system call.
inline int free_descriptor()
{
    static int lowest = STDIN_FILENO;
    if (::fcntl(lowest, F_GETFD) >= 0) {
        lowest = ::dup(STDIN_FILENO);
        require(lowest >= 0, "standard input is open");
        ::close(lowest);
    }
    return lowest;
}

} // namespace spice_overlay::fuzz
