// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <wayland-client-core.h>

#include <cstdint>

namespace spice_overlay {

/// Listens to an object that has one kind of event (wl_callback, wl_buffer): calls `Handler` with `data`. A listener does the same through
/// libffi, which takes a thousand instructions for each event; these come with each frame.
template <auto Handler, typename T>
void listen_to_single_event(void *object, T *data)
{
    auto dispatch = [](const void *, void *target, std::uint32_t, const wl_message *, wl_argument *) {
        Handler(static_cast<T *>(wl_proxy_get_user_data(static_cast<wl_proxy *>(target))));
        return 0;
    };
    wl_proxy_add_dispatcher(static_cast<wl_proxy *>(object), dispatch, nullptr, data);
}

} // namespace spice_overlay
