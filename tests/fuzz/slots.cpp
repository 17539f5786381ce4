// SPDX-License-Identifier: LGPL-2.1-or-later
// What the viewer knows of a decoder's slots, and of the places of its units, against models: as `decoder-replies`, without a socket.
#include "dmabuf/decoder/slot_table.h"
#include "dmabuf/decoder/unit_places.h"
#include "dmabuf/memfd.h"
#include "input.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <utility>

namespace spice_overlay::fuzz {
namespace {

constexpr std::uint32_t kWidth = 64;
constexpr std::uint32_t kHeight = 32;
constexpr std::uint64_t kTiled = 1;  ///< a modifier other than linear
constexpr std::size_t kSmall = 8192; ///< bytes of the first descriptor; of the second there are twice as many

/// What a decoder may send along: the first two are right for small pictures, and large enough.
const std::vector<int> &descriptors()
{
    static const std::vector<int> fds = [] {
        std::vector<int> made;
        for (const std::size_t size : {kSmall, 2 * kSmall, std::size_t{256} << 20})
            made.push_back(make_sealed_memfd("fuzz", size)->release());
        for (const int seals :
             {0, F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL}) {
            const int fd = ::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            require(::ftruncate(fd, kSmall) == 0 && ::fcntl(fd, F_ADD_SEALS, seals) == 0, "memory can be had");
            made.push_back(fd);
        }
        made.push_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
        made.push_back(::open("/", O_PATH | O_CLOEXEC));
        return made;
    }();
    return fds;
}

class Slots {
public:
    explicit Slots(std::uint8_t choice)
        : table_({kFourccYu12, kFourccNv12, kFourccXrgb8888}, choice % 4 ? Allocator::kStandIn : Allocator::kNone,
                 {kFourccYu12, kFourccXrgb8888}, surfaces())
    {
    }

    void step(Input &in)
    {
        const std::uint8_t choice = in.byte();
        const std::uint32_t slot = choice >= 0xf0 ? choice - 200u : choice / 16 % 4;
        switch (choice % 8) {
        case 0:
        case 1:
            buffer(in, slot);
            break;
        case 2: {
            Model *model = find(slot);
            require(table_.release(slot) == (model && model->held), "only what is on show comes back");
            if (model && std::exchange(model->held, false))
                --held_;
            break;
        }
        default:
            frame(in, slot);
        }
        require(table_.bytes() == bytes_ && table_.held() == held_, "all memory and all that is on show is counted");
    }

private:
    struct Model {
        std::size_t bytes = 0;
        std::size_t descriptors = 0;
        std::uint32_t fourcc = 0;
        std::uint32_t width = 0;
        std::uint32_t height = 0;
        bool held = false;
        bool used = false;
    };

    static FormatSet surfaces()
    {
        FormatSet surfaces;
        surfaces.add(kFourccNv12, kTiled);
        return surfaces;
    }
    Model *find(std::uint32_t slot) { return slot < slots_.size() ? &slots_[slot] : nullptr; }

    void frame(Input &in, std::uint32_t slot)
    {
        ipc::Frame message;
        message.slot = slot;
        message.crop = {0, 0, kWidth, kHeight};
        const std::uint8_t choice = in.byte();
        if (choice >= 0xe0)
            message.crop = {in.number<std::int8_t>(), in.number<std::int8_t>(), in.byte(), in.byte()};
        else if (choice >= 0xd8)
            message.crop = {in.number<std::int32_t>(), in.number<std::int32_t>(), in.number<std::uint32_t>(),
                            in.number<std::uint32_t>()};
        message.decode_ns = choice % 32 == 7 ? in.number<std::int64_t>() : 0;
        message.colour = choice % 16 == 9 ? 1 : 0;
        Model *model = find(slot);
        const wire::Rect &c = message.crop;
        const bool right = model && model->bytes > 0 && !model->held && c.x >= 0 && c.y >= 0 && c.width > 0
                           && c.height > 0 && std::int64_t{c.x} + c.width <= model->width
                           && std::int64_t{c.y} + c.height <= model->height && message.decode_ns >= 0
                           && (message.colour == 0 || model->fourcc != kFourccXrgb8888);
        require(table_.frame(message).ok() == right,
                "a picture lies in a buffer that is not on show, in colours that its format has");
        if (!right)
            return;
        model->held = model->used = true;
        ++held_;
    }

    void buffer(Input &in, std::uint32_t slot)
    {
        ipc::Buffer message;
        std::vector<UniqueFd> fds;
        fds.reserve(2);
        const auto [memfd, images] = describe(in, message, fds);
        message.slot = slot;
        const std::size_t came = fds.size();
        const Model *model = find(slot);
        auto made = table_.buffer(message, std::move(fds));
        if (!made)
            return require(!made.error().message.empty(), "who refuses memory says why");
        require(model && !model->held && (model->bytes == 0 || model->used),
                "no new memory for what is on show, or was never used");
        require(made->fd.valid() == (message.size > 0) && made->image.has_value() == (message.dmabufs > 0),
                "all that came is there");
        require(made->width > 0 && made->height > 0 && made->slot == slot, "a buffer has a size");
        std::uint64_t bytes = 0;
        if (made->fd.valid()) {
            require(memfd < 3, "memory cannot shrink, and can be mapped");
            bytes = kSmall << memfd;
            require(made->size == bytes, "memory is as large as announced");
            require(made->planes[0].offset + std::uint64_t{made->planes[0].stride} * made->height <= bytes,
                    "the picture lies in its memory");
        }
        if (made->image) {
            require(images < 6, "an image has memory that tells its size");
            require(made->fourcc != kFourccNv12 || message.modifier == kTiled,
                    "a dmabuf is of a format of which some were asked for");
            bytes = std::max<std::uint64_t>(bytes, made->image->bytes());
        }
        bytes_ += bytes - slots_[slot].bytes;
        descriptors_ += came - slots_[slot].descriptors;
        slots_[slot] = {static_cast<std::size_t>(bytes), came, made->fourcc, made->width, made->height, false, false};
        require(descriptors_ <= ipc::kMaxDescriptors, "no more descriptors than a stream may have");
        require(table_.bytes() <= ipc::kMaxFrameMemory, "no more memory than a stream may have");
    }

