// SPDX-License-Identifier: LGPL-2.1-or-later
// Images, layouts and format tables as another process describes them.
#include "dmabuf/image.h"
#include "dmabuf/format_set.h"
#include "input.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace spice_overlay::fuzz {
namespace {

constexpr std::array<std::uint64_t, 4> kSizes = {0, 4096, 1u << 20, std::uint64_t{1} << 33};

/// Memory of each size, for good: it is never touched.
int memory(std::size_t which)
{
    static const std::array<int, kSizes.size()> fds = [] {
        std::array<int, kSizes.size()> made{};
        for (std::size_t i = 0; i < made.size(); ++i) {
            made[i] = ::memfd_create("fuzz", MFD_CLOEXEC);
            require(made[i] >= 0 && ::ftruncate(made[i], static_cast<off_t>(kSizes[i])) == 0, "memory can be had");
        }
        return made;
    }();
    return fds[which];
}

/// Memory of a table: it stays as large as it is, and its content is written in place.
struct TableMemory {
    int fd = -1;
    std::span<std::uint8_t> content;
};

const TableMemory &table_memory(std::size_t which)
{
    static const std::array<TableMemory, 4> tables = [] {
        constexpr std::size_t kTables[] = {8, 16, 40, 64}; // bytes
        std::array<TableMemory, std::size(kTables)> made;
        for (std::size_t i = 0; i < made.size(); ++i) {
            made[i].fd = ::memfd_create("fuzz", MFD_CLOEXEC);
            require(::ftruncate(made[i].fd, kTables[i]) == 0, "memory can be had");
            void *const mapped = ::mmap(nullptr, kTables[i], PROT_READ | PROT_WRITE, MAP_SHARED, made[i].fd, 0);
            require(mapped != MAP_FAILED, "memory can be seen");
            made[i].content = {static_cast<std::uint8_t *>(mapped), kTables[i]};
        }
        return made;
    }();
    return tables[which];
}

std::uint32_t length(Input &in)
{
    switch (in.byte() % 4) {
    case 0:
        return in.byte();
    case 1:
        return in.pick<std::uint32_t>({64, 640, 1920, kMaxBufferSide, kMaxBufferSide + 1, 4096, 2560, 7680});
    case 2:
        return in.number<std::uint16_t>();
    default:
        return in.number<std::uint32_t>();
    }
}

std::uint32_t fourcc(Input &in)
{
    return in.pick({kFourccXrgb8888, kFourccNv12, kFourccYu12, kFourccP010, kFourccYuyv, kFourccArgb8888,
                    kFourccXbgr8888, fourcc_code('R', 'G', '1', '6')});
}

void image(Input &in)
{
    ImageDescription d{fourcc(in),     length(in),
                       length(in),     in.pick<std::uint64_t>({kModifierLinear, kModifierInvalid, 1}),
                       in.byte() % 6u, {}};
    for (ImageDescription::Plane &plane : d.planes)
        plane = {in.byte() % 5u, in.rarely(4) ? length(in) : in.pick<std::uint32_t>({0, 64, 4096}), length(in)};
    std::vector<UniqueFd> objects;
    std::array<std::uint64_t, 6> sizes{};
    const unsigned count = in.byte() % 6u;
    objects.reserve(count);
    for (unsigned i = 0; i < count; ++i) {
        const std::size_t which = in.byte() % kSizes.size();
        objects.emplace_back(::dup(memory(which)));
        sizes[i] = kSizes[which];
    }
    require(!Image::make(d, {}, Image::Backing::kStandIn), "an image has memory");
    const auto result =
        Image::make(d, std::move(objects), in.rarely(16) ? Image::Backing::kDmabuf : Image::Backing::kStandIn);
    if (!result)
        return;
    const Image *made = &result.value();
    const FormatInfo *format = format_info(d.fourcc);
    require(format != nullptr, "only known formats");
    require(made->width() > 0 && made->height() > 0 && made->width() <= kMaxBufferSide
                && made->height() <= kMaxBufferSide,
            "an image has a possible size");
    require(made->plane_count() >= format->plane_count && made->plane_count() <= kMaxPlanes, "all planes are there");
    const bool linear = made->modifier() == kModifierLinear || made->modifier() == kModifierInvalid;
    for (unsigned i = 0; i < made->plane_count(); ++i) {
        const Image::Plane plane = made->plane(i);
        require(plane.fd >= 0, "a plane has memory");
        require(d.planes[i].object < count, "a plane lies in memory that came");
        const std::uint64_t size = sizes[d.planes[i].object];
        require(plane.offset + std::uint64_t{plane.stride} <= size, "a line of each plane lies in its memory");
        if (!linear)
            continue;
        const auto &f = format->planes[i];
        // Its last sample, counted otherwise than by the check.
        const std::uint64_t columns = (made->width() + (1u << f.x_shift) - 1) / (1u << f.x_shift);
        const std::uint64_t rows = (made->height() + (1u << f.y_shift) - 1) / (1u << f.y_shift);
        require(plane.offset + (rows - 1) * plane.stride + columns * f.bytes <= size, "no sample outside its memory");
        require(plane.offset + rows * plane.stride <= size, "nor what follows the last line");
        require(columns * f.bytes <= plane.stride, "lines do not overlap");
    }
}

void layout(Input &in)
{
    const std::uint32_t width = length(in);
    const std::uint32_t height = length(in);
    const std::uint32_t stride = length(in);
    const auto made = shm_layout(fourcc(in), width, height, stride);
    if (!made)
        return;
    require(made->bytes > 0 && made->bytes <= kMaxBufferBytes, "a layout has a possible size");
    for (unsigned i = 0; i < made->plane_count; ++i) {
        const std::uint64_t rows = i > 0 ? made->height / 2 : made->height;
        require(made->planes[i].offset + rows * made->planes[i].stride <= made->bytes,
                "every plane lies in its memory");
    }
    if (made->bytes > 1u << 16)
        return;
    Bytes pixels(made->bytes);
    const auto part = [&](std::uint32_t most) { return std::max(1u, in.byte() % (most + 1)); };
    const std::uint32_t columns = part(made->width);
    if (made->fourcc != kFourccXrgb8888)
        extend_edges(*made, pixels, columns, part(made->height));
}

void table(Input &in)
{
    const std::uint8_t choice = in.byte();
    const auto &[fd, content] = table_memory(choice % 4);
    const std::uint32_t announced = choice >= 0xc0 ? length(in) : choice / 4 % 8u * 16;
    const auto written = in.borrow(std::min<std::size_t>(in.byte(), content.size()));
    std::copy(written.begin(), written.end(), content.begin());
    std::fill(content.begin() + static_cast<std::ptrdiff_t>(written.size()), content.end(), 0);
    const auto read = FormatTable::read(fd, announced);
    if (!read)
        return;
    require(announced <= content.size(), "no table is longer than its memory");
    std::vector<std::uint16_t> indices(in.byte() % 32u);
    for (std::uint16_t &index : indices)
        index = in.rarely(8) ? in.number<std::uint16_t>() : in.byte() % 32;
    const auto picked = read.value().pick(indices);
    const bool all = std::all_of(indices.begin(), indices.end(), [&](unsigned i) { return i < announced / 16; });
    require(picked.ok() == all, "indices are of the table");
    if (!picked)
        return;
    FormatSet again;
    again.add(picked.value());
    require(again.entries() == picked.value().entries(), "a set has each entry once");
    for (const auto &[code, modifier] : again.entries())
        require(again.contains(code, modifier) && fourcc_name(code).size() == 4, "what was added is there");
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    const bool ready = memory(0) >= 0 && table_memory(0).fd >= 0;
    const int free = free_descriptor();
    Input in(data, size);
    while (ready && !in.empty()) {
        switch (in.byte() % 3) {
        case 0:
            image(in);
            break;
        case 1:
            layout(in);
            break;
        default:
            table(in);
        }
    }
    require(free_descriptor() == free, "no descriptor is left open");
    return 0;
}
