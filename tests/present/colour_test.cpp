// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/present/wayland/surface_colour.h"

#include "color-representation-v1-server-protocol.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <wayland-client.h>
#include <wayland-server.h>

#include <string>
#include <string_view>
#include <vector>

namespace spice_overlay {
namespace {

constexpr std::uint32_t kBt601 = WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT601;
constexpr std::uint32_t kBt709 = WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_BT709;
constexpr std::uint32_t kIctcp = WP_COLOR_REPRESENTATION_SURFACE_V1_COEFFICIENTS_ICTCP;
constexpr std::uint32_t kFull = WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_FULL;
constexpr std::uint32_t kLimited = WP_COLOR_REPRESENTATION_SURFACE_V1_RANGE_LIMITED;

/// A compositor that has color-representation and writes down what it is told, and its client, in one thread.
class Colours : public testing::Test {
protected:
    Colours()
    {
        server_ = wl_display_create();
        wl_global_create(server_, &wl_compositor_interface, 1, this, bind_compositor);
        wl_global_create(server_, &wp_color_representation_manager_v1_interface, 1, this, bind_manager);
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
            return;
        wl_client_create(server_, ends[0]);
        display_ = wl_display_connect_to_fd(ends[1]);
        static const wl_registry_listener listener = {announced, [](void *, wl_registry *, std::uint32_t) {}};
        registry_ = wl_display_get_registry(display_);
        wl_registry_add_listener(registry_, &listener, this);
        exchange();
        exchange();
        surface_ = wl_compositor_create_surface(compositor_);
    }
    ~Colours() override
    {
        manager.reset();
        wl_surface_destroy(surface_);
        wl_compositor_destroy(compositor_);
        wl_registry_destroy(registry_);
        wl_display_disconnect(display_);
        wl_display_destroy_clients(server_);
        wl_display_destroy(server_);
    }

    void exchange()
    {
        for (int i = 0; i < 4; ++i) {
            wl_display_flush(display_);
            wl_event_loop_dispatch(wl_display_get_event_loop(server_), 0);
            wl_display_flush_clients(server_);
            if (wl_display_prepare_read(display_) == 0)
                wl_display_read_events(display_);
            wl_display_dispatch_pending(display_);
        }
    }

    std::vector<std::string> said; ///< requests
    std::unique_ptr<ColourManager> manager;
    wl_surface *surface_ = nullptr;
    wl_display *display_ = nullptr; ///< the client's

private:
    static Colours *self(void *data) { return static_cast<Colours *>(data); }
    static void announced(void *data, wl_registry *registry, std::uint32_t name, const char *interface, std::uint32_t)
    {
        if (std::string_view(interface) == wl_compositor_interface.name)
            self(data)->compositor_ =
                static_cast<wl_compositor *>(wl_registry_bind(registry, name, &wl_compositor_interface, 1));
        else
            self(data)->manager = ColourManager::bind(registry, name, interface);
    }

    static void bind_compositor(wl_client *client, void *data, std::uint32_t version, std::uint32_t id)
    {
        static const struct wl_surface_interface surface = {
            [](wl_client *, wl_resource *r) { wl_resource_destroy(r); }};
        static const struct wl_compositor_interface implementation = {
            [](wl_client *c, wl_resource *, std::uint32_t surface_id) {
                wl_resource_set_implementation(wl_resource_create(c, &wl_surface_interface, 1, surface_id), &surface,
                                               nullptr, nullptr);
            },
            nullptr};
        wl_resource_set_implementation(
            wl_resource_create(client, &wl_compositor_interface, static_cast<int>(version), id), &implementation, data,
            nullptr);
    }
    static void bind_manager(wl_client *client, void *data, std::uint32_t version, std::uint32_t id)
    {
        static const struct wp_color_representation_manager_v1_interface implementation = {
            [](wl_client *, wl_resource *r) { wl_resource_destroy(r); }, get_surface};
        wl_resource *manager =
            wl_resource_create(client, &wp_color_representation_manager_v1_interface, static_cast<int>(version), id);
        wl_resource_set_implementation(manager, &implementation, data, nullptr);
        for (const auto &[coefficients, range] :
             {std::pair{kBt601, kLimited}, {kBt709, kLimited}, {kBt709, kFull}, {kIctcp, kFull}})
            wp_color_representation_manager_v1_send_supported_coefficients_and_ranges(manager, coefficients, range);
        wp_color_representation_manager_v1_send_done(manager);
    }
    static void get_surface(wl_client *client, wl_resource *manager, std::uint32_t id, wl_resource *)
    {
        static const struct wp_color_representation_surface_v1_interface implementation = {
            [](wl_client *, wl_resource *r) {
                self(wl_resource_get_user_data(r))->said.emplace_back("nothing");
                wl_resource_destroy(r);
            },
            nullptr,
            [](wl_client *, wl_resource *r, std::uint32_t coefficients, std::uint32_t range) {
                self(wl_resource_get_user_data(r))
                    ->said.push_back(std::to_string(coefficients) + "/" + std::to_string(range));
            },
            nullptr};
        wl_resource_set_implementation(wl_resource_create(client, &wp_color_representation_surface_v1_interface, 1, id),
                                       &implementation, wl_resource_get_user_data(manager), nullptr);
    }

    wl_display *server_ = nullptr;
    wl_registry *registry_ = nullptr;
    wl_compositor *compositor_ = nullptr;
};

TEST_F(Colours, that_the_compositor_can_be_told_are_those_that_it_names_and_we_know)
{
    ASSERT_TRUE(manager);
    EXPECT_EQ(manager->takes(), set_of(YuvColour::kBt601) | set_of(YuvColour::kBt709) | set_of(YuvColour::kBt709Full));
}

TEST_F(Colours, are_told_when_they_change_and_taken_back_for_rgb)
{
    auto colour = manager->surface(surface_);
    for (const YuvColour frame : {YuvColour::kBt709, YuvColour::kBt709, YuvColour::kBt709Full, YuvColour::kUnsaid,
                                  YuvColour::kUnsaid, YuvColour::kBt601})
        colour->tell(frame);
    exchange();
    EXPECT_EQ(said, (std::vector<std::string>{"2/2", "2/1", "nothing", "4/2"}));
    colour.reset();
    exchange();
    EXPECT_EQ(said.back(), "nothing");
    EXPECT_EQ(wl_display_get_error(display_), 0);
}

} // namespace
} // namespace spice_overlay
