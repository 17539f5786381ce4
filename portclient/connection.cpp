// SPDX-License-Identifier: LGPL-2.1-or-later
#include "connection.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <spice-client.h>

#include <cstring>

namespace spice_overlay {

namespace {

Result<std::string> use_uri(SpiceSession *session, const std::string &uri)
{
    g_autoptr(GError) error = nullptr;
    g_autofree char *scheme = g_uri_parse_scheme(uri.c_str());
    if (!scheme
        || (g_strcmp0(scheme, "spice") != 0 && g_strcmp0(scheme, "spice+unix") != 0
            && g_strcmp0(scheme, "spice+tls") != 0))
        return Error{"\"" + uri
                     + "\" is neither a file nor a SPICE URI: write spice://HOST:PORT or spice+unix:///PATH"};
    g_object_set(session, "uri", uri.c_str(), nullptr);
    g_autofree char *host = nullptr;
    g_autofree char *port = nullptr;
    g_autofree char *tls_port = nullptr;
    g_autofree char *path = nullptr;
    g_object_get(session, "host", &host, "port", &port, "tls-port", &tls_port, "unix-path", &path, nullptr);
    if (!path && (!host || (!port && !tls_port)))
        return Error{"\"" + uri + "\" names no host and port: write spice://HOST:PORT"};
    return uri;
}

Result<std::string> use_file(SpiceSession *session, const std::string &file)
{
    constexpr const char *kGroup = "virt-viewer";
    g_autoptr(GError) error = nullptr;
    g_autoptr(GKeyFile) keys = g_key_file_new();
    if (!g_key_file_load_from_file(keys, file.c_str(), G_KEY_FILE_NONE, &error))
        return Error{"cannot read " + file + ": " + error->message};
    g_autofree char *type = g_key_file_get_string(keys, kGroup, "type", nullptr);
    if (g_strcmp0(type, "spice") != 0)
        return Error{file + " is no SPICE connection file: it has no type=spice in a group [virt-viewer]"};

    static const struct {
        const char *key;
        const char *property;
    } strings[] = {{"host", "host"},
                   {"port", "port"},
                   {"tls-port", "tls-port"},
                   {"password", "password"},
                   {"host-subject", "cert-subject"},
                   {"proxy", "proxy"},
                   {"unix-path", "unix-path"}};
    bool reachable = false;
    for (const auto &s : strings) {
        g_autofree char *value = g_key_file_get_string(keys, kGroup, s.key, nullptr);
        if (!value || !*value || (g_str_has_suffix(s.key, "port") && g_strcmp0(value, "-1") == 0))
            continue;
        g_object_set(session, s.property, value, nullptr);
        reachable |= g_strcmp0(s.key, "host") == 0 || g_strcmp0(s.key, "unix-path") == 0;
    }
    if (g_autofree char *ca = g_key_file_get_string(keys, kGroup, "ca", nullptr)) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_byte_array_append(bytes, reinterpret_cast<const guint8 *>(ca), static_cast<guint>(strlen(ca)));
        g_object_set(session, "ca", bytes, nullptr);
    }
    if (!reachable)
        return Error{file + " names no host"};
    if (g_key_file_get_integer(keys, kGroup, "delete-this-file", nullptr) == 1)
        g_unlink(file.c_str());
    return file;
}

} // namespace

Result<std::string> configure_session(SpiceSession *session, const std::string &target)
{
    if (target.find("://") == std::string::npos)
        return use_file(session, target);
    return use_uri(session, target);
}

std::string connection_trouble(SpiceChannel *main, int event, const std::string &name)
{
    const GError *cause = spice_channel_get_error(main);
    std::string why = cause ? std::string(": ") + cause->message : std::string();
    switch (event) {
    case SPICE_CHANNEL_ERROR_CONNECT:
        return "cannot connect to " + name + why + ": check the host and port, and that the guest is running";
    case SPICE_CHANNEL_ERROR_AUTH:
        return name + " refused the password" + why + ": give it in the .vv file, or as ?password= in the URI";
    case SPICE_CHANNEL_ERROR_TLS:
        return "no secure connection to " + name + why + ": check the certificate (ca, host-subject)";
    case SPICE_CHANNEL_ERROR_LINK:
        return name + " does not speak SPICE" + why + ": check the port";
    case SPICE_CHANNEL_ERROR_IO:
        return "the connection to " + name + " was lost" + why;
    case SPICE_CHANNEL_CLOSED:
        return name + " has closed the connection";
    default:
        return {};
    }
}

} // namespace spice_overlay
