// SPDX-License-Identifier: LGPL-2.1-or-later
#include "framebuffer.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <xcb/shm.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

namespace spice_overlay::guest {

namespace {

// Other programs decide what is on the screen.
constexpr std::size_t kMostRunsPerRow = 64;
constexpr std::size_t kMostBoxes = 16384;
constexpr std::size_t kMostColours = 1024; ///< shades that are told apart

struct Run {
    int x1;
    int x2;
    bool operator==(const Run &) const = default;
};

/// Finds the runs of one colour in a row, and counts the shades seen.
class RunFinder {
public:
    RunFinder(PixelFormat format, std::uint32_t colour, int tolerance) : format_(format), tolerance_(tolerance)
    {
        wanted_[0] = static_cast<int>(colour >> 16 & 0xff);
        wanted_[1] = static_cast<int>(colour >> 8 & 0xff);
        wanted_[2] = static_cast<int>(colour & 0xff);
    }

    void find(std::span<const std::uint32_t> row, std::vector<Run> &runs)
    {
        runs.clear();
        const int width = static_cast<int>(row.size());
        for (int x = 0; x < width;) {
            const std::uint32_t pixel = row[x];
            int end = x + 1;
            while (end < width && row[end] == pixel) // flat areas, of any colour, are most of a desktop
                ++end;
            if (matches(pixel)) {
                if (runs.empty() || runs.back().x2 != x)
                    runs.push_back({x, end});
                else
                    runs.back().x2 = end;
                if (shades_.size() < kMostColours || shades_.contains(pixel))
                    shades_[pixel] += end - x;
            }
            x = end;
        }
        if (runs.size() > kMostRunsPerRow) {
            std::ranges::nth_element(runs, runs.begin() + kMostRunsPerRow, std::ranges::greater{},
                                     [](const Run &r) { return r.x2 - r.x1; });
            runs.resize(kMostRunsPerRow);
            std::ranges::sort(runs, std::ranges::less{}, &Run::x1);
        }
    }

    [[nodiscard]] std::uint32_t most_seen() const
    {
        auto most = std::ranges::max_element(shades_, std::ranges::less{}, [](auto &s) { return s.second; });
        return most == shades_.end() ? 0 : rgb(most->first);
    }

private:
    [[nodiscard]] int channel(std::uint32_t pixel, int shift) const { return static_cast<int>(pixel >> shift & 0xff); }
    [[nodiscard]] bool matches(std::uint32_t p) const
    {
        return std::abs(channel(p, format_.red_shift) - wanted_[0]) <= tolerance_
               && std::abs(channel(p, format_.green_shift) - wanted_[1]) <= tolerance_
               && std::abs(channel(p, format_.blue_shift) - wanted_[2]) <= tolerance_;
    }
    [[nodiscard]] std::uint32_t rgb(std::uint32_t p) const
    {
        return (p >> format_.red_shift & 0xff) << 16 | (p >> format_.green_shift & 0xff) << 8
               | (p >> format_.blue_shift & 0xff);
    }

