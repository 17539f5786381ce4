// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port_endpoint.h"
#include "port_stream.h"
#include "unix_listener.h"

#include <sys/socket.h>

namespace spice_overlay::host {

namespace {

class SocketEndpoint : public PortEndpoint {
public:
    explicit SocketEndpoint(Listener &listener) : listener_(listener), stream_(listener, [this] { hang_up(); }) {}

    Status start(const std::string &path)
    {
        auto socket = UnixListener::listen(path, [this](UniqueFd fd) {
            if (fd_.valid())
                return; // busy: closed on return
            fd_ = std::move(fd);
            listener_.opened();
            stream_.attach(fd_.get());
        });
        if (!socket)
            return socket.error();
        socket_ = std::move(socket).value();
        return Success{};
    }

    std::size_t read(std::span<std::uint8_t> bytes) override { return stream_.read(bytes); }
    std::size_t write(std::span<const std::uint8_t> bytes) override { return stream_.write(bytes); }
    void want_read(bool wanted) override { stream_.want_read(wanted); }
    void disconnect() override
    {
        if (fd_.valid())
            shutdown(fd_.get(), SHUT_RDWR);
        stream_.want_read(true);
    }

private:
    void hang_up()
    {
        stream_.detach();
        fd_.reset();
        listener_.closed();
    }

    Listener &listener_;
    UniqueFd fd_;
    PortStream stream_;
    UnixListener socket_;
};

} // namespace

Result<std::unique_ptr<PortEndpoint>> listen_on_socket(const std::string &path, PortEndpoint::Listener &listener)
{
    auto endpoint = std::make_unique<SocketEndpoint>(listener);
    if (auto started = endpoint->start(path); !started)
        return started.error();
    return std::unique_ptr<PortEndpoint>(std::move(endpoint));
}

} // namespace spice_overlay::host
