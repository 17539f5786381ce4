// SPDX-License-Identifier: LGPL-2.1-or-later
#include "spice_port.h"

#include <glib.h>
#include <spice/protocol.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace spice_overlay::host {

namespace {

constexpr std::size_t kMaxPending = 128 * 1024;
// spice-server allocates 64 KiB for each piece that it reads, however small: smaller ones are at least kQuiet apart.
constexpr std::size_t kSmall = 16 * 1024;
constexpr std::int64_t kQuiet = 500;   // µs
constexpr unsigned kRetry = 10;        // ms: spice-server has its fill, or no client; it does not say when that ends
constexpr std::int64_t kLongAgo = -1'000'000'000;

} // namespace

struct SpicePort::Callbacks {
    static SpicePort &of(SpiceCharDeviceInstance *instance) { return *reinterpret_cast<Instance *>(instance)->port; }

    static void state(SpiceCharDeviceInstance *instance, int connected)
    {
        SpicePort &port = of(instance);
        port.client_ = connected != 0;
        if (port.client_)
            port.wake_soon();
        else if (port.leaving_)
            port.end_program();
    }
    static int write(SpiceCharDeviceInstance *instance, const uint8_t *bytes, int count)
    {
        return of(instance).take(bytes, count);
    }
    static int read(SpiceCharDeviceInstance *instance, uint8_t *bytes, int room)
    {
        return of(instance).give(bytes, room);
    }
    static void event(SpiceCharDeviceInstance *, uint8_t) {} // the client may send break and the like: not for us
};

SpicePort::SpicePort(SpiceServer *server, const std::string &name, std::function<void(bool)> changed)
    : name_(name), changed_(std::move(changed)), last_wake_(kLongAgo)
{
    static const SpiceCharDeviceInterface table = [] {
        SpiceCharDeviceInterface made{};
        made.base.type = SPICE_INTERFACE_CHAR_DEVICE;
        made.base.description = "spice-overlay-host port";
        made.base.major_version = SPICE_INTERFACE_CHAR_DEVICE_MAJOR;
        made.base.minor_version = SPICE_INTERFACE_CHAR_DEVICE_MINOR;
        made.state = Callbacks::state;
        made.write = Callbacks::write;
        made.read = Callbacks::read;
        made.event = Callbacks::event;
        made.flags = SPICE_CHAR_DEVICE_NOTIFY_WRITABLE;
        return made;
    }();
    instance_.port = this;
    instance_.spice.base.sif = &table.base;
    instance_.spice.subtype = "port";
    instance_.spice.portname = name_.c_str();
    spice_server_add_interface(server, &instance_.spice.base);
}

SpicePort::~SpicePort()
{
    if (wake_source_ != 0)
        g_source_remove(wake_source_);
    if (log_ != nullptr)
        std::fclose(log_);
}

Status SpicePort::log_to(const std::string &path)
{
    log_ = std::fopen(path.c_str(), "wbe");
    if (log_ == nullptr)
        return Error{"cannot write '" + path + "': " + std::strerror(errno)};
    return Success{};
}

void SpicePort::announce()
{
    bool open = program_ && !forced_closed_;
    if (open == announced_)
        return;
    announced_ = open;
    spice_server_port_event(&instance_.spice, open ? SPICE_PORT_EVENT_OPENED : SPICE_PORT_EVENT_CLOSED);
}

void SpicePort::opened()
{
    if (leaving_)
        end_program(); // the next one is faster than the client: what the last one left is lost
    ++counters_.opened;
    program_ = true;
    announce();
    changed_(true);
    fill();
}

void SpicePort::closed()
{
    fill();
    leaving_ = true;
    // What it wrote still goes to a client that takes it; nobody waits for one that does not.
    if (!client_ || paused_ || forced_closed_ || pending_.size() == pending_from_)
        end_program();
    else
        wake_soon();
}

void SpicePort::end_program()
{
    counters_.discarded += pending_.size() - pending_from_;
    pending_.clear();
    pending_from_ = 0;
    leaving_ = false;
    program_ = false;
    announce();
    changed_(false);
}

