// SPDX-License-Identifier: LGPL-2.1-or-later
#include "glib_sources.h"

#include <glib-unix.h>

#include <ctime>

namespace spice_overlay {

std::int64_t monotonic_now()
{
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct MainTimer::Source {
    GSource base;
    std::function<void()> *callback;
};

MainTimer::MainTimer(std::function<void()> callback)
{
    static GSourceFuncs funcs = {nullptr, nullptr,
                                 [](GSource *source, GSourceFunc, gpointer) -> gboolean {
                                     g_source_set_ready_time(source, -1);
                                     (*reinterpret_cast<Source *>(source)->callback)();
                                     return G_SOURCE_CONTINUE;
                                 },
                                 [](GSource *source) { delete reinterpret_cast<Source *>(source)->callback; }, nullptr, nullptr};
    source_ = reinterpret_cast<Source *>(g_source_new(&funcs, sizeof(Source)));
    source_->callback = new std::function<void()>(std::move(callback));
    g_source_attach(&source_->base, nullptr);
}

MainTimer::~MainTimer()
{
    g_source_destroy(&source_->base);
    g_source_unref(&source_->base);
}

void MainTimer::set(std::int64_t at)
{
    // GLib keeps time in whole microseconds: rounded up, so that what was waited for is due when the callback runs.
    g_source_set_ready_time(&source_->base, at < 0 ? -1 : (at + 999) / 1000);
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
