// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port_stream.h"

#include <glib-unix.h>

#include <cerrno>
#include <unistd.h>

namespace spice_overlay::host {

namespace {

void remove(unsigned &source)
{
    if (source != 0)
        g_source_remove(source);
    source = 0;
}

} // namespace

PortStream::PortStream(PortEndpoint::Listener &listener, std::function<void()> hung_up)
    : listener_(listener), hung_up_(std::move(hung_up))
{
}

void PortStream::attach(int fd)
{
    detach();
    fd_ = fd;
    want_read(wanted_);
}

void PortStream::detach()
{
    remove(read_source_);
    remove(write_source_);
    remove(end_source_);
    fd_ = -1;
}

void PortStream::want_read(bool wanted)
{
    wanted_ = wanted;
    if (!wanted || fd_ < 0)
        remove(read_source_);
    else if (read_source_ == 0 && end_source_ == 0)
        read_source_ = g_unix_fd_add(fd_, G_IO_IN, [](int, GIOCondition, gpointer data) {
            static_cast<PortStream *>(data)->listener_.readable();
            return static_cast<gboolean>(G_SOURCE_CONTINUE);
        }, this);
}

// Not at once: whoever reads may be in the middle of something.
void PortStream::end_soon()
{
    remove(read_source_);
    if (end_source_ == 0)
        end_source_ = g_idle_add([](gpointer data) -> gboolean {
            auto *self = static_cast<PortStream *>(data);
            self->end_source_ = 0;
            self->hung_up_();
            return G_SOURCE_REMOVE;
        }, this);
}

std::size_t PortStream::read(std::span<std::uint8_t> bytes)
{
    if (fd_ < 0 || bytes.empty())
        return 0;
    ssize_t count = ::read(fd_, bytes.data(), bytes.size());
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
        end_soon(); // a pty says EIO when the last program has closed it
    return count > 0 ? static_cast<std::size_t>(count) : 0;
}

std::size_t PortStream::write(std::span<const std::uint8_t> bytes)
{
    if (fd_ < 0 || bytes.empty())
        return bytes.size();
    ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        return bytes.size(); // gone; what it wrote before is still to be read, so reading finds out
    std::size_t taken = count > 0 ? static_cast<std::size_t>(count) : 0;
    if (taken < bytes.size())
        watch_writable();
    return taken;
}

void PortStream::watch_writable()
{
    if (write_source_ == 0)
        write_source_ = g_unix_fd_add(fd_, static_cast<GIOCondition>(G_IO_OUT | G_IO_HUP | G_IO_ERR),
                                      [](int, GIOCondition, gpointer data) {
            auto *self = static_cast<PortStream *>(data);
            self->write_source_ = 0;
            self->listener_.writable();
            return static_cast<gboolean>(G_SOURCE_REMOVE);
        }, this);
}

} // namespace spice_overlay::host