void SpicePort::readable()
{
    fill();
}

void SpicePort::fill()
{
    std::array<std::uint8_t, 65536> bytes;
    while (endpoint_ && pending_.size() - pending_from_ < kMaxPending) {
        std::size_t count = endpoint_->read(bytes);
        if (count == 0)
            break;
        if (forced_closed_)
            counters_.discarded += count;
        else
            pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    }
    if (endpoint_)
        endpoint_->want_read(pending_.size() - pending_from_ < kMaxPending);
    if (pending_.size() > pending_from_)
        wake_soon();
}

// Never from inside write(): spice-server asserts that. So always from the main loop.
void SpicePort::wake_soon()
{
    if (wake_source_ != 0 || giving_)
        return;
    std::int64_t since = g_get_monotonic_time() - last_wake_;
    bool at_once = pending_.size() - pending_from_ >= kSmall || since >= kQuiet;
    auto due = [](gpointer data) -> gboolean {
        auto *self = static_cast<SpicePort *>(data);
        self->wake_source_ = 0;
        self->last_wake_ = g_get_monotonic_time();
        spice_server_char_device_wakeup(&self->instance_.spice);
        bool left = self->pending_.size() > self->pending_from_;
        if (left && !self->paused_ && self->wake_source_ == 0 && self->client_)
            self->wake_source_ = g_timeout_add(kRetry, reinterpret_cast<GSourceFunc>(+[](gpointer again) -> gboolean {
                static_cast<SpicePort *>(again)->wake_source_ = 0;
                static_cast<SpicePort *>(again)->wake_soon();
                return G_SOURCE_REMOVE;
            }), self);
        if (!left && self->leaving_)
            self->end_program();
        return G_SOURCE_REMOVE;
    };
    wake_source_ = at_once ? g_idle_add_full(G_PRIORITY_DEFAULT, due, this, nullptr)
                           : g_timeout_add(1, due, this);
}

int SpicePort::give(std::uint8_t *bytes, int room)
{
    if (paused_ || room <= 0)
        return 0;
    std::size_t count = std::min(pending_.size() - pending_from_, static_cast<std::size_t>(room));
    if (count == 0)
        return 0;
    std::memcpy(bytes, pending_.data() + pending_from_, count);
    pending_from_ += count;
    counters_.to_client += count;
    ++counters_.pieces_to_client;
    if (log_ != nullptr)
        std::fwrite(bytes, 1, count, log_);
    if (pending_from_ == pending_.size() || pending_from_ > kMaxPending) {
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(pending_from_));
        pending_from_ = 0;
    }
    giving_ = true;
    fill();
    if (!pending_.empty())
        spice_server_char_device_wakeup(&instance_.spice); // one wake-up reads one piece
    giving_ = false;
    return static_cast<int>(count);
}

int SpicePort::take(const std::uint8_t *bytes, int count)
{
    if (count <= 0)
        return 0;
    auto size = static_cast<std::size_t>(count);
    if (!program_ || leaving_ || forced_closed_ || !endpoint_) {
        counters_.discarded += size;
        return count;
    }
    std::size_t taken = endpoint_->write({bytes, size});
    counters_.to_guest += taken;
    ++counters_.pieces_to_guest;
    return static_cast<int>(taken);
}

void SpicePort::writable()
{
    wake_soon();
}

void SpicePort::pause(bool paused)
{
    paused_ = paused;
    if (!paused)
        wake_soon();
}

void SpicePort::force_closed(bool closed)
{
    forced_closed_ = closed;
    if (closed) {
        counters_.discarded += pending_.size() - pending_from_;
        pending_.clear();
        pending_from_ = 0;
    }
    announce();
    if (endpoint_)
        endpoint_->want_read(true);
}

void SpicePort::inject(std::vector<std::uint8_t> bytes)
{
    pending_.insert(pending_.begin() + static_cast<std::ptrdiff_t>(pending_from_), bytes.begin(), bytes.end());
    wake_soon();
}

void SpicePort::disconnect_program()
{
    if (endpoint_)
        endpoint_->disconnect();
}

} // namespace spice_overlay::host
