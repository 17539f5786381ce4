// SPDX-License-Identifier: LGPL-2.1-or-later
#include "end.h"

#include "portclient/base/clock.h"
#include "portclient/device/port.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kRetry = 100'000'000; ///< ns: neither a port's return nor a client's can be waited for
constexpr int kReads = 16;                   ///< in a row, before anything else has its turn

class GuestEnd final : public End {
public:
    GuestEnd(std::string name, Port port) : name_(std::move(name)), port_(std::move(port)) {}

    Status wait(std::int64_t until, bool to_write, std::span<const int> others, Listener &listener) override
    {
        std::int64_t now = monotonic_now();
        if (!open_ && now >= next_try_) {
            next_try_ = now + kRetry;
            if (look(listener))
                return Success{};
        }
        std::vector<pollfd> fds;
        // Without a client a virtio port is always ready to tell so: it is left alone for a while.
        fds.push_back({open_ ? port_->fd() : -1, static_cast<short>(POLLIN | (to_write ? POLLOUT : 0)), 0});
        for (int fd : others)
            fds.push_back({fd, POLLIN, 0});
        std::int64_t left = std::max<std::int64_t>(0, (open_ ? until : std::min(until, next_try_)) - now);
        timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
        if (ppoll(fds.data(), fds.size(), &timeout, nullptr) < 0 && errno != EINTR)
            return Error{name_ + ": cannot wait for the port: " + std::strerror(errno)};
        if (open_ && (fds[0].revents & ~POLLOUT))
            read(listener);
        return Success{};
    }

    std::size_t write(std::span<const std::uint8_t> bytes) override
    {
        std::size_t total = 0, count = 0;
        while (open_ && total < bytes.size() && port_->write(bytes.subspan(total), count) == Port::Outcome::kDone)
            total += count;
        return total; // a port that is lost says so to whoever reads
    }

    bool open() const override { return open_; }
    std::size_t unsent() const override { return 0; }
    const char *side() const override { return "guest"; }

    std::string missing() const override
    {
        return port_ ? "a client that opens the port " + name_ : "the port (" + trouble_ + ")";
    }

private:
    /// Whether it has opened now.
    bool look(Listener &listener)
    {
        if (!port_) {
            auto path = find_port(name_);
            auto port = path ? Port::open(*path) : path.error();
            if (!port) {
                trouble_ = port.error().message;
                return false;
            }
            port_ = std::move(port).value();
        }
        if (!port_->present())
            return false;
        open_ = true;
        listener.opened();
        return true;
    }

    void read(Listener &listener)
    {
        for (int i = 0; i < kReads; i++) {
            std::size_t count = 0;
            switch (port_->read(buffer_, count)) {
            case Port::Outcome::kDone:
                listener.data(std::span(buffer_).first(count));
                break;
            case Port::Outcome::kLater:
                return;
            case Port::Outcome::kLost:
                port_.reset();
                trouble_ = "it was closed";
                [[fallthrough]];
            case Port::Outcome::kAbsent:
                open_ = false;
                next_try_ = monotonic_now() + kRetry;
                listener.closed();
                return;
            }
        }
    }

    const std::string name_;
    std::optional<Port> port_;
    std::string trouble_; ///< why there is no port
    bool open_ = false;
    std::int64_t next_try_ = 0;
    std::array<std::uint8_t, 65536> buffer_;
};

} // namespace

Result<std::unique_ptr<End>> open_guest_end(const std::string &port)
{
    auto path = find_port(port);
    if (!path)
        return path.error();
    auto device = Port::open(*path);
    if (!device)
        return device.error();
    return std::unique_ptr<End>(std::make_unique<GuestEnd>(port, std::move(device).value()));
}

} // namespace spice_overlay::tool
