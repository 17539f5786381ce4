// SPDX-License-Identifier: LGPL-2.1-or-later
#include "glib_sources.h"

#include <glib-unix.h>

#include <algorithm>

namespace spice_overlay {

struct MainTimer::Source {
    GSource base;
    std::int64_t at; ///< us of CLOCK_MONOTONIC; negative: never
    std::function<void()> *callback;

    static Source *of(GSource *source) { return reinterpret_cast<Source *>(source); }

    static gboolean prepare(GSource *source, int *timeout)
    {
        *timeout = -1;
        std::int64_t at = of(source)->at;
        if (at < 0)
            return FALSE;
        std::int64_t left = at - g_source_get_time(source);
        if (left > 0)
            *timeout = static_cast<int>(std::min<std::int64_t>((left + 999) / 1000, G_MAXINT));
        return left <= 0;
    }
    static gboolean check(GSource *source) { return of(source)->at >= 0 && of(source)->at <= g_source_get_time(source); }
    static gboolean dispatch(GSource *source, GSourceFunc, gpointer)
    {
        of(source)->at = -1;
        (*of(source)->callback)();
        return G_SOURCE_CONTINUE;
    }
    static void finalize(GSource *source) { delete of(source)->callback; }
};

MainTimer::MainTimer(std::function<void()> callback)
{
    static GSourceFuncs funcs = {Source::prepare, Source::check, Source::dispatch, Source::finalize, nullptr, nullptr};
    source_ = reinterpret_cast<Source *>(g_source_new(&funcs, sizeof(Source)));
    source_->at = -1;
    source_->callback = new std::function<void()>(std::move(callback));
    g_source_attach(&source_->base, nullptr);
}

MainTimer::~MainTimer()
{
    g_source_destroy(&source_->base);
    g_source_unref(&source_->base);
}

// Not g_source_set_ready_time(): that wakes the main loop once more, each time.
void MainTimer::set(std::int64_t at)
{
    // GLib keeps time in whole microseconds: rounded up, so that what was waited for is due when the callback runs.
    source_->at = at < 0 ? -1 : (at + 999) / 1000;
}

FdWatch::FdWatch(int fd, std::function<void()> callback)
{
    auto *heap = new std::function<void()>(std::move(callback));
    id_ = g_unix_fd_add_full(
        G_PRIORITY_DEFAULT, fd, static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR),
        [](int, GIOCondition, gpointer data) -> gboolean {
            auto call = *static_cast<std::function<void()> *>(data); // the watch may go while it runs
            call();
            return G_SOURCE_CONTINUE;
        },
        heap, [](gpointer data) { delete static_cast<std::function<void()> *>(data); });
}

FdWatch::~FdWatch()
{
    g_source_remove(id_);
}

struct CheckSource::Source {
    GSource base;
    std::function<bool()> *ready;
    std::function<void()> *dispatch;
};

CheckSource::CheckSource(std::function<bool()> ready, std::function<void()> dispatch)
{
    auto check = [](GSource *source) -> gboolean { return (*reinterpret_cast<Source *>(source)->ready)(); };
    static GSourceFuncs funcs = {[](GSource *source, int *timeout) -> gboolean {
                                     *timeout = -1;
                                     return (*reinterpret_cast<Source *>(source)->ready)();
                                 },
                                 check,
                                 [](GSource *source, GSourceFunc, gpointer) -> gboolean {
                                     (*reinterpret_cast<Source *>(source)->dispatch)();
                                     return G_SOURCE_CONTINUE;
                                 },
                                 [](GSource *source) {
                                     delete reinterpret_cast<Source *>(source)->ready;
                                     delete reinterpret_cast<Source *>(source)->dispatch;
                                 },
                                 nullptr, nullptr};
    source_ = reinterpret_cast<Source *>(g_source_new(&funcs, sizeof(Source)));
    source_->ready = new std::function<bool()>(std::move(ready));
    source_->dispatch = new std::function<void()>(std::move(dispatch));
    g_source_attach(&source_->base, nullptr);
}

CheckSource::~CheckSource()
{
    g_source_destroy(&source_->base);
    g_source_unref(&source_->base);
}

} // namespace spice_overlay
