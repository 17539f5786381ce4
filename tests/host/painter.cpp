// SPDX-License-Identifier: LGPL-2.1-or-later
#include "painter.h"

#include <cairo.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace spice_overlay::host {

namespace {

constexpr int kReservedDistance = 16; // per channel

std::uint32_t hash(std::uint32_t v)
{
    v ^= v >> 16;
    v *= 0x7FEB352D;
    v ^= v >> 15;
    v *= 0x846CA68B;
    return v ^ (v >> 16);
}

bool near(std::uint32_t a, std::uint32_t b)
{
    for (int shift = 0; shift < 24; shift += 8)
        if (std::abs(static_cast<int>(a >> shift & 255) - static_cast<int>(b >> shift & 255)) > kReservedDistance)
            return false;
    return true;
}

void keep_away(Pixels &pixels, const Reserved &reserved)
{
    for (std::uint32_t &pixel : pixels) {
        pixel &= 0xFFFFFF;
        for (std::uint32_t colour : reserved)
            if (near(pixel, colour))
                pixel = (colour ^ 0x808080) & 0xFFFFFF;
    }
}

struct Canvas {
    Canvas(Pixels &pixels, int width, int height)
        : surface(cairo_image_surface_create_for_data(reinterpret_cast<unsigned char *>(pixels.data()),
                                                      CAIRO_FORMAT_RGB24, width, height, width * 4)),
          cr(cairo_create(surface))
    {
        cairo_set_antialias(cr, CAIRO_ANTIALIAS_NONE);
        cairo_font_options_t *options = cairo_font_options_create();
        cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
        cairo_set_font_options(cr, options);
        cairo_font_options_destroy(options);
    }
    Canvas(const Canvas &) = delete;
    Canvas &operator=(const Canvas &) = delete;
    ~Canvas()
    {
        cairo_destroy(cr);
        cairo_surface_flush(surface);
        cairo_surface_destroy(surface);
    }

    void colour(std::uint32_t rgb)
    {
        cairo_set_source_rgb(cr, (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
    }
    void fill(const Rect &rect, std::uint32_t rgb)
    {
        colour(rgb);
        cairo_rectangle(cr, rect.x, rect.y, rect.w, rect.h);
        cairo_fill(cr);
    }
    void text(int x, int baseline, double size, std::uint32_t rgb, const std::string &words)
    {
        colour(rgb);
        cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
        cairo_set_font_size(cr, size);
        cairo_move_to(cr, x, baseline);
        cairo_show_text(cr, words.c_str());
    }

    cairo_surface_t *surface;
    cairo_t *cr;
};

void title_bar(Canvas &canvas, const Rect &bar, const std::string &words)
{
    for (int y = 0; y < bar.h; ++y)
        canvas.fill({bar.x, bar.y + y, bar.w, 1}, 0x2F3E55 + static_cast<std::uint32_t>(bar.h - y) * 0x010101);
    canvas.text(bar.x + 8, bar.y + bar.h - 7, 13, 0xF4F4F0, words);
    for (int i = 0; i < 3; ++i)
        canvas.fill({bar.right() - 18 * (i + 1), bar.y + bar.h / 2 - 5, 10, 10}, i == 0 ? 0xB4564B : 0x9AA5B5);
}

// Colours that a still area or a body takes: the base, with a pattern that tells neighbouring pixels apart.
void texture(Pixels &pixels, int stride, const Rect &area, std::uint32_t base)
{
    for (int y = area.y; y < area.bottom(); ++y)
        for (int x = area.x; x < area.right(); ++x) {
            std::uint32_t dent = static_cast<std::uint32_t>((x * 5 + y * 3) % 7);
            std::uint32_t floor = base & 0xF8F8F8;
            pixels[static_cast<std::size_t>(y) * stride + x] = floor + dent * 0x010101;
        }
}

} // namespace

Pixels paint_wallpaper(int width, int height, std::uint32_t seed, const Reserved &reserved)
{
    Pixels pixels(static_cast<std::size_t>(width) * height);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            std::uint32_t grain = hash(static_cast<std::uint32_t>(y * width + x) * 2654435761U + seed);
            auto r = static_cast<std::uint32_t>(24 + x * 70 / width) + (grain & 31);
            auto g = static_cast<std::uint32_t>(48 + y * 80 / height) + (grain >> 8 & 31);
            auto b = static_cast<std::uint32_t>(150 - x * 60 / width) + (grain >> 16 & 31);
            bool line = (x + y) % 32 == 0 || (x - y + 8192 * 4) % 48 == 0;
            pixels[static_cast<std::size_t>(y) * width + x] = line ? (b << 16 | r << 8 | g) : (r << 16 | g << 8 | b);
        }
    keep_away(pixels, reserved);
    return pixels;
}

Pixels paint_window(const SceneWindow &window, int width, int height, const Reserved &reserved)
{
    Pixels pixels(static_cast<std::size_t>(width) * height);
    const std::string &title = window.text.empty() ? window.name : window.text;
    Rect whole{0, 0, width, height};
    if (window.video != 0) {
        Rect area{kFrame, kFrame + kTitle, width - 2 * kFrame, height - 2 * kFrame - kTitle};
        texture(pixels, width, area, 0x202428);
        {
            Canvas canvas(pixels, width, height);
            title_bar(canvas, {0, 0, width, kTitle}, title);
            canvas.text(area.x + 12, area.y + 24, 14, 0xC8C8C8, "no video is playing");
        }
        keep_away(pixels, reserved);
        // Last, so that no rounding or reserved colour touches the frame, which checkers look for.
        for (int y = kTitle; y < height; ++y)
            for (int x = 0; x < width; ++x)
                if (x < kFrame || x >= width - kFrame || y < kTitle + kFrame || y >= height - kFrame)
                    pixels[static_cast<std::size_t>(y) * width + x] = window.colour;
        return pixels;
    }
    texture(pixels, width, whole, window.colour);
    {
        Canvas canvas(pixels, width, height);
        cairo_rectangle(canvas.cr, 0, 0, width - 10, height);
        cairo_clip(canvas.cr);
        for (int y = kTitle + 22, line = 1; y < height - 8 && width > 60; y += 18, ++line)
            canvas.text(10, y, 13, 0x1D2430, std::to_string(line) + "  " + title + ": the quick brown fox jumps over " +
                                                 std::to_string(line * 7919 % 1000) + " lazy dogs, twice");
        cairo_reset_clip(canvas.cr);
        if (height > kTitle + 8 && width > 40)
            title_bar(canvas, {0, 0, width, kTitle}, title);
        const std::uint32_t border = 0x3C4656;
        canvas.fill({0, 0, width, 1}, border);
        canvas.fill({0, height - 1, width, 1}, border);
        canvas.fill({0, 0, 1, height}, border);
        canvas.fill({width - 1, 0, 1, height}, border);
    }
    keep_away(pixels, reserved);
    return pixels;
}

} // namespace spice_overlay::host
