// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dmabuf/allocator.h"
#include "dmabuf/device.h"
#include "dmabuf/fence.h"
#include "dmabuf/format_set.h"
#include "dmabuf/image.h"
#include "dmabuf/memfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

namespace spice_overlay {
namespace {

constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kTiled = 0x0100000000000001; // I915_FORMAT_MOD_X_TILED, for one

std::vector<UniqueFd> objects(std::initializer_list<std::size_t> sizes)
{
    std::vector<UniqueFd> list;
    for (std::size_t size : sizes)
        list.push_back(make_sealed_memfd("test", size).value());
    return list;
}

/// 64x32 in NV12, lines of 128 bytes, in 8192 bytes of which 6144 are used.
ImageDescription nv12()
{
    return {kFourccNv12, 64, 32, kModifierLinear, 2, {{{0, 0, 128}, {0, 4096, 128}}}};
}

struct Malformed {
    const char *name;
    std::function<void(ImageDescription &)> change;
    const char *why;
};

void PrintTo(const Malformed &m, std::ostream *out)
{
    *out << m.name;
}

class MalformedImage : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedImage, is_refused)
{
    ImageDescription description = nv12();
    GetParam().change(description);
    auto image = Image::make(description, objects({8192}), Image::Backing::kStandIn);
    ASSERT_FALSE(image);
    EXPECT_NE(image.error().message.find(GetParam().why), std::string::npos) << image.error().message;
}

using D = ImageDescription;
INSTANTIATE_TEST_SUITE_P(
    image, MalformedImage,
    testing::Values(
        Malformed{"format_unknown", [](D &d) { d.fourcc = 0; }, "unknown format"},
        Malformed{"width_zero", [](D &d) { d.width = 0; }, "impossible size"},
        Malformed{"height_zero", [](D &d) { d.height = 0; }, "impossible size"},
        Malformed{"width_beyond_limit", [](D &d) { d.width = kMaxBufferSide + 1; }, "impossible size"},
        Malformed{"height_beyond_limit", [](D &d) { d.height = kMost; }, "impossible size"},
        Malformed{"no_plane", [](D &d) { d.plane_count = 0; }, "0 planes"},
        Malformed{"plane_missing", [](D &d) { d.plane_count = 1; }, "1 planes where its format has 2"},
        Malformed{"plane_too_many", [](D &d) { d.plane_count = 3; }, "3 planes"},
        Malformed{"planes_beyond_the_array", [](D &d) { d.plane_count = kMost; }, "planes where"},
        Malformed{"planes_beyond_the_array_when_tiled",
                  [](D &d) {
                      d.plane_count = 5;
                      d.modifier = kTiled;
                  },
                  "5 planes"},
        Malformed{"plane_missing_when_tiled",
                  [](D &d) {
                      d.plane_count = 1;
                      d.modifier = kTiled;
                  },
                  "1 planes"},
        Malformed{"descriptor_that_is_not_there", [](D &d) { d.planes[1].object = 1; }, "not there"},
        Malformed{"descriptor_index_huge", [](D &d) { d.planes[0].object = kMost; }, "not there"},
        Malformed{"stride_zero", [](D &d) { d.planes[1].stride = 0; }, "impossible stride"},
        Malformed{"stride_huge", [](D &d) { d.planes[0].stride = kMost; }, "impossible stride"},
        Malformed{"stride_below_a_line", [](D &d) { d.planes[0].stride = 62; }, "stride of 62 bytes for lines of 64"},
        Malformed{"chroma_stride_below_a_line", [](D &d) { d.planes[1].stride = 32; }, "plane 1 has a stride of 32"},
        Malformed{"chroma_stride_of_half_a_sample", [](D &d) { d.planes[1].stride = 65; }, "whole sample"},
        Malformed{"chroma_offset_of_half_a_sample", [](D &d) { d.planes[1].offset = 4097; }, "whole sample"},
        Malformed{"offset_at_the_end", [](D &d) { d.planes[1].offset = 8192; }, "begins outside"},
        Malformed{"offset_huge", [](D &d) { d.planes[1].offset = kMost - 1; }, "begins outside"},
        Malformed{"offset_huge_when_tiled",
                  [](D &d) {
                      d.planes[1].offset = kMost;
                      d.modifier = kTiled;
                  },
                  "begins outside"},
        Malformed{"first_plane_leads_outside_when_tiled",
                  [](D &d) {
                      d.planes[0].stride = 512;
                      d.modifier = kTiled;
                  },
                  "plane 0 ends outside"},
        Malformed{"line_leads_outside_when_tiled",
                  [](D &d) {
                      d.planes[1].offset = 8192 - 64;
                      d.modifier = kTiled;
                  },
                  "plane 1 ends outside"},
        Malformed{"stride_leads_outside", [](D &d) { d.planes[0].stride = 512; }, "plane 0 ends outside"},
        Malformed{"offset_leads_outside", [](D &d) { d.planes[1].offset = 8192 - 128 * 16 + 2; },
                  "plane 1 ends outside"},
        Malformed{"height_leads_outside", [](D &d) { d.height = 66; }, "ends outside"},
        Malformed{"odd_height_needs_its_last_chroma_line",
                  [](D &d) {
                      d.height = 31; // 16 lines of chroma
                      d.planes[1].offset = 8192 - 128 * 15;
                  },
                  "plane 1 ends outside"}),
    [](const auto &test) { return test.param.name; });

TEST(Image, that_just_fits_is_taken_and_keeps_what_it_was_told)
{
    ImageDescription description = nv12();
    description.planes[1].offset = 8192 - 128 * 16;
    auto image = Image::make(description, objects({8192}), Image::Backing::kStandIn);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->plane_count(), 2u);
    EXPECT_EQ(image->plane(1).offset, 6144u);
    EXPECT_EQ(image->plane(1).stride, 128u);
    EXPECT_EQ(image->plane(0).fd, image->plane(1).fd) << "one descriptor for both planes";
}

