// SPDX-License-Identifier: LGPL-2.1-or-later
#include "end.h"

#include "portclient/base/clock.h"
#include "portclient/connection.h"
#include "portclient/port_channel.h"

#include <glib-unix.h>
#include <spice-client.h>

#include <algorithm>
#include <vector>

namespace spice_overlay::tool {

namespace {

constexpr std::int64_t kReconnect = 1'000'000'000; ///< ns, from the loss of a connection to the next try
constexpr std::size_t kEnough = 64 * 1024;         ///< bytes that wait to be sent: more would only grow old
constexpr std::size_t kMostNames = 1000;           ///< bytes

gboolean ignore(gpointer)
{
    return G_SOURCE_CONTINUE;
}

gboolean ignore_fd(gint, GIOCondition, gpointer)
{
    return G_SOURCE_CONTINUE;
}

/// Connects the main channel and ports, and nothing else of the desktop.
class ClientEnd final : public End, private PortChannel::Listener {
public:
    explicit ClientEnd(std::string name) : name_(std::move(name)) {}

    ~ClientEnd() override
    {
        watch({});
        channel_.reset();
        g_signal_handlers_disconnect_by_data(session_, this);
        GList *channels = spice_session_get_channels(session_);
        for (GList *item = channels; item; item = item->next)
            g_signal_handlers_disconnect_by_data(item->data, this);
        g_list_free(channels);
        spice_session_disconnect(session_);
        g_object_unref(session_);
    }

    Status start(const std::string &target)
    {
        auto called = configure_session(session_, target);
        if (!called)
            return called.error();
        called_ = *called;
        g_signal_connect(session_, "channel-new", G_CALLBACK(on_channel_new), this);
        channel_ = std::make_unique<PortChannel>(session_, name_, static_cast<PortChannel::Listener &>(*this));
        if (!spice_session_connect(session_))
            return Error{"cannot connect to " + called_ + ": check the address"};
        return Success{};
    }

    Status wait(std::int64_t until, bool to_write, std::span<const int> others, End::Listener &listener) override
    {
        std::int64_t now = monotonic_now();
        if (down_)
            come_up(now);
        if (down_)
            until = std::min(until, next_try_);
        watch(others);
        listener_ = &listener;
        std::int64_t ms = std::clamp<std::int64_t>((until - now + 999'999) / 1'000'000, 0, 3'600'000);
        if (to_write && open() && channel_->queued() < kEnough)
            ms = 0;
        guint timer = g_timeout_add(static_cast<guint>(ms), ignore, nullptr);
        g_main_context_iteration(nullptr, TRUE);
        g_source_remove(timer);
        listener_ = nullptr;
        if (!trouble_.empty() && !connected_)
            return Error{trouble_};
        return Success{};
    }

    std::size_t write(std::span<const std::uint8_t> bytes) override
    {
        std::size_t waiting = channel_->queued();
        if (waiting >= kEnough)
            return 0;
        bytes = bytes.first(std::min(bytes.size(), kEnough - waiting));
        return channel_->write(bytes) ? bytes.size() : 0;
    }

    bool open() const override { return channel_->is_open(); }
    std::size_t unsent() const override { return channel_->queued(); }
    const char *side() const override { return "client"; }

    std::string missing() const override
    {
        if (down_)
            return "the connection (" + trouble_ + ")";
        if (!connected_)
            return "the connection to " + called_;
        if (channel_->found())
            return "a program in the guest that opens the port " + name_;
        return "a port named " + name_
               + (other_ports_.empty() ? "; " + called_ + " has no port" : "; there are: " + other_ports_);
    }

private:
    /// A session takes a turn of the main loop to end, and can be connected again only then.
    void come_up(std::int64_t now)
    {
        if (next_try_ == 0) {
            spice_session_disconnect(session_);
            next_try_ = now + kReconnect;
        } else if (now >= next_try_) {
            down_ = false;
            other_ports_.clear();
            spice_session_connect(session_);
        }
    }

    /// Has the main loop wake up for these descriptors.
    void watch(std::span<const int> others)
    {
        if (std::ranges::equal(others, watched_))
            return;
        for (guint source : sources_)
            g_source_remove(source);
        sources_.clear();
        watched_.assign(others.begin(), others.end());
        for (int fd : watched_)
            sources_.push_back(g_unix_fd_add(fd, G_IO_IN, ignore_fd, nullptr));
    }

    void opened() override
    {
        if (listener_)
            listener_->opened();
    }
    void closed() override
    {
        if (listener_)
            listener_->closed();
    }
    void data(std::span<const std::uint8_t> bytes) override
    {
        if (listener_)
            listener_->data(bytes);
    }

    static void on_channel_new(SpiceSession *, SpiceChannel *channel, gpointer self)
    {
        if (SPICE_IS_PORT_CHANNEL(channel))
            g_signal_connect(channel, "notify::port-name", G_CALLBACK(on_port_name), self);
        if (!SPICE_IS_MAIN_CHANNEL(channel))
            return;
        g_signal_connect(channel, "channel-event", G_CALLBACK(on_main_event), self);
    }

    static void on_port_name(SpiceChannel *channel, GParamSpec *, gpointer self)
    {
        g_autofree char *name = nullptr;
        g_object_get(channel, "port-name", &name, nullptr);
        std::string &others = static_cast<ClientEnd *>(self)->other_ports_;
        if (name && others.size() < kMostNames)
            others += (others.empty() ? "" : ", ") + std::string(name);
    }

    static void on_main_event(SpiceChannel *channel, SpiceChannelEvent event, gpointer self)
    {
        auto *end = static_cast<ClientEnd *>(self);
        end->connected_ |= event == SPICE_CHANNEL_OPENED;
        std::string trouble = connection_trouble(channel, event, end->called_);
        if (trouble.empty() || end->down_)
            return;
        end->trouble_ = trouble;
        end->down_ = true;
        end->next_try_ = 0;
    }

    SpiceSession *session_ = spice_session_new();
    const std::string name_; ///< of the port
    std::string called_;     ///< the connection, in messages
    std::unique_ptr<PortChannel> channel_;
    End::Listener *listener_ = nullptr; ///< while it waits
    bool connected_ = false;            ///< has been, once
    bool down_ = false;
    std::int64_t next_try_ = 0; ///< ns; 0: the session is still to be ended
    std::string other_ports_;   ///< names, for people
    std::string trouble_;
    std::vector<int> watched_;
    std::vector<guint> sources_;
};

} // namespace

Result<std::unique_ptr<End>> open_client_end(const std::string &target, const std::string &name)
{
    auto end = std::make_unique<ClientEnd>(name);
    if (Status started = end->start(target); !started)
        return started.error();
    return std::unique_ptr<End>(std::move(end));
}

bool has_client_end()
{
    return true;
}

} // namespace spice_overlay::tool
