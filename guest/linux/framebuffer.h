// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/unique_fd.h"
#include "x_display.h"

#include <cstdint>
#include <optional>
#include <span>

namespace spice_overlay::guest {

/// Where a colour is on the screen.
struct ColourView {
    ScreenRegion region;
    std::uint32_t colour = 0; ///< 0xRRGGBB, the one most of the region has
};

/// What the screen shows, read by shared memory where the server is on this machine.
class Framebuffer {
public:
    explicit Framebuffer(XDisplay &display) : display_(display) {}
    ~Framebuffer();
    Framebuffer(const Framebuffer &) = delete;
    Framebuffer &operator=(const Framebuffer &) = delete;

    /// Whether the screen's pixels are of a kind that find() knows: 32 bits, with 8 for each of red, green and blue.
    [[nodiscard]] bool readable() const;

    /// Where within `area` (clipped to the screen) pixels differ from `colour` by at most `tolerance` per channel. Where that is in
    /// very many pieces, small ones are left out. Nothing when the screen could not be read.
    [[nodiscard]] std::optional<ColourView> find(std::uint32_t colour, int tolerance, const ScreenRect &area);

private:
    [[nodiscard]] bool have_memory(std::size_t bytes);
    void release_memory();

    XDisplay &display_;
    std::uint32_t segment_ = 0; ///< 0: none
    std::uint8_t *memory_ = nullptr;
    std::size_t capacity_ = 0;
    bool shared_ = true; ///< until it turned out that the server cannot
};

/// The pixels of one colour in an image; separate from the X server for tests.
struct PixelFormat {
    int red_shift = 16;
    int green_shift = 8;
    int blue_shift = 0;
};
[[nodiscard]] ColourView find_colour(std::span<const std::uint32_t> pixels, const ScreenRect &area, PixelFormat format,
                                     std::uint32_t colour, int tolerance);

} // namespace spice_overlay::guest
