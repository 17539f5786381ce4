// SPDX-License-Identifier: LGPL-2.1-or-later
// The client of a port, without a screen: takes all streams, is through with each unit at once, and prints when which
// geometry of a visible picture came. `spice-overlay-geometry-client URI PORT`; lines of
//   geometry RECEIVED X Y     ns of CLOCK_MONOTONIC, guest pixels
//   units COUNT               so far, once a second
#include "portclient/base/clock.h"
#include "portclient/connection.h"
#include "portclient/port_channel.h"
#include "portclient/session.h"

#include <spice-client.h>

#include <cinttypes>
#include <cstdio>
#include <random>

using namespace spice_overlay;

namespace {

wire::Hello announcement()
{
    wire::Hello hello;
    hello.name = "geometry client";
    hello.max_streams = 16;
    hello.codecs = {{.codec = wire::Codec::kH264}};
    return hello;
}

class Client : PortChannel::Listener, Session::Listener {
public:
    Client(SpiceSession *spice, const char *port) : channel_(spice, port, *this) {}

private:
    void opened() override
    {
        session_.port_opened(monotonic_now(), std::random_device{}() | 1u);
        tick();
    }
    void closed() override { session_.port_closed(); }
    void data(std::span<const std::uint8_t> bytes) override
    {
        received_ = monotonic_now();
        session_.feed(bytes, received_);
        for (; units_ > 0; units_--)
            session_.units_done(stream_, 1, received_);
        tick();
    }

    wire::Reason open(const wire::StreamOpen &stream) override
    {
        stream_ = stream.stream;
        return wire::Reason::kNone;
    }
    void geometry(const wire::Geometry &geometry) override
    {
        if (!geometry.visible.empty())
            std::printf("geometry %" PRId64 " %d %d\n", received_, geometry.target.x, geometry.target.y);
    }
    void access_unit(const wire::AccessUnit &) override
    {
        units_++;
        all_units_++;
    }
    void play_state(const wire::PlayState &) override {}
    void close(std::uint32_t, wire::Reason) override { units_ = 0; }
    void transmit(std::span<const std::uint8_t> bytes) override { channel_.write(bytes); }

    /// Does what is due, and comes back for what will be.
    void tick()
    {
        std::int64_t now = monotonic_now();
        if (now - told_ >= 1'000'000'000) {
            std::printf("units %" PRIu64 "\n", all_units_);
            told_ = now;
        }
        std::int64_t next = session_.tick(now);
        if (timer_)
            g_source_remove(timer_);
        timer_ = 0;
        if (next < 0)
            return;
        auto ms = static_cast<guint>(std::max<std::int64_t>(0, (next - now + 999'999) / 1'000'000));
        timer_ = g_timeout_add(
            ms,
            [](gpointer self) -> gboolean {
                static_cast<Client *>(self)->timer_ = 0;
                static_cast<Client *>(self)->tick();
                return G_SOURCE_REMOVE;
            },
            this);
    }

    Session session_{announcement(), *this};
    PortChannel channel_;
    std::uint32_t stream_ = 0, units_ = 0;
    std::uint64_t all_units_ = 0;
    std::int64_t received_ = 0, told_ = 0; ///< ns of CLOCK_MONOTONIC
    guint timer_ = 0;
};

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::fprintf(stderr, "usage: spice-overlay-geometry-client URI PORT\n");
        return 2;
    }
    setvbuf(stdout, nullptr, _IOLBF, 0);
    SpiceSession *spice = spice_session_new();
    if (auto called = configure_session(spice, argv[1]); !called) {
        std::fprintf(stderr, "%s\n", called.error().message.c_str());
        return 1;
    }
    Client client(spice, argv[2]);
    spice_session_connect(spice);
    g_main_loop_run(g_main_loop_new(nullptr, FALSE));
}
