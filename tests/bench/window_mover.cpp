// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes the topmost window of a display small, and moves it from place to place, never twice to the same.
// `spice-overlay-window-mover COUNT`; lines of
//   moved REQUESTED EVENT X     ns of CLOCK_MONOTONIC: when it was asked for, and when the X server's event came
#include "portclient/base/clock.h"

#include <xcb/xcb.h>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

constexpr int kMostMoves = 600;
constexpr std::uint32_t kSize[] = {640, 360};

xcb_window_t topmost(xcb_connection_t *x)
{
    const xcb_window_t root = xcb_setup_roots_iterator(xcb_get_setup(x)).data->root;
    xcb_query_tree_reply_t *tree = xcb_query_tree_reply(x, xcb_query_tree(x, root), nullptr);
    int count = tree ? xcb_query_tree_children_length(tree) : 0;
    xcb_window_t found = XCB_WINDOW_NONE;
    while (count-- > 0 && !found) {
        const xcb_window_t window = xcb_query_tree_children(tree)[count];
        auto *about = xcb_get_window_attributes_reply(x, xcb_get_window_attributes(x, window), nullptr);
        if (about && about->map_state == XCB_MAP_STATE_VIEWABLE)
            found = window;
        std::free(about);
    }
    std::free(tree);
    return found;
}

} // namespace

int main(int argc, char **argv)
{
    int count = argc == 2 ? std::atoi(argv[1]) : 0;
    if (count < 1 || count > kMostMoves) {
        std::fprintf(stderr, "usage: spice-overlay-window-mover COUNT (at most %d)\n", kMostMoves);
        return 2;
    }
    setvbuf(stdout, nullptr, _IOLBF, 0);
    xcb_connection_t *x = xcb_connect(nullptr, nullptr);
    xcb_window_t window = XCB_WINDOW_NONE;
    if (xcb_connection_has_error(x) == 0)
        window = topmost(x);
    if (window == XCB_WINDOW_NONE) {
        std::fprintf(stderr, "no X server, or no window on it\n");
        return 1;
    }
    xcb_configure_window(x, window, XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT, kSize);
    xcb_flush(x);
    std::this_thread::sleep_for(std::chrono::seconds(2)); // the player paints its window again
    const std::uint32_t events = XCB_EVENT_MASK_STRUCTURE_NOTIFY;
    xcb_change_window_attributes(x, window, XCB_CW_EVENT_MASK, &events);
    for (int i = 0; i < count; i++) {
        // Out of step with pictures and with screens.
        std::this_thread::sleep_for(std::chrono::milliseconds(40 + i * 37 % 61));
        const std::uint32_t to = static_cast<std::uint32_t>(11 + i * 7 % 613);
        std::int64_t asked = spice_overlay::monotonic_now();
        xcb_configure_window(x, window, XCB_CONFIG_WINDOW_X, &to);
        xcb_flush(x);
        for (bool there = false; !there;) {
            xcb_generic_event_t *event = xcb_wait_for_event(x);
            if (!event) {
                std::fprintf(stderr, "the X server is gone, or has no such window\n");
                return 1;
            }
            std::int64_t now = spice_overlay::monotonic_now();
            auto *moved = reinterpret_cast<xcb_configure_notify_event_t *>(event);
            there = event->response_type == XCB_CONFIGURE_NOTIFY && moved->x == static_cast<int>(to);
            if (there)
                std::printf("moved %" PRId64 " %" PRId64 " %u\n", asked, now, to);
            std::free(event);
        }
    }
    xcb_disconnect(x);
}
