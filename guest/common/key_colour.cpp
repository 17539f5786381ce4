// SPDX-License-Identifier: LGPL-2.1-or-later
#include "key_colour.h"

#include "portclient/base/clock.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <mutex>

namespace spice_overlay::guest {
namespace {

using Rgb = std::array<int, 3>;

constexpr int kDarkest = 16, kLightest = 80;
constexpr int kLeastColourful = 24; ///< between the largest and the smallest part: greys are common
constexpr int kApart = 10;          ///< in one part at least, from every other colour
constexpr std::size_t kMostRemembered = 64;

/// What remains of a colour after 8-bit YUV of limited range, whose luma weighs red by `kr` and blue by `kb`.
Rgb through_yuv(const Rgb &rgb, double kr, double kb)
{
    double y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    double luma = std::round(16 + y * 219 / 255);
    double cb = std::round(128 + (rgb[2] - y) / (2 * (1 - kb)) * 224 / 255);
    double cr = std::round(128 + (rgb[0] - y) / (2 * (1 - kr)) * 224 / 255);
    y = (luma - 16) * 255 / 219;
    double red = y + (cr - 128) * 255 / 224 * 2 * (1 - kr);
    double blue = y + (cb - 128) * 255 / 224 * 2 * (1 - kb);
    double green = (y - kr * red - kb * blue) / (1 - kr - kb);
    auto part = [](double value) { return std::clamp(static_cast<int>(std::lround(value)), 0, 255); };
    return {part(red), part(green), part(blue)};
}

bool suits(const Rgb &rgb)
{
    auto [least, most] = std::minmax_element(rgb.begin(), rgb.end());
    return *most - *least >= kLeastColourful && through_yuv(rgb, 0.299, 0.114) == rgb
           && through_yuv(rgb, 0.2126, 0.0722) == rgb;
}

bool apart(const Rgb &a, const Rgb &b)
{
    return std::abs(a[0] - b[0]) >= kApart || std::abs(a[1] - b[1]) >= kApart || std::abs(a[2] - b[2]) >= kApart;
}

} // namespace

std::int32_t key_colour()
{
    static std::mutex mutex;
    static std::deque<Rgb> given;
    std::lock_guard lock(mutex);
    for (;;) {
        std::uint64_t random = fresh_nonce();
        Rgb rgb;
        for (int &part : rgb) {
            part = kDarkest + static_cast<int>(random % (kLightest - kDarkest));
            random >>= 16;
        }
        if (!suits(rgb)
            || !std::all_of(given.begin(), given.end(), [&](const Rgb &other) { return apart(rgb, other); }))
            continue;
        given.push_back(rgb);
        if (given.size() > kMostRemembered)
            given.pop_front();
        return rgb[0] << 16 | rgb[1] << 8 | rgb[2];
    }
}

} // namespace spice_overlay::guest