TEST(Image, each_plane_is_held_against_its_own_descriptor)
{
    ImageDescription description = nv12();
    description.planes[1] = {1, 0, 128};
    EXPECT_TRUE(Image::make(description, objects({4096, 4096}), Image::Backing::kStandIn));
    description.height = 34; // luma of 4352 bytes
    auto image = Image::make(description, objects({4096, 8192}), Image::Backing::kStandIn);
    ASSERT_FALSE(image);
    EXPECT_NE(image.error().message.find("plane 0 ends outside its memory of 4096"), std::string::npos)
        << image.error().message;
}

TEST(Image, odd_sizes_round_their_chroma_up)
{
    ImageDescription description{kFourccYu12, 3, 3, kModifierLinear, 3, {{{0, 0, 3}, {0, 9, 2}, {0, 13, 2}}}};
    EXPECT_TRUE(Image::make(description, objects({17}), Image::Backing::kStandIn));
    EXPECT_FALSE(Image::make(description, objects({16}), Image::Backing::kStandIn));
    description.planes[2].stride = 1;
    EXPECT_FALSE(Image::make(description, objects({17}), Image::Backing::kStandIn));
}

TEST(Image, tiled_may_have_planes_of_its_own)
{
    ImageDescription description = nv12();
    description.modifier = kTiled;
    description.plane_count = 4;
    description.planes[2] = {0, 5000, 16};
    description.planes[3] = {0, 6000, 16};
    EXPECT_TRUE(Image::make(description, objects({8192}), Image::Backing::kStandIn));
}

TEST(Image, descriptors_must_be_as_many_as_are_used)
{
    EXPECT_FALSE(Image::make(nv12(), {}, Image::Backing::kStandIn));
    const auto unused = Image::make(nv12(), objects({8192, 8192}), Image::Backing::kStandIn);
    ASSERT_FALSE(unused);
    EXPECT_NE(unused.error().message.find("no plane lies in"), std::string::npos);
    EXPECT_FALSE(Image::make(nv12(), objects({8192, 8192, 8192, 8192, 8192}), Image::Backing::kStandIn));
}

TEST(Image, descriptor_that_is_no_dmabuf_is_refused)
{
    const auto is_refused = [](int fd) {
        std::vector<UniqueFd> list;
        list.emplace_back(fd);
        auto image = Image::make(nv12(), std::move(list));
        return !image && image.error().message.find("not a dmabuf") != std::string::npos;
    };
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    UniqueFd other(ends[1]);
    EXPECT_TRUE(is_refused(ends[0])) << "a pipe";
    EXPECT_TRUE(is_refused(make_sealed_memfd("test", 8192).value().release())) << "a memfd";
    EXPECT_TRUE(is_refused(::open("/tmp", O_TMPFILE | O_RDWR, 0600))) << "a file";
    EXPECT_TRUE(is_refused(::eventfd(0, 0))) << "an eventfd";
    EXPECT_TRUE(is_refused(::socket(AF_UNIX, SOCK_STREAM, 0))) << "a socket";
    std::vector<UniqueFd> closed(1);
    EXPECT_FALSE(Image::make(nv12(), std::move(closed))) << "no descriptor at all";
}

