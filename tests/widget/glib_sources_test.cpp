// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/widget/glib_sources.h"
#include "portclient/base/unique_fd.h"

#include <glib-unix.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <thread>

using namespace spice_overlay;

namespace {

constexpr std::int64_t kMs = 1'000'000;

/// Turns the main loop until `done`; how often it turned.
int turn_until(const std::function<bool()> &done, std::int64_t limit = 10'000 * kMs)
{
    int turns = 0;
    for (std::int64_t end = monotonic_now() + limit; !done() && monotonic_now() < end; ++turns)
        g_main_context_iteration(nullptr, TRUE);
    return turns;
}

/// Keeps the main loop from waiting for ever when a test goes wrong.
struct Deadline {
    guint id = g_timeout_add_seconds(
        10, [](gpointer) -> gboolean { return G_SOURCE_CONTINUE; }, nullptr);
    ~Deadline() { g_source_remove(id); }
};

} // namespace

TEST(GlibSources, timers_fire_in_order_and_without_an_iteration)
{
    Deadline deadline;
    std::string fired;
    MainTimer first([&] { fired += "1"; });
    MainTimer second([&] {
        fired += "2";
        return_to_glib();
    });
    second.set(monotonic_now() + 20 * kMs);
    first.set(monotonic_now() + 10 * kMs);
    turn_until([&] { return fired.size() == 2; });
    EXPECT_EQ(fired, "12");
}

TEST(GlibSources, descriptor_that_waits_anew_does_not_wake_the_loop_that_runs)
{
    Deadline deadline;
    MainTimer timer([] {});
    eventfd_t count;
    UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int woken = 0;
    GSource *waiting = nullptr;
    // As a SPICE channel does: one source for each time that it waits.
    std::function<void()> wait = [&] {
        waiting = g_unix_fd_source_new(fd.get(), G_IO_IN);
        g_source_set_callback(waiting, G_SOURCE_FUNC(+[](int, GIOCondition, gpointer data) -> gboolean {
                                  (*static_cast<std::function<void()> *>(data))();
                                  return G_SOURCE_REMOVE;
                              }),
                              &wait, nullptr);
        g_source_attach(waiting, nullptr);
        g_source_unref(waiting);
        ++woken;
        eventfd_read(fd.get(), &count);
    };
    wait();
    // It comes again when all that the last time left behind is over.
    MainTimer again([&] { eventfd_write(fd.get(), 1); });
    int turns = 0;
    while (woken <= 100 && turns < 1000) {
        again.set(monotonic_now() + kMs);
        g_main_context_iteration(nullptr, TRUE);
        ++turns;
    }
    g_source_destroy(waiting);
    EXPECT_EQ(woken, 101);
    EXPECT_LE(turns, 105);
}

TEST(GlibSources, nothing_that_another_thread_sends_is_lost)
{
    Deadline deadline;
    MainTimer timer([] {});
    constexpr int kTimes = 5'000;
    std::atomic<int> arrived = 0;
    std::atomic<bool> lost = false;
    std::thread other([&] {
        for (int i = 0; i < kTimes && !lost; ++i) {
            for (std::int64_t end = monotonic_now() + i % 500 * 40; monotonic_now() < end;) {
            } // comes at any moment of an iteration
            g_idle_add(
                [](gpointer data) -> gboolean {
                    ++*static_cast<std::atomic<int> *>(data);
                    return G_SOURCE_REMOVE;
                },
                &arrived);
            for (std::int64_t end = monotonic_now() + 5'000 * kMs; arrived <= i && !lost; std::this_thread::yield())
                lost = monotonic_now() > end;
        }
    });
    turn_until([&] { return arrived == kTimes || lost; }, 60'000 * kMs);
    other.join();
    EXPECT_EQ(arrived, kTimes);
}
