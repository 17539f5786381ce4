// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "formats.h"
#include "portclient/base/result.h"
#include "portclient/base/unique_fd.h"

#include <array>
#include <cstdint>
#include <vector>

namespace spice_overlay {

inline constexpr unsigned kMaxPlanes = 4;

/// How the pixels of a DRM format lie in its planes, when they lie line by line.
struct FormatInfo {
    struct Plane {
        std::uint8_t bytes = 0;   ///< of one sample
        std::uint8_t x_shift = 0; ///< one sample for 1 << x_shift pixels of a line
        std::uint8_t y_shift = 0; ///< one line for 1 << y_shift lines of the picture
    };
    std::uint32_t fourcc = 0;
    unsigned plane_count = 0;
    std::array<Plane, 3> planes{};
};

/// Null for a format that nothing here handles.
[[nodiscard]] const FormatInfo *format_info(std::uint32_t fourcc);

/// What somebody says of an image: nothing in it has been checked.
struct ImageDescription {
    struct Plane {
        std::uint32_t object = 0; ///< index of the descriptor it lies in
        std::uint32_t offset = 0; ///< bytes
        std::uint32_t stride = 0; ///< bytes
        bool operator==(const Plane &) const = default;
    };
    std::uint32_t fourcc = 0;
    std::uint32_t width = 0; ///< pixels
    std::uint32_t height = 0;
    std::uint64_t modifier = kModifierInvalid;
    std::uint32_t plane_count = 0;
    std::array<Plane, kMaxPlanes> planes{};
};

/// A picture in dmabufs, as a compositor or a GPU takes it. Whoever has one knows that all of it has been checked against the
/// descriptors themselves; it never changes afterwards. Owns the descriptors.
class Image {
public:
    /// What the descriptors must be.
    enum class Backing {
        kDmabuf,
        kStandIn, ///< any memory: tests, on kernels that make no dmabufs
    };

    /// Takes what another process says and checks it whole. With a linear (or implicit) layout the format has as many planes as it
    /// has, each holds its lines, and its last one ends within its descriptor. Other modifiers have planes of their own making, from
    /// as many as the format has to four: of them only what a compositor asks for is checked (the first plane's lines, and one line of
    /// each other, within their descriptors); the rest is for the driver.
    [[nodiscard]] static Result<Image> make(const ImageDescription &description, std::vector<UniqueFd> objects,
                                            Backing backing = Backing::kDmabuf);

    [[nodiscard]] std::uint32_t fourcc() const { return description_.fourcc; }
    [[nodiscard]] std::uint64_t modifier() const { return description_.modifier; }
    [[nodiscard]] std::uint32_t width() const { return description_.width; } ///< pixels
    [[nodiscard]] std::uint32_t height() const { return description_.height; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; } ///< of all its descriptors
    [[nodiscard]] unsigned plane_count() const { return description_.plane_count; }
    struct Plane {
        int fd = -1; ///< borrowed; planes may share one
        std::uint32_t offset = 0;
        std::uint32_t stride = 0;
    };
    [[nodiscard]] Plane plane(unsigned index) const; ///< index below plane_count()
    [[nodiscard]] const ImageDescription &description() const { return description_; }
    [[nodiscard]] const std::vector<UniqueFd> &objects() const { return objects_; }

private:
    Image(const ImageDescription &description, std::vector<UniqueFd> objects, std::uint64_t bytes)
        : description_(description), objects_(std::move(objects)), bytes_(bytes)
    {
    }

    ImageDescription description_;
    std::vector<UniqueFd> objects_;
    std::uint64_t bytes_;
};

/// The real size of the dmabuf behind a descriptor from another process, in bytes.
[[nodiscard]] Result<std::uint64_t> dmabuf_size(int fd, Image::Backing backing);

} // namespace spice_overlay
