// SPDX-License-Identifier: LGPL-2.1-or-later
#include "glib_sources.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace spice_overlay {

namespace {

/// The descriptor with which GLib wakes the default main context; -1 when it cannot be told from others.
int wake_up_descriptor()
{
    GMainContext *context = g_main_context_default();
    if (!g_main_context_acquire(context))
        return -1;
    std::array<GPollFD, 64> fds;
    int timeout = 0;
    int count = g_main_context_query(context, G_MAXINT, &timeout, fds.data(), fds.size());
    g_main_context_release(context);
    int found = -1;
    for (int i = 0; i < std::min<int>(count, fds.size()); ++i) {
        std::error_code error;
        auto what = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fds[i].fd), error);
        if (what != "anon_inode:[eventfd]")
            continue;
        if (found >= 0)
            return -1;
        found = fds[i].fd;
    }
    return found;
}

/// A source adds and removes a descriptor each time that it waits for it, as every SPICE channel does for every message, and with
/// each GLib wakes the loop that is running already: a whole iteration for nothing. So what has woken it before it asks its
/// sources is forgotten. What wakes it after that, from another thread, is not.
class WakeUpFilter {
public:
    WakeUpFilter()
    {
        static GSourceFuncs functions = {forget, nullptr, nullptr, nullptr, nullptr, nullptr};
        int fd = wake_up_descriptor();
        if (fd < 0)
            return;
        source_ = reinterpret_cast<Source *>(g_source_new(&functions, sizeof(Source)));
        source_->fd = fd;
        g_source_set_priority(&source_->base, G_MININT); // asked before all others
        g_source_attach(&source_->base, nullptr);
    }
    ~WakeUpFilter()
    {
        if (!source_)
            return;
        g_source_destroy(&source_->base);
        g_source_unref(&source_->base);
    }
    WakeUpFilter(const WakeUpFilter &) = delete;
    WakeUpFilter &operator=(const WakeUpFilter &) = delete;

private:
    struct Source {
        GSource base;
        int fd;
    };

    static gboolean forget(GSource *source, int *timeout)
    {
        eventfd_t count;
        (void)eventfd_read(reinterpret_cast<Source *>(source)->fd, &count); // it does not block
        *timeout = -1;
        return FALSE;
    }

    Source *source_ = nullptr;
};

} // namespace

/// The timers and watches, and GLib's poll function while there are any.
struct PollHook {
    GPollFunc previous = nullptr;
    std::vector<MainTimer *> timers;
    std::vector<FdWatch *> watches;
    bool leave = false;
    std::int64_t woken = 0; ///< when the last wait ended; 0: there was none yet
    DurationHistogram busy;
    std::optional<WakeUpFilter> filter;
    std::vector<GPollFD> fds;        ///< of one poll
    std::vector<FdWatch *> watching; ///< the watches among them

    static PollHook &get()
    {
        static PollHook hook;
        return hook;
    }

    template <typename T>
    void add(std::vector<T *> &list, T *item)
    {
        if (timers.empty() && watches.empty() && !previous) {
            previous = g_main_context_get_poll_func(nullptr);
            g_main_context_set_poll_func(nullptr, poll);
            filter.emplace();
        }
        list.push_back(item);
    }

    template <typename T>
    void remove(std::vector<T *> &list, T *item)
    {
        std::erase(list, item);
        // Somebody who came later may call us from his own function: then it stays.
        if (timers.empty() && watches.empty() && g_main_context_get_poll_func(nullptr) == poll) {
            g_main_context_set_poll_func(nullptr, std::exchange(previous, nullptr));
            filter.reset();
            woken = 0;
        }
    }

    /// The timer that is due first; null: none is set.
    [[nodiscard]] MainTimer *first() const
    {
        MainTimer *first = nullptr;
        for (MainTimer *timer : timers)
            if (timer->at_ >= 0 && (!first || timer->at_ < first->at_))
                first = timer;
        return first;
    }

    // A callback may set timers, make and destroy them; one that is due at once again has its turn after the next poll.
    void run_timers(std::int64_t now)
    {
        for (std::size_t turns = timers.size(); turns > 0; --turns) {
            MainTimer *timer = first();
            if (!timer || timer->at_ > now)
                break;
            timer->at_ = -1;
            timer->callback_();
        }
    }

    /// Calls the watches whose descriptors, from `polled` on, are ready.
    void run_watches(const GPollFD *polled)
    {
        for (std::size_t i = 0; i < watching.size(); ++i) {
            if (!polled[i].revents || std::find(watches.begin(), watches.end(), watching[i]) == watches.end())
                continue;
            auto call = watching[i]->callback_; // the watch may go while it runs
            call();
        }
    }

    /// ms to `end`, or to the first timer when that is sooner; negative: for ever.
    [[nodiscard]] int wait(std::int64_t now, std::int64_t end) const
    {
        if (MainTimer *timer = first(); timer && (end < 0 || timer->at_ < end))
            end = timer->at_;
        if (end < 0)
            return -1;
        std::int64_t left = std::max<std::int64_t>(end - now, 0);
        return static_cast<int>(std::min<std::int64_t>((left + 999'999) / 1'000'000, G_MAXINT));
    }

    /// One wait, as the function of GLib's does it, and what it says about the turn that it ends.
    int wait_for_events(GPollFunc function, int timeout)
    {
        if (woken)
            busy.add(monotonic_now() - woken);
        const int ready = function(fds.data(), static_cast<unsigned>(fds.size()), timeout);
        woken = monotonic_now();
        return ready;
    }

    static int poll(GPollFD *glib_fds, unsigned count, int timeout)
    {
        PollHook &hook = get();
        const GPollFunc previous = hook.previous; // a callback may destroy the last of us
        hook.leave = false;
        std::int64_t now = monotonic_now();
        const std::int64_t end = timeout < 0 ? -1 : now + std::int64_t{timeout} * 1'000'000;
        for (;;) {
            hook.run_timers(now);
            hook.watching = hook.watches;
            hook.fds.resize(count + hook.watching.size());
            GPollFD *own = std::copy(glib_fds, glib_fds + count, hook.fds.data());
            for (std::size_t i = 0; i < hook.watching.size(); ++i)
                own[i] = {hook.watching[i]->fd_, G_IO_IN | G_IO_HUP | G_IO_ERR, 0};
            int ready = hook.wait_for_events(previous, hook.leave || timeout == 0 ? 0 : hook.wait(now, end));
            if (ready < 0)
                return ready;
            std::copy(hook.fds.data(), own, glib_fds);
            if (ready > 0) {
                ready -= static_cast<int>(
                    std::count_if(own, own + hook.watching.size(), [](const GPollFD &fd) { return fd.revents != 0; }));
                hook.run_watches(own);
            }
            if (ready || hook.leave || timeout == 0)
                return ready;
            now = monotonic_now();
            if (end >= 0 && now >= end)
                return 0;
        }
    }
};

MainTimer::MainTimer(std::function<void()> callback) : callback_(std::move(callback))
{
    PollHook::get().add(PollHook::get().timers, this);
}

MainTimer::~MainTimer()
{
    PollHook::get().remove(PollHook::get().timers, this);
}

FdWatch::FdWatch(int fd, std::function<void()> callback) : fd_(fd), callback_(std::move(callback))
{
    PollHook::get().add(PollHook::get().watches, this);
}

FdWatch::~FdWatch()
{
    PollHook::get().remove(PollHook::get().watches, this);
}

const DurationHistogram &main_loop_turns()
{
    return PollHook::get().busy;
}

void return_to_glib()
{
    PollHook::get().leave = true;
}

} // namespace spice_overlay
