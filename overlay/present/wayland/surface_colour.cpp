// SPDX-License-Identifier: LGPL-2.1-or-later
#include "surface_colour.h"

#include "color-representation-v1-client-protocol.h"

#include <wayland-client.h>

#include <string_view>
#include <utility>

namespace spice_overlay {

namespace {

constexpr std::pair<YuvColour, std::pair<std::uint32_t, std::uint32_t>> kColours[] = {
    {YuvColour::kBt601,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT601, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_LIMITED}},
    {YuvColour::kBt601Full,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT601, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_FULL}},
    {YuvColour::kBt709,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT709, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_LIMITED}},
    {YuvColour::kBt709Full,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT709, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_FULL}},
    {YuvColour::kBt2020,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT2020, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_LIMITED}},
    {YuvColour::kBt2020Full,
     {WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT2020, WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_FULL}},
};

class ToldSurface : public ColourManager::Surface {
public:
    ToldSurface(wp_color_representation_manager_v1 *manager, wl_surface *surface) : manager_(manager), surface_(surface)
    {
    }
    ~ToldSurface() override { ToldSurface::tell(YuvColour::kUnsaid); }

    void tell(YuvColour colour) override
    {
        if (std::exchange(told_, colour) == colour)
            return;
        if (colour == YuvColour::kUnsaid) { // what was said of YUV would be an error of an RGB buffer
            wp_color_representation_surface_v1_destroy(std::exchange(object_, nullptr));
            return;
        }
        if (!object_)
            object_ = wp_color_representation_manager_v1_get_surface(manager_, surface_);
        for (const auto &[known, said] : kColours)
            if (known == colour)
                wp_color_representation_surface_v1_set_coefficients_and_range(object_, said.first, said.second);
    }

private:
    wp_color_representation_manager_v1 *manager_;
    wl_surface *surface_;
    wp_color_representation_surface_v1 *object_ = nullptr; ///< while something is said
    YuvColour told_ = YuvColour::kUnsaid;
};

class Manager : public ColourManager {
public:
    explicit Manager(wp_color_representation_manager_v1 *manager) : manager_(manager)
    {
        static const wp_color_representation_manager_v1_listener listener = {
            [](void *, wp_color_representation_manager_v1 *, std::uint32_t) {}, supported,
            [](void *, wp_color_representation_manager_v1 *) {}};
        wp_color_representation_manager_v1_add_listener(manager_, &listener, this);
    }
    ~Manager() override { wp_color_representation_manager_v1_destroy(manager_); }
    Manager(const Manager &) = delete;
    Manager &operator=(const Manager &) = delete;

    [[nodiscard]] YuvColourSet takes() const override { return takes_; }
    void use_default_queue() override { wl_proxy_set_queue(reinterpret_cast<wl_proxy *>(manager_), nullptr); }
    [[nodiscard]] std::unique_ptr<ColourManager::Surface> surface(wl_surface *surface) override
    {
        return std::make_unique<ToldSurface>(manager_, surface);
    }

private:
    static void supported(void *data, wp_color_representation_manager_v1 *, std::uint32_t coefficients,
                          std::uint32_t range)
    {
        for (const auto &[colour, said] : kColours)
            if (said == std::pair{coefficients, range})
                static_cast<Manager *>(data)->takes_ |= set_of(colour);
    }

    wp_color_representation_manager_v1 *manager_;
    YuvColourSet takes_ = 0;
};

} // namespace

std::unique_ptr<ColourManager> ColourManager::bind(wl_registry *registry, std::uint32_t name, const char *interface)
{
    if (std::string_view(interface) != wp_color_representation_manager_v1_interface.name)
        return nullptr;
    return std::make_unique<Manager>(static_cast<wp_color_representation_manager_v1 *>(
        wl_registry_bind(registry, name, &wp_color_representation_manager_v1_interface, 1)));
}

} // namespace spice_overlay
