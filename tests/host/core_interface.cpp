// SPDX-License-Identifier: LGPL-2.1-or-later
#include "core_interface.h"

#include <glib-unix.h>
#include <glib.h>

struct SpiceTimer {
    SpiceTimerFunc func;
    void *opaque;
    guint source;
};

struct SpiceWatch {
    int fd;
    SpiceWatchFunc func;
    void *opaque;
    guint source;
};

namespace spice_overlay::host {

namespace {

std::function<void(int, int)> channel_handler;

SpiceTimer *timer_add(SpiceTimerFunc func, void *opaque)
{
    return new SpiceTimer{func, opaque, 0};
}

void timer_cancel(SpiceTimer *timer)
{
    if (timer->source != 0)
        g_source_remove(timer->source);
    timer->source = 0;
}

gboolean timer_due(gpointer data)
{
    auto *timer = static_cast<SpiceTimer *>(data);
    timer->source = 0; // first: func may start it again, or remove it
    timer->func(timer->opaque);
    return G_SOURCE_REMOVE;
}

void timer_start(SpiceTimer *timer, uint32_t ms)
{
    timer_cancel(timer);
    timer->source = g_timeout_add(ms, timer_due, timer);
}

void timer_remove(SpiceTimer *timer)
{
    timer_cancel(timer);
    delete timer;
}

gboolean watch_ready(int, GIOCondition condition, gpointer data)
{
    auto *watch = static_cast<SpiceWatch *>(data);
    int events = ((condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) ? SPICE_WATCH_EVENT_READ : 0) |
                 ((condition & G_IO_OUT) ? SPICE_WATCH_EVENT_WRITE : 0);
    watch->func(watch->fd, events, watch->opaque); // may remove the watch
    return G_SOURCE_CONTINUE;
}

void watch_update_mask(SpiceWatch *watch, int mask)
{
    if (watch->source != 0)
        g_source_remove(watch->source);
    watch->source = 0;
    auto condition = static_cast<GIOCondition>(((mask & SPICE_WATCH_EVENT_READ) ? G_IO_IN | G_IO_HUP | G_IO_ERR : 0) |
                                               ((mask & SPICE_WATCH_EVENT_WRITE) ? G_IO_OUT : 0));
    if (mask != 0)
        watch->source = g_unix_fd_add(watch->fd, condition, watch_ready, watch);
}

SpiceWatch *watch_add(int fd, int mask, SpiceWatchFunc func, void *opaque)
{
    auto *watch = new SpiceWatch{fd, func, opaque, 0};
    watch_update_mask(watch, mask);
    return watch;
}

void watch_remove(SpiceWatch *watch)
{
    watch_update_mask(watch, 0);
    delete watch;
}

void channel_event(int event, SpiceChannelEventInfo *info)
{
    if (channel_handler)
        channel_handler(event, info->type);
}

} // namespace

SpiceCoreInterface *core_interface()
{
    static SpiceCoreInterface core = [] {
        SpiceCoreInterface made{};
        made.base.type = SPICE_INTERFACE_CORE;
        made.base.description = "spice-overlay-host";
        made.base.major_version = SPICE_INTERFACE_CORE_MAJOR;
        made.base.minor_version = SPICE_INTERFACE_CORE_MINOR;
        made.timer_add = timer_add;
        made.timer_start = timer_start;
        made.timer_cancel = timer_cancel;
        made.timer_remove = timer_remove;
        made.watch_add = watch_add;
        made.watch_update_mask = watch_update_mask;
        made.watch_remove = watch_remove;
        made.channel_event = channel_event;
        return made;
    }();
    return &core;
}

void on_channel_event(std::function<void(int, int)> handler)
{
    channel_handler = std::move(handler);
}

} // namespace spice_overlay::host
