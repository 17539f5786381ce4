// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fence.h"

#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace spice_overlay {

namespace {

/// A device whose driver has no say in caches refuses, and needs nothing.
void synchronise(int dmabuf, std::uint64_t flags)
{
    dma_buf_sync sync{flags};
    while (::ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync) != 0 && (errno == EINTR || errno == EAGAIN)) {
    }
}

} // namespace

bool wait_until_unread(int dmabuf, std::chrono::milliseconds patience)
{
    const auto end = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd poll{dmabuf, POLLOUT, 0};
        const auto ms = std::max<long>(left.count(), 0);
        const timespec wait{ms / 1000, ms % 1000 * 1'000'000};
        const int ready = ::ppoll(&poll, 1, &wait, nullptr); // the one name of it that every architecture has
        if (ready >= 0 || errno != EINTR)
            return ready > 0;
    }
}

void begin_writing(int dmabuf)
{
    synchronise(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
}

void end_writing(int dmabuf)
{
    synchronise(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
}

void begin_reading(int dmabuf)
{
    synchronise(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
}

void end_reading(int dmabuf)
{
    synchronise(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
}

} // namespace spice_overlay
