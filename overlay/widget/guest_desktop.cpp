// SPDX-License-Identifier: LGPL-2.1-or-later
#include "guest_desktop.h"

namespace spice_overlay {

struct GuestDesktopSignals {
    static GuestDesktop *self(gpointer data) { return static_cast<GuestDesktop *>(data); }

    static void channel_new(SpiceSession *, SpiceChannel *channel, gpointer data) { self(data)->add_channel(channel); }
    static void channel_destroy(SpiceSession *, SpiceChannel *channel, gpointer data)
    {
        self(data)->remove_channel(channel);
    }

    static void primary_create(SpiceChannel *, int format, int width, int height, int stride, int, gpointer pixels,
                               gpointer data)
    {
        if (format != SPICE_SURFACE_FMT_32_xRGB && format != SPICE_SURFACE_FMT_32_ARGB) {
            self(data)->trouble_(std::string("the guest's display has ")
                                 + (format == SPICE_SURFACE_FMT_16_555 || format == SPICE_SURFACE_FMT_16_565
                                        ? "16 bits a pixel"
                                        : "an unknown pixel format")
                                 + ", which is not shown: set it to 32 bits a pixel");
            return self(data)->set_picture({});
        }
        if (!pixels || width <= 0 || height <= 0 || width > 16384 || height > 16384 || stride % 4 != 0)
            return self(data)->set_picture({});
        self(data)->set_picture({static_cast<const std::uint32_t *>(pixels), stride / 4, width, height});
    }
    static void primary_destroy(SpiceChannel *, gpointer data) { self(data)->set_picture({}); }
    static void invalidate(SpiceChannel *, int x, int y, int width, int height, gpointer data)
    {
        self(data)->screen_.damaged(GuestRect::from_size(x, y, width, height), monotonic_now());
        self(data)->changed_();
    }

    static void cursor_set(SpiceChannel *, int width, int height, int hot_x, int hot_y, gpointer rgba, gpointer data)
    {
        if (!rgba || width <= 0 || height <= 0 || width > 512 || height > 512)
            return cursor_reset(nullptr, data);
        g_autoptr(GBytes) bytes = g_bytes_new(rgba, static_cast<gsize>(width) * static_cast<gsize>(height) * 4);
        g_autoptr(GdkTexture) texture =
            gdk_memory_texture_new(width, height, GDK_MEMORY_R8G8B8A8, bytes, static_cast<gsize>(width) * 4);
        g_autoptr(GdkCursor) cursor = gdk_cursor_new_from_texture(texture, CLAMP(hot_x, 0, width - 1),
                                                                  CLAMP(hot_y, 0, height - 1), nullptr);
        gtk_widget_set_cursor(self(data)->widget_, cursor);
    }
    static void cursor_hide(SpiceChannel *, gpointer data)
    {
        gtk_widget_set_cursor_from_name(self(data)->widget_, "none");
    }
    static void cursor_reset(SpiceChannel *, gpointer data) { gtk_widget_set_cursor(self(data)->widget_, nullptr); }
};

GuestDesktop::GuestDesktop(SpiceSession *session, GtkWidget *widget, Screen &screen, std::function<void()> changed,
                           std::function<void()> resized, std::function<void(const std::string &)> trouble)
    : widget_(widget),
      screen_(screen),
      changed_(std::move(changed)),
      resized_(std::move(resized)),
      trouble_(std::move(trouble))
{
    signals_.emplace_back(session, "channel-new", G_CALLBACK(GuestDesktopSignals::channel_new), this);
    signals_.emplace_back(session, "channel-destroy", G_CALLBACK(GuestDesktopSignals::channel_destroy), this);
}

void GuestDesktop::add_channel(SpiceChannel *channel)
{
    int id = 0;
    g_object_get(channel, "channel-id", &id, nullptr);
    if (id != 0)
        return;
    if (SPICE_IS_DISPLAY_CHANNEL(channel)) {
        signals_.emplace_back(channel, "display-primary-create", G_CALLBACK(GuestDesktopSignals::primary_create), this);
        signals_.emplace_back(channel, "display-primary-destroy", G_CALLBACK(GuestDesktopSignals::primary_destroy), this);
        signals_.emplace_back(channel, "display-invalidate", G_CALLBACK(GuestDesktopSignals::invalidate), this);
        spice_channel_connect(channel);
    } else if (SPICE_IS_CURSOR_CHANNEL(channel)) {
        signals_.emplace_back(channel, "cursor-set", G_CALLBACK(GuestDesktopSignals::cursor_set), this);
        signals_.emplace_back(channel, "cursor-hide", G_CALLBACK(GuestDesktopSignals::cursor_hide), this);
        signals_.emplace_back(channel, "cursor-reset", G_CALLBACK(GuestDesktopSignals::cursor_reset), this);
        spice_channel_connect(channel);
    }
}

void GuestDesktop::remove_channel(SpiceChannel *channel)
{
    if (SPICE_IS_DISPLAY_CHANNEL(channel))
        for (const SignalConnection &s : signals_)
            if (s.instance() == channel) {
                set_picture({});
                screen_.set_gone();
                resized_();
                break;
            }
    signals_.remove_if([channel](const SignalConnection &s) { return s.instance() == channel; });
}

void GuestDesktop::set_picture(const Picture &picture)
{
    bool resized = picture.width != picture_.width || picture.height != picture_.height;
    picture_ = picture;
    screen_.set_picture(picture, monotonic_now());
    if (resized)
        resized_();
    changed_();
}

} // namespace spice_overlay
