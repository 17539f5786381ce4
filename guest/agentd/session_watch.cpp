// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_watch.h"

#include <poll.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>

namespace spice_overlay::guest {
namespace {

constexpr char kLogind[] = "org.freedesktop.login1";
constexpr char kManagerPath[] = "/org/freedesktop/login1";
constexpr char kManager[] = "org.freedesktop.login1.Manager";
constexpr char kSession[] = "org.freedesktop.login1.Session";
constexpr char kUser[] = "org.freedesktop.login1.User";
constexpr char kProperties[] = "org.freedesktop.DBus.Properties";

struct Unref {
    void operator()(sd_bus *bus) const { sd_bus_flush_close_unref(bus); }
    void operator()(sd_bus_slot *slot) const { sd_bus_slot_unref(slot); }
};
using Slot = std::unique_ptr<sd_bus_slot, Unref>;

class AllowAll : public SessionWatch {
public:
    void add(int, uid_t, pid_t) override {}
    void remove(int) override {}
    bool may_show(int) const override { return true; }
    bool known(int) const override { return true; }
    int fd() const override { return -1; }
    short events() const override { return 0; }
    std::int64_t deadline() const override { return -1; }
    Status dispatch() override { return Success{}; }
};

class Logind : public SessionWatch {
public:
    Status start()
    {
        sd_bus *bus = nullptr;
        int error = sd_bus_open_system(&bus);
        if (error < 0)
            return failure("cannot connect to the system bus", error);
        bus_.reset(bus);
        // SessionNew and SessionRemoved; Active, LockedHint and others of each session.
        if ((error = sd_bus_match_signal_async(bus, nullptr, kLogind, kManagerPath, kManager, nullptr, sessions_changed,
                                               nullptr, this))
                < 0
            || (error = sd_bus_match_signal_async(bus, nullptr, kLogind, nullptr, kProperties, "PropertiesChanged",
                                                  properties_changed, nullptr, this))
                   < 0)
            return failure("cannot watch the sessions of logind", error);
        return Success{};
    }

    void add(int player, uid_t uid, pid_t pid) override
    {
        Player &added = players_[player];
        added.watch = this;
        added.uid = uid;
        added.pid = pid;
        look_up(added);
    }

    void remove(int player) override
    {
        players_.erase(player);
        std::erase_if(sessions_, [this](const auto &session) { return !in_use(session.first); });
    }

    bool may_show(int player) const override
    {
        auto found = players_.find(player);
        if (found == players_.end())
            return false;
        const Player &who = found->second;
        auto session = sessions_.find(who.session);
        if (session == sessions_.end() || !session->second.shown)
            return false;
        // The process may have ended since it connected, and its number be that of another user's now.
        return who.uid == session->second.uid || who.uid == 0;
    }

    bool known(int player) const override
    {
        auto found = players_.find(player);
        if (found == players_.end() || !found->second.looked_up)
            return false;
        auto session = sessions_.find(found->second.session);
        return session == sessions_.end() || session->second.described;
    }

    int fd() const override { return sd_bus_get_fd(bus_.get()); }
    short events() const override { return static_cast<short>(std::max(sd_bus_get_events(bus_.get()), 0)); }

    std::int64_t deadline() const override
    {
        std::uint64_t when = UINT64_MAX; // µs of CLOCK_MONOTONIC
        if (sd_bus_get_timeout(bus_.get(), &when) < 0 || when == UINT64_MAX)
            return -1;
        return static_cast<std::int64_t>(when) * 1000;
    }

    Status dispatch() override
    {
        int more = 0;
        while ((more = sd_bus_process(bus_.get(), nullptr)) > 0) {
        }
        return more < 0 ? failure("the connection to the system bus is lost", more) : Status(Success{});
    }

private:
    struct Player {
        Logind *watch = nullptr;
        uid_t uid = 0;
        pid_t pid = 0;
        std::string session; ///< its object's path; empty: not known
        bool looked_up = false;
        Slot query;
    };
    struct Session {
        Logind *watch = nullptr;
        bool described = false;
        bool shown = false;
        uid_t uid = 0;
        Slot query;
    };

    static Status failure(const char *what, int error)
    {
        return Error{std::string("logind: ") + what + ": " + std::strerror(-error)
                     + "; is dbus running? --sessions any does without"};
    }

    template <typename... Arguments>
    void call(Slot &slot, const char *path, const char *interface, const char *method, sd_bus_message_handler_t handler,
              void *data, const char *types, Arguments... arguments)
    {
        sd_bus_slot *query = nullptr;
        slot.reset(); // an older question is of no interest any more
        if (sd_bus_call_method_async(bus_.get(), &query, kLogind, path, interface, method, handler, data, types,
                                     arguments...)
            >= 0)
            slot.reset(query);
    }

    bool in_use(const std::string &path) const
    {
        for (const auto &[id, player] : players_)
            if (player.session == path)
                return true;
        return false;
    }

