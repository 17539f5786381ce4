// SPDX-License-Identifier: LGPL-2.1-or-later
#include "line_server.h"

#include <glib-unix.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace spice_overlay::host {

namespace {

constexpr std::size_t kMaxUnsent = 1u << 20;
constexpr std::size_t kMaxLine = 4096;

} // namespace

struct LineServer::Connection {
    LineServer *server;
    UniqueFd fd;
    std::string in;
    std::string out;
    unsigned read_source = 0;
    unsigned write_source = 0;
    bool dead = false; ///< failed; goes away when the main loop next looks at it
};

Result<std::unique_ptr<LineServer>> LineServer::listen(const std::string &path, Handlers handlers)
{
    std::unique_ptr<LineServer> server(new LineServer);
    LineServer *raw = server.get();
    server->handlers_ = std::move(handlers);
    auto listener = UnixListener::listen(path, [raw](UniqueFd fd) { raw->accept(std::move(fd)); });
    if (!listener)
        return listener.error();
    server->listener_ = std::move(listener).value();
    return server;
}

LineServer::~LineServer()
{
    while (!connections_.empty())
        drop(connections_.back().get());
}

void LineServer::accept(UniqueFd fd)
{
    connections_.push_back(std::make_unique<Connection>());
    Connection *connection = connections_.back().get();
    connection->server = this;
    connection->fd = std::move(fd);
    connection->read_source = g_unix_fd_add(connection->fd.get(), G_IO_IN, [](int, GIOCondition, gpointer data) {
        auto *self = static_cast<Connection *>(data);
        LineServer *server = self->server;
        if (!read(*self)) {
            server->drop(self);
            if (server->handlers_.left)
                server->handlers_.left();
        }
        return static_cast<gboolean>(G_SOURCE_CONTINUE);
    }, connection);
    if (handlers_.connected)
        handlers_.connected([this, connection](const std::string &line) { queue(*connection, line); });
}

bool LineServer::read(Connection &connection)
{
    char bytes[4096];
    ssize_t count = ::read(connection.fd.get(), bytes, sizeof bytes);
    if (connection.dead || count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    connection.in.append(bytes, count > 0 ? static_cast<std::size_t>(count) : 0);
    std::size_t end = 0;
    while ((end = connection.in.find('\n')) != std::string::npos) {
        std::string line = connection.in.substr(0, end);
        connection.in.erase(0, end + 1);
        if (connection.server->handlers_.received)
            connection.server->handlers_.received(line);
    }
    return connection.in.size() <= kMaxLine;
}

bool LineServer::write(Connection &connection)
{
    while (!connection.out.empty()) {
        ssize_t count = ::send(connection.fd.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
        connection.out.erase(0, static_cast<std::size_t>(count));
    }
    return true;
}

void LineServer::queue(Connection &connection, const std::string &line)
{
    connection.out += line;
    connection.out += '\n';
    if (connection.write_source == 0 && !connection.dead)
        connection.dead = !write(connection);
    if (connection.out.size() > kMaxUnsent || connection.dead) {
        // The read watch sees the shutdown and drops it: not here, where the caller may be walking the connections.
        connection.dead = true;
        connection.out.clear();
        shutdown(connection.fd.get(), SHUT_RDWR);
    } else if (!connection.out.empty() && connection.write_source == 0) {
        connection.write_source = g_unix_fd_add(connection.fd.get(), G_IO_OUT, [](int, GIOCondition, gpointer data) {
            auto *self = static_cast<Connection *>(data);
            bool good = write(*self);
            if (good && !self->out.empty())
                return static_cast<gboolean>(G_SOURCE_CONTINUE);
            self->write_source = 0;
            if (!good) {
                self->dead = true;
                shutdown(self->fd.get(), SHUT_RDWR);
            }
            return static_cast<gboolean>(G_SOURCE_REMOVE);
        }, &connection);
    }
}

void LineServer::drop(Connection *connection)
{
    if (connection->read_source != 0)
        g_source_remove(connection->read_source);
    if (connection->write_source != 0)
        g_source_remove(connection->write_source);
    std::erase_if(connections_, [&](const auto &item) { return item.get() == connection; });
}

void LineServer::send(const std::string &line)
{
    for (const auto &connection : connections_)
        queue(*connection, line);
}

} // namespace spice_overlay::host