    struct Which {
        std::size_t memfd;
        std::size_t images;
    };
    /// One that is right, most of the time, and which descriptors it comes with.
    static Which describe(Input &in, ipc::Buffer &message, std::vector<UniqueFd> &fds)
    {
        constexpr std::uint32_t kFourccs[] = {kFourccYu12, kFourccNv12, kFourccXrgb8888, kFourccP010};
        const std::uint8_t choice = in.byte();
        const std::uint8_t wrong = in.byte();
        message.fourcc = kFourccs[choice % 4];
        message.width = kWidth;
        message.height = kHeight;
        const auto layout =
            shm_layout(message.fourcc, kWidth, kHeight, message.fourcc == kFourccXrgb8888 ? 4 * kWidth : kWidth);
        for (unsigned i = 0; layout && i < layout->plane_count; ++i)
            message.planes[i] = {0, layout->planes[i].offset, layout->planes[i].stride};
        message.plane_count = layout ? layout->plane_count : choice % 5u;
        Which which{choice / 32 % 2u, choice / 64 % 2u};
        if (wrong >= 0xe0)
            (wrong % 2 ? which.memfd : which.images) = in.byte() % descriptors().size();
        if (choice / 4 % 4 != 1) {
            message.size = kSmall << std::min<std::size_t>(which.memfd, 1);
            fds.emplace_back(::fcntl(descriptors()[which.memfd], F_DUPFD_CLOEXEC, 0));
        }
        if (choice / 4 % 4 > 0) {
            message.dmabufs = 1;
            message.modifier = choice >= 0xc0 ? kTiled : kModifierLinear;
            fds.emplace_back(::fcntl(descriptors()[which.images], F_DUPFD_CLOEXEC, 0));
        }
        if (wrong >= 0x20 && wrong < 0x60) { // any number in it
            std::uint32_t *const numbers[] = {&message.fourcc,           &message.width,
                                              &message.height,           &message.plane_count,
                                              &message.planes[0].object, &message.planes[0].offset,
                                              &message.planes[0].stride, &message.planes[1].offset,
                                              &message.planes[1].stride, &message.planes[2].offset,
                                              &message.planes[2].stride, &message.planes[1].object};
            *numbers[wrong % std::size(numbers)] = wrong & 0x10 ? in.number<std::uint32_t>() : in.byte();
        }
        if (wrong >= 0x60 && wrong < 0x68 && message.size > 0)
            message.size = in.number<std::uint64_t>() | 1;
        return which;
    }

    SlotTable table_;
    std::array<Model, ipc::kMaxSlots> slots_{};
    std::size_t bytes_ = 0; ///< of all slots
    std::size_t descriptors_ = 0;
    std::size_t held_ = 0;
};

/// Places in 64 bytes, one bit for each.
void places(Input &in)
{
    constexpr std::size_t kMost = 6; ///< units
    UnitPlaces places(64, kMost);
    std::deque<std::uint64_t> taken; ///< oldest first
    std::size_t high = 0;
    while (!in.empty()) {
        const std::uint8_t choice = in.byte();
        std::uint64_t used = 0;
        for (const std::uint64_t each : taken)
            used |= each;
        if (choice == 0xff) {
            places.reset_high_water();
            high = 0;
        } else if (choice >= 0xe0) {
            if (taken.empty())
                continue;
            places.undo_put();
            taken.pop_back();
        } else if (choice >= 0xa0) {
            const std::size_t units = choice % 8u;
            require(places.take(units) == (units <= taken.size()), "no more units come back than there are");
            if (units <= taken.size())
                taken.erase(taken.begin(), taken.begin() + static_cast<std::ptrdiff_t>(units));
        } else {
            const std::size_t bytes = choice % 66u;
            const std::uint64_t piece = bytes >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bytes) - 1;
            std::size_t offset = 0;
            while (offset + bytes <= 64 && (used & piece << offset) != 0)
                ++offset;
            const bool fits = bytes > 0 && offset + bytes <= 64 && taken.size() < kMost;
            const auto place = places.put(bytes);
            require(place.has_value() == fits && (!fits || *place == offset),
                    "the lowest gap that is large enough is used");
            if (fits) {
                taken.push_back(piece << offset);
                high = std::max(high, offset + bytes);
            }
        }
        require(places.units() == taken.size() && places.high_water() == high, "units and memory are counted");
    }
}

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    require(!descriptors().empty(), "memory can be had");
    const int free = free_descriptor();
    Input in(data, size);
    const std::uint8_t choice = in.byte();
    if (choice % 4 == 0) {
        places(in);
    } else {
        {
            Slots slots(choice / 4);
            for (int steps = 0; steps < 16 && !in.empty(); ++steps)
                slots.step(in);
        }
        require(free_descriptor() == free, "no descriptor is left open");
    }
    return 0;
}
