// SPDX-License-Identifier: LGPL-2.1-or-later
#include "image.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>

namespace spice_overlay {

namespace {

constexpr FormatInfo::Plane kRgb{4, 0, 0};
constexpr FormatInfo kFormats[] = {
    {kFourccXrgb8888, 1, {{kRgb}}},
    {kFourccArgb8888, 1, {{kRgb}}},
    {kFourccXbgr8888, 1, {{kRgb}}},
    {kFourccYuyv, 1, {{{4, 1, 0}}}},
    {kFourccNv12, 2, {{{1, 0, 0}, {2, 1, 1}}}},
    {kFourccP010, 2, {{{2, 0, 0}, {4, 1, 1}}}},
    {kFourccYu12, 3, {{{1, 0, 0}, {1, 1, 1}, {1, 1, 1}}}},
};

constexpr std::uint32_t kMaxStride = 8 * kMaxBufferSide; ///< bytes

/// `value` pixels or lines in steps of 1 << shift, rounded up. No overflow: sizes are bounded before.
constexpr std::uint64_t steps(std::uint32_t value, std::uint8_t shift)
{
    return (std::uint64_t{value} + (1u << shift) - 1) >> shift;
}

std::string name(unsigned plane)
{
    return "plane " + std::to_string(plane);
}

/// One plane whose lines follow each other. 64 bits hold every sum and product: strides and heights are bounded, offsets have 32.
Status check_linear(const ImageDescription &d, unsigned i, const FormatInfo::Plane &format, std::uint64_t size)
{
    const ImageDescription::Plane &plane = d.planes[i];
    const std::uint64_t line = steps(d.width, format.x_shift) * format.bytes;
    const std::uint64_t lines = steps(d.height, format.y_shift);
    if (plane.stride < line)
        return Error{name(i) + " has a stride of " + std::to_string(plane.stride) + " bytes for lines of "
                     + std::to_string(line)};
    if (plane.stride % format.bytes != 0 || plane.offset % format.bytes != 0)
        return Error{name(i) + " does not begin each line with a whole sample"};
    // Whole lines, the last one too: what imports the memory counts them so.
    if (plane.offset + plane.stride * lines > size)
        return Error{name(i) + " ends outside its memory of " + std::to_string(size) + " bytes"};
    return Success{};
}

} // namespace

const FormatInfo *format_info(std::uint32_t fourcc)
{
    const auto found =
        std::find_if(std::begin(kFormats), std::end(kFormats), [&](const FormatInfo &f) { return f.fourcc == fourcc; });
    return found == std::end(kFormats) ? nullptr : found;
}

Result<std::uint64_t> dmabuf_size(int fd, Image::Backing backing)
{
    struct statfs filesystem = {};
    if (::fstatfs(fd, &filesystem) != 0)
        return Error{std::string("descriptor cannot be looked at: ") + std::strerror(errno)};
    if (backing == Image::Backing::kDmabuf && filesystem.f_type != DMA_BUF_MAGIC)
        return Error{"descriptor is not a dmabuf"};
    const off_t size = ::lseek(fd, 0, SEEK_END);
    if (size <= 0 || size > (off_t{1} << 40)) // more than any memory; sums of four stay small
        return Error{"descriptor does not tell its size"};
    return static_cast<std::uint64_t>(size);
}

Result<Image> Image::make(const ImageDescription &d, std::vector<UniqueFd> objects, Backing backing)
{
    const FormatInfo *format = format_info(d.fourcc);
    if (!format)
        return Error{"image of an unknown format"};
    if (d.width == 0 || d.height == 0 || d.width > kMaxBufferSide || d.height > kMaxBufferSide)
        return Error{"image of an impossible size"};
    const bool linear = d.modifier == kModifierLinear || d.modifier == kModifierInvalid;
    if (d.plane_count < format->plane_count || d.plane_count > (linear ? format->plane_count : kMaxPlanes))
        return Error{"image of " + std::to_string(d.plane_count) + " planes where its format has "
                     + std::to_string(format->plane_count)};
    if (objects.empty() || objects.size() > kMaxPlanes)
        return Error{"image in " + std::to_string(objects.size()) + " descriptors"};

    std::array<std::uint64_t, kMaxPlanes> sizes{};
    for (std::size_t i = 0; i < objects.size(); ++i) {
        auto size = dmabuf_size(objects[i].get(), backing);
        if (!size)
            return size.error();
        sizes[i] = *size;
    }
    std::array<bool, kMaxPlanes> used{};
    for (unsigned i = 0; i < d.plane_count; ++i) {
        const ImageDescription::Plane &plane = d.planes[i];
        if (plane.object >= objects.size())
            return Error{name(i) + " lies in a descriptor that is not there"};
        used[plane.object] = true;
        if (plane.stride == 0 || plane.stride > kMaxStride)
            return Error{name(i) + " has an impossible stride"};
        if (plane.offset >= sizes[plane.object])
            return Error{name(i) + " begins outside its memory"};
        // What a compositor holds any image to, and ends its client for.
        if (plane.offset + std::uint64_t{plane.stride} * (i == 0 ? d.height : 1) > sizes[plane.object])
            return Error{name(i) + " ends outside its memory of " + std::to_string(sizes[plane.object]) + " bytes"};
        if (!linear)
            continue;
        if (Status status = check_linear(d, i, format->planes[i], sizes[plane.object]); !status)
            return status.error();
    }
    if (static_cast<std::size_t>(std::count(used.begin(), used.end(), true)) != objects.size())
        return Error{"image with a descriptor that no plane lies in"};
    return Image(d, std::move(objects), std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0}));
}

Image::Plane Image::plane(unsigned index) const
{
    const ImageDescription::Plane &plane = description_.planes.at(index);
    return {objects_[plane.object].get(), plane.offset, plane.stride};
}

} // namespace spice_overlay