    // A player's session: that of its process, or what logind calls its user's display, since a process started by the
    // user's service manager belongs to none.

    void look_up(Player &player)
    {
        call(player.query, kManagerPath, kManager, "GetSessionByPID", session_of_process, &player, "u",
             static_cast<std::uint32_t>(player.pid));
    }

    static int session_of_process(sd_bus_message *reply, void *data, sd_bus_error *)
    {
        Player &player = *static_cast<Player *>(data);
        const char *path = nullptr;
        if (!sd_bus_message_is_method_error(reply, nullptr) && sd_bus_message_read(reply, "o", &path) >= 0)
            player.watch->found(player, path);
        else
            player.watch->call(player.query, kManagerPath, kManager, "GetUser", user_found, &player, "u",
                               static_cast<std::uint32_t>(player.uid));
        return 0;
    }

    static int user_found(sd_bus_message *reply, void *data, sd_bus_error *)
    {
        Player &player = *static_cast<Player *>(data);
        const char *path = nullptr;
        if (sd_bus_message_is_method_error(reply, nullptr) || sd_bus_message_read(reply, "o", &path) < 0) {
            player.watch->found(player, "");
            return 0;
        }
        player.watch->call(player.query, path, kProperties, "Get", display_found, &player, "ss", kUser, "Display");
        return 0;
    }

    static int display_found(sd_bus_message *reply, void *data, sd_bus_error *)
    {
        Player &player = *static_cast<Player *>(data);
        const char *name = nullptr, *path = nullptr;
        bool known = !sd_bus_message_is_method_error(reply, nullptr)
                     && sd_bus_message_read(reply, "v", "(so)", &name, &path) >= 0 && *name;
        player.watch->found(player, known ? path : "");
        return 0;
    }

    void found(Player &player, const char *session)
    {
        player.session = session;
        player.looked_up = true;
        if (*session)
            query(session);
    }

    // What a session is.

    void query(const std::string &path)
    {
        Session &session = sessions_[path];
        session.watch = this;
        call(session.query, path.c_str(), kProperties, "GetAll", session_described, &session, "s", kSession);
    }

    static int session_described(sd_bus_message *reply, void *data, sd_bus_error *)
    {
        Session &session = *static_cast<Session *>(data);
        int active = 0, locked = 0, remote = 0;
        std::uint32_t uid = 0;
        std::string kind;
        bool sound = !sd_bus_message_is_method_error(reply, nullptr)
                     && sd_bus_message_enter_container(reply, SD_BUS_TYPE_ARRAY, "{sv}") >= 0;
        while (sound && sd_bus_message_enter_container(reply, SD_BUS_TYPE_DICT_ENTRY, "sv") > 0) {
            const char *name = nullptr, *text = nullptr;
            sound = sd_bus_message_read(reply, "s", &name) >= 0;
            if (!sound)
                break;
            int got = 0;
            if (std::strcmp(name, "Active") == 0)
                got = sd_bus_message_read(reply, "v", "b", &active);
            else if (std::strcmp(name, "LockedHint") == 0)
                got = sd_bus_message_read(reply, "v", "b", &locked);
            else if (std::strcmp(name, "Remote") == 0)
                got = sd_bus_message_read(reply, "v", "b", &remote);
            else if (std::strcmp(name, "User") == 0)
                got = sd_bus_message_read(reply, "v", "(uo)", &uid, &text);
            else if (std::strcmp(name, "Class") == 0 && (got = sd_bus_message_read(reply, "v", "s", &text)) >= 0)
                kind = text;
            else
                got = sd_bus_message_skip(reply, "v");
            sound = got >= 0 && sd_bus_message_exit_container(reply) >= 0;
        }
        session.described = true;
        session.shown = sound && active && !locked && !remote && kind == "user";
        session.uid = uid;
        return 0;
    }

    static int properties_changed(sd_bus_message *signal, void *data, sd_bus_error *)
    {
        Logind &logind = *static_cast<Logind *>(data);
        const char *path = sd_bus_message_get_path(signal);
        if (path && logind.sessions_.contains(path))
            logind.query(path);
        return 0;
    }

    static int sessions_changed(sd_bus_message *, void *data, sd_bus_error *)
    {
        Logind &logind = *static_cast<Logind *>(data);
        for (auto &[id, player] : logind.players_)
            logind.look_up(player);
        return 0;
    }

    std::unique_ptr<sd_bus, Unref> bus_;
    std::map<int, Player> players_;
    std::map<std::string, Session> sessions_;
};

} // namespace

Result<std::unique_ptr<SessionWatch>> watch_logind()
{
    auto logind = std::make_unique<Logind>();
    if (Status status = logind->start(); !status)
        return status.error();
    return std::unique_ptr<SessionWatch>(std::move(logind));
}

std::unique_ptr<SessionWatch> allow_all_sessions()
{
    return std::make_unique<AllowAll>();
}

bool has_logind()
{
    return access("/run/systemd/seats", F_OK) == 0;
}

} // namespace spice_overlay::guest