TEST(FormatSet, holds_each_pair_once_and_tells_modifiers_apart)
{
    FormatSet set;
    set.add(kFourccNv12, kTiled);
    set.add(kFourccNv12, kTiled);
    set.add(kFourccYu12, kModifierLinear);
    EXPECT_EQ(set.entries().size(), 2u);
    EXPECT_TRUE(set.contains(kFourccNv12, kTiled));
    EXPECT_FALSE(set.contains(kFourccNv12, kModifierLinear));
    FormatSet both = set;
    both.add(set);
    EXPECT_EQ(both.entries(), set.entries());
}

TEST(FormatTable, is_read_whole_or_not_at_all)
{
    const UniqueFd fd(::memfd_create("table", MFD_CLOEXEC));
    const std::uint64_t table[4] = {kFourccNv12, kTiled, kFourccYu12, kModifierLinear};
    ASSERT_EQ(::write(fd.get(), table, sizeof table), static_cast<ssize_t>(sizeof table));
    auto read = FormatTable::read(fd.get(), sizeof table);
    ASSERT_TRUE(read) << read.error().message;
    const std::uint16_t wanted[] = {1, 1};
    auto picked = read->pick(wanted);
    ASSERT_TRUE(picked);
    EXPECT_EQ(picked->entries(), (std::vector<FormatSet::Entry>{{kFourccYu12, kModifierLinear}}));

    const std::uint16_t beyond[] = {0, 2};
    EXPECT_FALSE(read->pick(beyond)) << "index beyond the table";
    EXPECT_FALSE(FormatTable::read(fd.get(), 17)) << "half an entry";
    EXPECT_FALSE(FormatTable::read(fd.get(), 48)) << "more than there is";
    EXPECT_FALSE(FormatTable::read(fd.get(), 65537 * 16)) << "more than indices can name";
    EXPECT_FALSE(FormatTable::read(-1, 16));
    auto nothing = FormatTable::read(fd.get(), 0);
    ASSERT_TRUE(nothing);
    EXPECT_FALSE(nothing->pick(wanted));
}

TEST(Allocator, refusal_says_what_to_do)
{
    const auto missing = device_refusal("/dev/udmabuf", "udmabuf", ENOENT).message;
    EXPECT_NE(missing.find("modprobe"), std::string::npos) << missing;
    const auto forbidden = device_refusal("/dev/udmabuf-of-nobody", "udmabuf", EACCES).message;
    EXPECT_NE(forbidden.find("60-spice-overlay-dmabuf.rules"), std::string::npos) << forbidden;
    EXPECT_EQ(forbidden.find("usermod"), std::string::npos) << "no group is known: " << forbidden;
    // Owned by a group that may write; root has to pick one that is not root's.
    const auto path = std::filesystem::temp_directory_path() / ("device-" + std::to_string(::getpid()));
    std::ofstream(path).put('x');
    std::filesystem::permissions(path, std::filesystem::perms::group_write, std::filesystem::perm_options::add);
    if (::getgid() == 0) {
        ASSERT_EQ(::chown(path.c_str(), 0, 1), 0);
    }
    const auto grouped = device_refusal(path.c_str(), "udmabuf", EACCES).message;
    std::filesystem::remove(path);
    EXPECT_NE(grouped.find("usermod -aG "), std::string::npos) << grouped;
}

TEST(Allocator, first_that_works_is_chosen_and_else_every_refusal_is_told)
{
    const AllocatorDriver bad{Allocator::kUdmabuf, "bad", [] { return Result<UniqueFd>(Error{"is broken"}); }};
    const AllocatorDriver worse{Allocator::kDmaHeap, "worse", [] { return Result<UniqueFd>(Error{"is gone"}); }};
    const AllocatorDriver good{Allocator::kStandIn, "good", [] { return Result<UniqueFd>(UniqueFd()); }};
    const AllocatorDriver some[] = {bad, good, worse};
    auto chosen = choose_allocator(some);
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->name, "good");
    EXPECT_EQ(chosen->allocator, Allocator::kStandIn);
    const AllocatorDriver none[] = {bad, worse};
    const auto refused = choose_allocator(none);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "bad: is broken; worse: is gone");
}

/// Real devices, where this kernel has them.
class RealAllocator : public testing::TestWithParam<AllocatorDriver> {};

