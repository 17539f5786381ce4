// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/image.h"
#include "portclient/base/unique_fd.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace spice_overlay {

/// Frame memory of one slot, validated whole before anybody sees it: as a sealed memfd that holds all planes, as an image in
/// dmabufs, or as both, which are then the same memory. Owned by whoever it is handed to.
struct FrameBuffer {
    std::uint32_t slot = 0;
    std::uint32_t fourcc =
        0; ///< DRM_FORMAT_YUV420 ("YU12"), DRM_FORMAT_NV12 or DRM_FORMAT_XRGB8888; of surfaces, what was asked for
    std::uint32_t width = 0;  ///< buffer pixels, allocated (not cropped)
    std::uint32_t height = 0;

    /// The memfd, with F_SEAL_SHRINK; invalid: there is none. Its planes follow each other as wl_shm wants them: one luma stride,
    /// chroma derived from it.
    UniqueFd fd;
    std::size_t size = 0; ///< bytes of the memfd
    struct Plane {
        std::uint32_t offset = 0; ///< bytes
        std::uint32_t stride = 0; ///< bytes
    };
    std::array<Plane, 3> planes{};

    std::optional<Image> image;
};

} // namespace spice_overlay
