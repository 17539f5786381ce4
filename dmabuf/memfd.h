// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace spice_overlay {

/// `bytes` rounded up to whole pages.
[[nodiscard]] std::size_t whole_pages(std::size_t bytes);

/// When the pages of shared memory come. At once: then lack of memory is an error, and not a SIGBUS of whoever touches it.
enum class Pages { kWhenTouched, kAtOnce };

/// Shared memory of exactly `size` zero bytes (whole pages), named in /proc/PID/maps, sealed so that nobody can make it
/// larger or smaller or change the seals; writable. Close-on-exec.
[[nodiscard]] Result<UniqueFd> make_sealed_memfd(const char *name, std::size_t size, Pages pages = Pages::kWhenTouched);

/// Whether a descriptor from another process is what make_sealed_memfd() makes: memory of exactly `size` bytes that a
/// compositor may map for reading and writing, and that can no longer change its size or become unmappable.
[[nodiscard]] Status check_sealed_memfd(int fd, std::size_t size);

/// Owns a shared mapping of a whole descriptor.
class Mapping {
public:
    enum class Access { kRead, kReadWrite };

    Mapping() = default;
    static Result<Mapping> map(int fd, std::size_t size, Access access);
    Mapping(Mapping &&other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0))
    {
    }
    Mapping &operator=(Mapping &&other) noexcept
    {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Mapping();

    [[nodiscard]] std::uint8_t *data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace spice_overlay
