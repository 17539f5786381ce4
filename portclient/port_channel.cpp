// SPDX-License-Identifier: LGPL-2.1-or-later
#include "port_channel.h"

#include <spice-client.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace spice_overlay {

namespace {

// A port channel and nothing derived from it: the WebDAV channel is a port channel too, and has its own users.
bool is_plain_port(SpiceChannel *channel)
{
    return G_OBJECT_TYPE(channel) == SPICE_TYPE_PORT_CHANNEL;
}

bool somebody_listens(SpiceChannel *channel)
{
    for (const char *name : {"port-data", "port-event"})
        if (g_signal_has_handler_pending(channel, g_signal_lookup(name, SPICE_TYPE_PORT_CHANNEL), 0, FALSE))
            return true;
    return false;
}

} // namespace

struct PortChannel::Private {
    // One write at a time. Its bytes are lent to the channel until the callback, which may come after we are gone.
    struct Write {
        std::vector<std::uint8_t> bytes;
        Private *owner;
    };

    Private(SpiceSession *session, std::string name, Listener &listener)
        : session_(SPICE_SESSION(g_object_ref(session))), name_(std::move(name)), listener_(listener)
    {
        g_signal_connect(session_, "channel-new", G_CALLBACK(on_channel_new), this);
        g_signal_connect(session_, "channel-destroy", G_CALLBACK(on_channel_destroy), this);
        // Later, since a port that is open already would call a listener whose PortChannel is not made yet.
        first_look_ = g_idle_add(on_first_look, this);
    }

    ~Private()
    {
        if (first_look_)
            g_source_remove(first_look_);
        abandon_write();
        g_signal_handlers_disconnect_by_data(session_, this);
        while (!watched_.empty())
            forget(watched_.back());
        g_object_unref(session_);
    }

    void watch(SpiceChannel *channel)
    {
        if (!is_plain_port(channel) || std::ranges::find(watched_, channel) != watched_.end())
            return;
        watched_.push_back(SPICE_CHANNEL(g_object_ref(channel)));
        // Of what a connected channel notifies, the name comes last.
        g_signal_connect(channel, "notify::port-name", G_CALLBACK(on_state), this);
        g_signal_connect(channel, "notify::port-opened", G_CALLBACK(on_state), this);
        g_signal_connect(channel, "channel-event", G_CALLBACK(on_channel_event), this);
        g_signal_connect(channel, "port-data", G_CALLBACK(on_data), this); // now, so that somebody_listens() finds it
        if (!look_at(channel))
            spice_channel_connect(channel); // does nothing when it is connected or connecting
    }

    void forget(SpiceChannel *channel)
    {
        auto found = std::ranges::find(watched_, channel);
        if (found == watched_.end())
            return;
        watched_.erase(found);
        g_signal_handlers_disconnect_by_data(channel, this);
        if (port_ == channel)
            port_ = nullptr;
        g_object_unref(channel);
    }

    // Acts on what the channel says of itself. False: it has not told its name yet.
    bool look_at(SpiceChannel *channel)
    {
        char *name = nullptr;
        gboolean opened = FALSE;
        g_object_get(channel, "port-name", &name, "port-opened", &opened, nullptr);
        if (!name)
            return false;
        bool ours = name_ == name;
        g_free(name);
        if (!ours) {
            g_object_ref(channel);
            forget(channel);
            if (!somebody_listens(channel))
                spice_channel_disconnect(channel, SPICE_CHANNEL_CLOSED);
            g_object_unref(channel);
            return true;
        }
        if (!port_)
            port_ = channel;
        if (port_ == channel)
            set_open(opened);
        return true;
    }

    void set_open(bool open)
    {
        if (std::exchange(open_, open) == open)
            return;
        queue_.clear();
        if (open)
            listener_.opened();
        else
            listener_.closed();
    }

    void lost(SpiceChannel *channel)
    {
        if (port_ != channel)
            return;
        port_ = nullptr;
        abandon_write();
        set_open(false);
    }

