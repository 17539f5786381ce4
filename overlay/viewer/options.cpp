// SPDX-License-Identifier: LGPL-2.1-or-later
#include "options.h"

#include "portclient/wire/messages.h"

#include <glib.h>

#include <memory>

namespace spice_overlay {

Result<std::optional<ViewerOptions>> parse_options(int argc, char **argv)
{
    ViewerOptions options;
    g_autofree char *port_name = nullptr;
    g_autofree char *decoder = nullptr;
    g_autofree char *statistics = nullptr;
    g_auto(GStrv) rest = nullptr;
    int delay = static_cast<int>(options.delay_ms);
    gboolean fullscreen = FALSE;
    gboolean version = FALSE;
    gboolean no_resize = FALSE;
    gboolean no_audio = FALSE;
    gboolean exit_on_disconnect = FALSE;
    gboolean no_sandbox = FALSE;
    const GOptionEntry entries[] = {
        {"fullscreen", 'f', 0, G_OPTION_ARG_NONE, &fullscreen, "Start in full screen (Shift+F11 leaves it)", nullptr},
        {"port-name", 0, 0, G_OPTION_ARG_STRING, &port_name,
         "Name of the video port (default: org.spice-overlay.video.0; empty: no redirection)", "NAME"},
        {"delay", 0, 0, G_OPTION_ARG_INT, &delay, "Milliseconds from a frame's time to its display (default: 60)",
         "MS"},
        {"no-resize", 0, 0, G_OPTION_ARG_NONE, &no_resize, "Do not ask the guest to follow the window's size", nullptr},
        {"no-audio", 0, 0, G_OPTION_ARG_NONE, &no_audio, "Do not play the guest's sound", nullptr},
        {"exit-on-disconnect", 0, 0, G_OPTION_ARG_NONE, &exit_on_disconnect,
         "End when the connection fails or is lost, and do not ask", nullptr},
        {"stats", 0, 0, G_OPTION_ARG_FILENAME, &statistics, "Write statistics there, a JSON object a line", "FILE"},
        {"decoder", 0, 0, G_OPTION_ARG_FILENAME, &decoder, "The spice-overlay-decoder to run", "PATH"},
        {"no-sandbox", 0, 0, G_OPTION_ARG_NONE, &no_sandbox,
         "Run decoders WITHOUT THEIR SANDBOX: a hostile guest may get at all that is yours", nullptr},
        {"version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version and exit", nullptr},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, nullptr, "URI|FILE.vv"},
        {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};

    g_autoptr(GOptionContext) context = g_option_context_new(nullptr);
    g_option_context_add_main_entries(context, entries, nullptr);
    g_option_context_set_summary(context, "Shows a SPICE desktop, with its videos decoded here.\n"
                                          "URI is spice://HOST:PORT, spice://HOST?tls-port=PORT or spice+unix:///PATH.");
    g_autoptr(GError) error = nullptr;
    if (!g_option_context_parse(context, &argc, &argv, &error))
        return Error{std::string(error->message) + " (see --help)"};
    if (version) {
        g_print("spice-overlay-viewer %s\n", SPICE_OVERLAY_VERSION);
        return std::optional<ViewerOptions>();
    }
    if (!rest || g_strv_length(rest) != 1)
        return Error{"give one URI or .vv file, as in: spice-overlay-viewer spice://localhost:5900 (see --help)"};
    if (delay < 0 || delay > 5000)
        return Error{"--delay takes 0 to 5000 milliseconds"};
    options.target = rest[0];
    options.port_name = port_name ? port_name : wire::kDefaultPortName;
    options.decoder = decoder ? decoder : "";
    options.statistics_file = statistics ? statistics : "";
    options.delay_ms = static_cast<unsigned>(delay);
    options.fullscreen = fullscreen;
    options.resize_guest = !no_resize;
    options.audio = !no_audio;
    options.sandbox = !no_sandbox;
    options.exit_on_disconnect = exit_on_disconnect;
    return std::optional<ViewerOptions>(options);
}

} // namespace spice_overlay
