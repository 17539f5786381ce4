// SPDX-License-Identifier: LGPL-2.1-or-later
#include "test_client.h"

#include <cstring>

namespace spice_overlay::host::testing_tools {

namespace {

Client &of(gpointer data)
{
    return *static_cast<Client *>(data);
}

void port_opened(SpicePortChannel *channel, GParamSpec *, gpointer data)
{
    gboolean opened = FALSE;
    g_object_get(channel, "port-opened", &opened, nullptr);
    of(data).port_events += opened ? "OPENED " : "CLOSED ";
}

void take_port_data(SpicePortChannel *, gpointer bytes, int size, gpointer data)
{
    auto *from = static_cast<const std::uint8_t *>(bytes);
    of(data).port_data.insert(of(data).port_data.end(), from, from + size);
}

void invalidate(SpiceDisplayChannel *, gint, gint, gint, gint, gpointer data)
{
    ++of(data).invalidations;
    of(data).last_invalidation = g_get_monotonic_time();
}

void channel_event(SpiceChannel *channel, SpiceChannelEvent event, gpointer data)
{
    of(data).inputs_opened |= SPICE_IS_INPUTS_CHANNEL(channel) && event == SPICE_CHANNEL_OPENED;
    of(data).closed_channels += event == SPICE_CHANNEL_CLOSED;
}

void take_cursor(SpiceCursorChannel *, gint, gint, gint, gint, gpointer, gpointer data)
{
    of(data).cursor_set = true;
}

void written(GObject *source, GAsyncResult *result, gpointer data)
{
    GError *error = nullptr;
    spice_port_channel_write_finish(SPICE_PORT_CHANNEL(source), result, &error);
    of(data).port_write_failed |= error != nullptr;
    g_clear_error(&error);
    --of(data).port_writes_left;
}

} // namespace

Client::Client(const std::string &unix_path)
{
    session = spice_session_new();
    g_object_set(session, "unix-path", unix_path.c_str(), nullptr);
    g_signal_connect(session, "channel-new", G_CALLBACK(+[](SpiceSession *, SpiceChannel *channel, gpointer data) {
        Client &client = of(data);
        if (SPICE_IS_DISPLAY_CHANNEL(channel)) {
            client.display = SPICE_DISPLAY_CHANNEL(channel);
            g_signal_connect(channel, "display-primary-create",
                             G_CALLBACK(+[](SpiceChannel *, gint, gint w, gint h, gint stride, gint, gpointer pixels,
                                            gpointer user) {
                of(user).width = w;
                of(user).height = h;
                of(user).stride_ = stride;
                of(user).primary_ = static_cast<const std::uint8_t *>(pixels);
            }), &client);
            g_signal_connect(channel, "display-primary-destroy",
                             G_CALLBACK(+[](SpiceChannel *, gpointer user) { of(user).primary_ = nullptr; }), &client);
            g_signal_connect(channel, "display-invalidate", G_CALLBACK(invalidate), &client);
        } else if (SPICE_IS_INPUTS_CHANNEL(channel)) {
            client.inputs = SPICE_INPUTS_CHANNEL(channel);
        } else if (SPICE_IS_CURSOR_CHANNEL(channel)) {
            client.cursor = SPICE_CURSOR_CHANNEL(channel);
            g_signal_connect(channel, "cursor-set", G_CALLBACK(take_cursor), &client);
        } else if (SPICE_IS_PORT_CHANNEL(channel)) {
            client.port = SPICE_PORT_CHANNEL(channel);
            g_signal_connect(channel, "notify::port-opened", G_CALLBACK(port_opened), &client);
            g_signal_connect(channel, "port-data", G_CALLBACK(take_port_data), &client);
        } else if (SPICE_IS_MAIN_CHANNEL(channel)) {
            client.main = SPICE_MAIN_CHANNEL(channel);
        } else {
            return;
        }
        g_signal_connect(channel, "channel-event", G_CALLBACK(channel_event), &client);
        spice_channel_connect(channel);
    }), this);
    spice_session_connect(session);
}

Client::~Client()
{
    GList *channels = spice_session_get_channels(session);
    for (GList *item = channels; item != nullptr; item = item->next)
        g_signal_handlers_disconnect_by_data(item->data, this);
    g_list_free(channels);
    g_signal_handlers_disconnect_by_data(session, this);
    spice_session_disconnect(session);
    for (int i = 0; i < 100 && g_main_context_iteration(nullptr, FALSE); ++i) {
    } // the channels' coroutines end, which still ask the session
    g_object_unref(session);
}

std::vector<std::uint32_t> Client::picture() const
{
    if (primary_ == nullptr)
        return {};
    std::vector<std::uint32_t> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (int y = 0; y < height; ++y)
        std::memcpy(pixels.data() + static_cast<std::ptrdiff_t>(y) * width,
                    primary_ + static_cast<std::ptrdiff_t>(y) * stride_, static_cast<std::size_t>(width) * 4);
    for (std::uint32_t &pixel : pixels)
        pixel &= 0xFFFFFF;
    return pixels;
}

void Client::send_to_port(std::vector<std::uint8_t> bytes)
{
    written_.push_back(std::move(bytes));
    ++port_writes_left;
    spice_port_channel_write_async(port, written_.back().data(), written_.back().size(), nullptr, written, this);
}

} // namespace spice_overlay::host::testing_tools