    std::size_t queued() const { return queue_.size() + (write_ ? write_->bytes.size() : 0); }

    bool write(std::span<const std::uint8_t> bytes)
    {
        if (!open_ || bytes.size() > kMaxQueued - std::min(queued(), kMaxQueued))
            return false;
        queue_.insert(queue_.end(), bytes.begin(), bytes.end());
        start_write();
        return true;
    }

    void start_write()
    {
        if (write_ || queue_.empty() || !open_)
            return;
        write_ = new Write{std::exchange(queue_, {}), this};
        spice_port_channel_write_async(SPICE_PORT_CHANNEL(port_), write_->bytes.data(), write_->bytes.size(), nullptr,
                                       on_written, write_);
    }

    // Its callback frees it, should one still come.
    void abandon_write()
    {
        if (write_)
            write_->owner = nullptr;
        write_ = nullptr;
    }

    static void on_written(GObject *channel, GAsyncResult *result, gpointer data)
    {
        std::unique_ptr<Write> write(static_cast<Write *>(data));
        GError *error = nullptr;
        spice_port_channel_write_finish(SPICE_PORT_CHANNEL(channel), result, &error);
        if (error)
            g_debug("write to the port failed: %s", error->message); // the channel's own events say what comes of it
        g_clear_error(&error);
        if (write->owner) {
            write->owner->write_ = nullptr;
            write->owner->start_write();
        }
    }

    static gboolean on_first_look(gpointer self)
    {
        auto *p = static_cast<Private *>(self);
        p->first_look_ = 0;
        GList *channels = spice_session_get_channels(p->session_);
        for (GList *item = channels; item; item = item->next)
            p->watch(SPICE_CHANNEL(item->data));
        g_list_free(channels);
        return G_SOURCE_REMOVE;
    }

    static void on_channel_new(SpiceSession *, SpiceChannel *channel, gpointer self)
    {
        static_cast<Private *>(self)->watch(channel);
    }

    static void on_channel_destroy(SpiceSession *, SpiceChannel *channel, gpointer self)
    {
        static_cast<Private *>(self)->lost(channel);
        static_cast<Private *>(self)->forget(channel);
    }

    static void on_state(SpiceChannel *channel, GParamSpec *, gpointer self)
    {
        static_cast<Private *>(self)->look_at(channel);
    }

    static void on_channel_event(SpiceChannel *channel, SpiceChannelEvent event, gpointer self)
    {
        if (event != SPICE_CHANNEL_OPENED && event != SPICE_CHANNEL_NONE)
            static_cast<Private *>(self)->lost(channel);
    }

    static void on_data(SpiceChannel *channel, gpointer data, int size, gpointer self)
    {
        auto *p = static_cast<Private *>(self);
        if (p->port_ == channel && p->open_ && size > 0)
            p->listener_.data({static_cast<const std::uint8_t *>(data), static_cast<std::size_t>(size)});
    }

    SpiceSession *session_;
    const std::string name_;
    Listener &listener_;
    std::vector<SpiceChannel *> watched_; ///< each with a reference
    SpiceChannel *port_ = nullptr;        ///< the one of our name, among watched_
    guint first_look_ = 0;
    bool open_ = false;
    std::vector<std::uint8_t> queue_;
    Write *write_ = nullptr; ///< owned by the pending callback
};

PortChannel::PortChannel(SpiceSession *session, std::string name, Listener &listener)
    : p_(std::make_unique<Private>(session, std::move(name), listener))
{
}

PortChannel::~PortChannel() = default;

bool PortChannel::found() const
{
    return p_->port_ != nullptr;
}

bool PortChannel::is_open() const
{
    return p_->open_;
}

bool PortChannel::write(std::span<const std::uint8_t> bytes)
{
    return p_->write(bytes);
}

std::size_t PortChannel::queued() const
{
    return p_->queued();
}

} // namespace spice_overlay