    PixelFormat format_;
    int tolerance_;
    int wanted_[3];
    std::unordered_map<std::uint32_t, std::int64_t> shades_;
};

} // namespace

ColourView find_colour(std::span<const std::uint32_t> pixels, const ScreenRect &area, PixelFormat format,
                       std::uint32_t colour, int tolerance)
{
    const auto width = static_cast<std::size_t>(area.width());
    RunFinder finder(format, colour, tolerance);
    std::vector<ScreenRect> boxes;
    std::vector<Run> runs;
    std::vector<Run> previous;
    std::size_t band = 0; // first box of the band that ends above the current row
    for (int y = 0; y < area.height(); ++y) {
        auto row = pixels.subspan(y * width, width);
        finder.find(row, runs);
        if (runs == previous) {
            for (std::size_t i = band; i < boxes.size(); ++i)
                boxes[i].y2++;
            continue;
        }
        if (boxes.size() + runs.size() > kMostBoxes)
            break;
        band = boxes.size();
        for (const Run &r : runs)
            boxes.push_back({{area.x1 + r.x1, area.y1 + y, area.x1 + r.x2, area.y1 + y + 1}});
        previous = runs;
    }
    return {ScreenRegion(boxes), finder.most_seen()};
}

bool Framebuffer::readable() const
{
    const auto *visual = display_.visual();
    if (!visual)
        return false;
    for (std::uint32_t mask : {visual->red_mask, visual->green_mask, visual->blue_mask})
        if (std::popcount(mask) != 8 || mask >> std::countr_zero(mask) != 0xff)
            return false;
    const auto *setup = xcb_get_setup(display_.xcb());
    auto native = std::endian::native == std::endian::little ? XCB_IMAGE_ORDER_LSB_FIRST : XCB_IMAGE_ORDER_MSB_FIRST;
    for (auto f = xcb_setup_pixmap_formats_iterator(setup); f.rem; xcb_format_next(&f))
        if (f.data->depth == 24 && f.data->bits_per_pixel == 32)
            return setup->image_byte_order == native;
    return false;
}

std::optional<ColourView> Framebuffer::find(std::uint32_t colour, int tolerance, const ScreenRect &area)
{
    const ScreenRect on_screen = area.intersected(display_.bounds());
    if (on_screen.empty())
        return ColourView{};
    const auto x = static_cast<std::int16_t>(on_screen.x1);
    const auto y = static_cast<std::int16_t>(on_screen.y1);
    const auto width = static_cast<std::uint16_t>(on_screen.width());
    const auto height = static_cast<std::uint16_t>(on_screen.height());
    const auto count = static_cast<std::size_t>(on_screen.area());
    const auto *visual = display_.visual();
    const PixelFormat format{std::countr_zero(visual->red_mask), std::countr_zero(visual->green_mask),
                             std::countr_zero(visual->blue_mask)};
    if (have_memory(count * 4)) {
        auto reply = Asked<xcb_shm_get_image_reply>(
                         display_.xcb(), xcb_shm_get_image(display_.xcb(), display_.root(), x, y, width, height, ~0U,
                                                           XCB_IMAGE_FORMAT_Z_PIXMAP, segment_, 0))
                         .take();
        if (!reply || reply->size < count * 4)
            return std::nullopt;
        return find_colour({reinterpret_cast<const std::uint32_t *>(memory_), count}, on_screen, format, colour,
                           tolerance);
    }
    auto reply = Asked<xcb_get_image_reply>(display_.xcb(), xcb_get_image(display_.xcb(), XCB_IMAGE_FORMAT_Z_PIXMAP,
                                                                          display_.root(), x, y, width, height, ~0U))
                     .take();
    if (!reply || static_cast<std::size_t>(xcb_get_image_data_length(reply.get())) < count * 4)
        return std::nullopt;
    return find_colour({reinterpret_cast<const std::uint32_t *>(xcb_get_image_data(reply.get())), count}, on_screen,
                       format, colour, tolerance);
}

bool Framebuffer::have_memory(std::size_t bytes)
{
    if (!shared_ || bytes <= capacity_)
        return shared_;
    release_memory();
    shared_ = false;
    xcb_connection_t *c = display_.xcb();
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (getsockname(xcb_get_file_descriptor(c), reinterpret_cast<sockaddr *>(&address), &length) != 0
        || address.ss_family != AF_UNIX) // descriptors pass no network, and trying would end the connection
        return false;
    const auto *extension = xcb_get_extension_data(c, &xcb_shm_id);
    if (!extension || !extension->present)
        return false;
    auto version = Asked<xcb_shm_query_version_reply>(c, xcb_shm_query_version(c)).take();
    if (!version || (version->major_version == 1 && version->minor_version < 2)) // descriptors
        return false;
    UniqueFd fd(memfd_create("spice-overlay-screen", MFD_CLOEXEC));
    if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
        return false;
    void *memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED)
        return false;
    const std::uint32_t segment = xcb_generate_id(c);
    Reply<xcb_generic_error_t> error(
        xcb_request_check(c, xcb_shm_attach_fd_checked(c, segment, fd.release(), 0))); // xcb closes the descriptor
    memory_ = static_cast<std::uint8_t *>(memory);
    capacity_ = bytes;
    if (error || display_.lost()) {
        release_memory();
        return false;
    }
    segment_ = segment;
    shared_ = true;
    return true;
}

void Framebuffer::release_memory()
{
    if (segment_)
        xcb_shm_detach(display_.xcb(), std::exchange(segment_, 0));
    if (memory_)
        munmap(std::exchange(memory_, nullptr), std::exchange(capacity_, 0));
}

Framebuffer::~Framebuffer()
{
    release_memory();
}

} // namespace spice_overlay::guest