TEST_P(RealAllocator, makes_dmabufs_of_the_size_asked_for_that_hold_what_is_written)
{
    const AllocatorDriver &driver = GetParam();
    auto device = driver.probe();
    if (!device)
        GTEST_SKIP() << device.error().message;
    const std::size_t size = whole_pages(100000);
    auto memory = allocate_frame(driver.allocator, device->get(), "test", size);
    ASSERT_TRUE(memory) << memory.error().message;
    auto real = dmabuf_size(memory->dmabuf.get(), Image::Backing::kDmabuf);
    ASSERT_TRUE(real) << real.error().message;
    EXPECT_EQ(*real, size);
    EXPECT_EQ(memory->memfd.valid(), driver.allocator == Allocator::kUdmabuf);

    EXPECT_TRUE(wait_until_unread(memory->dmabuf.get(), std::chrono::milliseconds(0)));
    begin_writing(memory->dmabuf.get());
    memory->pixels.data()[size - 1] = 77;
    end_writing(memory->dmabuf.get());
    auto seen = Mapping::map(memory->dmabuf.get(), size, Mapping::Access::kRead);
    ASSERT_TRUE(seen) << seen.error().message;
    EXPECT_EQ(seen->data()[size - 1], 77) << "not the same memory";

    ImageDescription description = nv12();
    std::vector<UniqueFd> list;
    list.push_back(std::move(memory->dmabuf));
    EXPECT_TRUE(Image::make(description, std::move(list)));
}

INSTANTIATE_TEST_SUITE_P(kernel, RealAllocator, testing::ValuesIn(allocator_drivers()), [](const auto &test) {
    return test.param.allocator == Allocator::kUdmabuf ? "udmabuf" : "dma_heap";
});

TEST(Fence, buffer_that_a_device_still_reads_is_not_free)
{
    // Poll speaks for the fences of a dmabuf; a descriptor that says "not yet" stands for one.
    const UniqueFd busy(::eventfd(0, EFD_NONBLOCK));
    const std::uint64_t full = std::numeric_limits<std::uint64_t>::max() - 1;
    ASSERT_EQ(::write(busy.get(), &full, sizeof full), static_cast<ssize_t>(sizeof full));
    EXPECT_FALSE(wait_until_unread(busy.get(), std::chrono::milliseconds(0)));
    EXPECT_FALSE(wait_until_unread(busy.get(), std::chrono::milliseconds(5)));
    std::uint64_t value = 0;
    ASSERT_EQ(::read(busy.get(), &value, sizeof value), static_cast<ssize_t>(sizeof value));
    EXPECT_TRUE(wait_until_unread(busy.get(), std::chrono::milliseconds(0)));
}

/// A piece of /sys with one device.
class Sysfs : public testing::Test {
protected:
    Sysfs()
    {
        node = root / "dev/char/226:128/device";
        std::filesystem::create_directories(node / "drm/card0");
    }
    ~Sysfs() override { std::filesystem::remove_all(root); }
    std::filesystem::path root = std::filesystem::temp_directory_path() / ("sysfs-" + std::to_string(::getpid()));
    std::filesystem::path node;
};

TEST_F(Sysfs, tells_driver_and_whether_it_renders)
{
    EXPECT_FALSE(find_drm_device(makedev(226, 128), root)) << "no driver";
    std::filesystem::create_symlink("../../bus/pci/drivers/i915", node / "driver");
    auto device = find_drm_device(makedev(226, 128), root);
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ(device->driver, "i915");
    EXPECT_FALSE(device->renders);
    std::filesystem::create_directory(node / "drm/renderD128");
    device = find_drm_device(makedev(226, 128), root);
    ASSERT_TRUE(device);
    EXPECT_TRUE(device->renders);
    EXPECT_EQ(device->render_node, "/dev/dri/renderD128");
    EXPECT_EQ(device->primary_node, "/dev/dri/card0");
    EXPECT_FALSE(find_drm_device(makedev(226, 129), root)) << "another device";
}

TEST_F(Sysfs, names_a_virtio_gpu_whatever_bus_it_stands_on)
{
    for (const char *driver : {"virtio-pci", "virtio-mmio", "virtio_gpu"}) {
        std::filesystem::remove(node / "driver");
        std::filesystem::create_symlink(std::string("../../bus/pci/drivers/") + driver, node / "driver");
        auto device = find_drm_device(makedev(226, 128), root);
        ASSERT_TRUE(device) << device.error().message;
        EXPECT_EQ(device->driver, "virtio_gpu");
    }
}

} // namespace
} // namespace spice_overlay
