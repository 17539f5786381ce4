// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace spice_overlay {

/// Memory of a display device, made by it without a driver in user space ("dumb buffers"). The kernel's interface is as in its
/// drm.h and drm_mode.h, which not everybody who builds this has.
namespace drm {

struct CreateDumb {
    std::uint32_t height = 0;
    std::uint32_t width = 0;
    std::uint32_t bits_a_pixel = 0;
    std::uint32_t flags = 0;
    std::uint32_t handle = 0;
    std::uint32_t pitch = 0;
    std::uint64_t size = 0;
};
struct DestroyDumb {
    std::uint32_t handle = 0;
};
struct PrimeHandle {
    std::uint32_t handle = 0;
    std::uint32_t flags = 0;
    std::int32_t fd = -1;
};
struct MapDumb {
    std::uint32_t handle = 0;
    std::uint32_t pad = 0;
    std::uint64_t offset = 0;
};

inline constexpr unsigned long kDropMaster = _IO('d', 0x1f);
inline constexpr unsigned long kHandleToFd = _IOWR('d', 0x2d, PrimeHandle);
inline constexpr unsigned long kCreateDumb = _IOWR('d', 0xb2, CreateDumb);
inline constexpr unsigned long kMapDumb = _IOWR('d', 0xb3, MapDumb);
inline constexpr unsigned long kDestroyDumb = _IOWR('d', 0xb4, DestroyDumb);

} // namespace drm

/// Opens a display's primary node ("/dev/dri/card0") to make memory by it, and for nothing else: whoever opens one that nobody is the
/// master of becomes it, and a compositor that comes back from another terminal would find its place taken. Errors are errno's.
[[nodiscard]] UniqueFd open_display(const char *path);

/// A dmabuf of at least `size` bytes, laid out for rows of `stride` bytes (a multiple of 4): displays show what they have made for that
/// many and no other. Fails where the device wants rows of another length.
[[nodiscard]] Result<UniqueFd> make_dumb_buffer(int device, std::size_t size, std::size_t stride);

} // namespace spice_overlay
