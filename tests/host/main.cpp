// SPDX-License-Identifier: LGPL-2.1-or-later
#include "host.h"

#include <glib-unix.h>
#include <glib.h>

#include <charconv>
#include <csignal>
#include <cstring>
#include <map>

using namespace spice_overlay;
using namespace spice_overlay::host;

namespace {

constexpr char kProgram[] = "spice-overlay-host";

int usage_error(const std::string &message)
{
    g_printerr("%s: %s (see %s --help)\n", kProgram, message.c_str(), kProgram);
    return 2;
}

int failure(const std::string &message)
{
    g_printerr("%s: %s\n", kProgram, message.c_str());
    return 1;
}

bool parse_skew(const std::string &text, Skew &skew)
{
    skew.random = text == "random";
    const char *last = text.data() + text.size();
    auto [end, problem] = std::from_chars(text.data(), last, skew.milliseconds);
    return skew.random || (problem == std::errc{} && end == last && std::abs(skew.milliseconds) <= 10000);
}

const std::map<std::string, SpiceImageCompression> kCompressions = {
    {"off", SPICE_IMAGE_COMPRESSION_OFF},         {"auto_glz", SPICE_IMAGE_COMPRESSION_AUTO_GLZ},
    {"auto_lz", SPICE_IMAGE_COMPRESSION_AUTO_LZ}, {"quic", SPICE_IMAGE_COMPRESSION_QUIC},
    {"glz", SPICE_IMAGE_COMPRESSION_GLZ},         {"lz", SPICE_IMAGE_COMPRESSION_LZ},
};

/// The words of the command line, as they are.
struct Words {
    char *scene = nullptr, *unix_path = nullptr, *address = nullptr, *port_name = nullptr, *port_socket = nullptr,
         *port_pty = nullptr, *geometry = nullptr, *control = nullptr, *dump = nullptr, *skew = nullptr,
         *start_on = nullptr, *wire_log = nullptr, *stats = nullptr, *compression = nullptr;
    int port = 0;
    int rate = 60;
    gboolean version = FALSE;
    gboolean resizable = FALSE;
    gboolean relative = FALSE;
    gboolean check = FALSE;
};

std::string text(const char *word, const char *otherwise = "")
{
    return word != nullptr ? word : otherwise;
}

/// 0, or the exit code after a message.
int read_options(const Words &words, Options &options)
{
    if (words.scene == nullptr)
        return usage_error("no scene given: --scene FILE");
    if (words.unix_path != nullptr && (words.address != nullptr || words.port != 0))
        return usage_error("--unix excludes --addr and --port");
    if (words.port < 0 || words.port > 65535)
        return usage_error("--port takes 1 to 65535");
    if (words.port_socket != nullptr && words.port_pty != nullptr)
        return usage_error("--port-socket excludes --port-pty: one program at a time opens the port");
    if (words.rate < 1 || words.rate > 240)
        return usage_error("--rate takes 1 to 240");
    if (!parse_skew(text(words.skew, "0"), options.skew))
        return usage_error("--skew takes milliseconds (-10000 to 10000), or 'random'");
    auto compression = kCompressions.find(text(words.compression, "off"));
    if (compression == kCompressions.end())
        return usage_error("--compression takes off, auto_glz, auto_lz, quic, glz or lz");
    auto scene = load_scene(words.scene);
    if (!scene) {
        g_printerr("%s: %s\n", kProgram, scene.error().message.c_str());
        return 2;
    }
    options.scene = std::move(scene).value();
    options.scene_file = words.scene;
    options.unix_path = text(words.unix_path);
    options.address = text(words.address, "127.0.0.1");
    options.port = words.port != 0 ? words.port : 5930;
    options.port_name = text(words.port_name, "org.spice-overlay.video.0");
    options.port_socket = text(words.port_socket);
    options.port_pty = text(words.port_pty);
    options.geometry_socket = text(words.geometry);
    options.control_socket = text(words.control);
    options.dump = text(words.dump);
    options.wire_log = text(words.wire_log);
    options.stats = text(words.stats);
    options.rate = words.rate;
    options.resizable = words.resizable;
    options.relative_pointer = words.relative;
    options.compression = compression->second;
    bool has_port = words.port_socket != nullptr || words.port_pty != nullptr;
    std::string start_on = text(words.start_on, options.scene.has_video() && has_port ? "port" : "client");
    if (start_on != "client" && start_on != "port" && start_on != "now")
        return usage_error("--start-on takes client, port or now");
    if (start_on == "port" && !has_port)
        return usage_error("--start-on port needs --port-socket or --port-pty");
    options.start_on = start_on == "now" ? StartOn::kNow : start_on == "port" ? StartOn::kPort : StartOn::kClient;
    return 0;
}

gboolean quit_loop(gpointer loop)
{
    g_main_loop_quit(static_cast<GMainLoop *>(loop));
    return G_SOURCE_CONTINUE;
}

int run(Options options)
{
    signal(SIGPIPE, SIG_IGN);
    if (!options.dump.empty() && g_mkdir_with_parents(options.dump.c_str(), 0755) != 0)
        return failure("cannot make the directory '" + options.dump + "': " + std::strerror(errno));
    std::string uri = options.unix_path.empty()
                          ? "spice://" + options.address + ":" + std::to_string(options.port)
                          : "spice+unix://" + options.unix_path;
    std::string stats = options.stats;
    GMainLoop *loop = g_main_loop_new(nullptr, FALSE);
    g_unix_signal_add(SIGINT, quit_loop, loop);
    g_unix_signal_add(SIGTERM, quit_loop, loop);
    int code = 0;
    {
        Host host(std::move(options));
        host.on_quit([loop] { g_main_loop_quit(loop); });
        if (auto started = host.start(); !started) {
            code = failure(started.error().message);
        } else {
            g_print("%s: ready on %s\n", kProgram, uri.c_str());
            std::fflush(stdout);
            g_main_loop_run(loop);
            if (!stats.empty())
                if (auto written = host.write_stats(stats); !written)
                    code = failure(written.error().message);
        }
    }
    g_main_loop_unref(loop);
    return code;
}

} // namespace

int main(int argc, char **argv)
{
    Words words;
    const GOptionEntry entries[] = {
        {"scene", 's', 0, G_OPTION_ARG_FILENAME, &words.scene, "What the guest's desktop does (docs/scenes.md)",
         "FILE"},
        {"unix", 'u', 0, G_OPTION_ARG_FILENAME, &words.unix_path, "Serve SPICE on a unix socket", "PATH"},
        {"addr", 'a', 0, G_OPTION_ARG_STRING, &words.address, "Serve SPICE on this address (127.0.0.1)", "ADDRESS"},
        {"port", 'p', 0, G_OPTION_ARG_INT, &words.port, "Serve SPICE on this TCP port (5930)", "N"},
        {"port-name", 0, 0, G_OPTION_ARG_STRING, &words.port_name, "Name of the SPICE port (org.spice-overlay.video.0)",
         "NAME"},
        {"port-socket", 0, 0, G_OPTION_ARG_FILENAME, &words.port_socket, "Unix socket that the guest's program opens",
         "PATH"},
        {"port-pty", 0, 0, G_OPTION_ARG_FILENAME, &words.port_pty, "Link to a pty that the guest's program opens",
         "LINK"},
        {"geometry-socket", 0, 0, G_OPTION_ARG_FILENAME, &words.geometry, "Unix socket that tells where the videos are",
         "PATH"},
        {"control-socket", 0, 0, G_OPTION_ARG_FILENAME, &words.control, "Unix socket for a test that steers the host",
         "PATH"},
        {"dump", 0, 0, G_OPTION_ARG_FILENAME, &words.dump, "Write the framebuffer here at each step", "DIR"},
        {"skew", 0, 0, G_OPTION_ARG_STRING, &words.skew,
         "Geometry leaves so long after the damage; negative: before; or 'random'", "MS"},
        {"rate", 0, 0, G_OPTION_ARG_INT, &words.rate, "Scene ticks a second (60)", "HZ"},
        {"start-on", 0, 0, G_OPTION_ARG_STRING, &words.start_on, "What starts the scene: client, port or now", "EVENT"},
        {"compression", 0, 0, G_OPTION_ARG_STRING, &words.compression,
         "Of images: off (default), auto_glz, auto_lz, quic, glz, lz", "KIND"},
        {"resizable", 0, 0, G_OPTION_ARG_NONE, &words.resizable, "The desktop takes the size that a client asks for",
         nullptr},
        {"relative-pointer", 0, 0, G_OPTION_ARG_NONE, &words.relative,
         "A mouse and no tablet: the guest draws the pointer", nullptr},
        {"wire-log", 0, 0, G_OPTION_ARG_FILENAME, &words.wire_log, "Record what the port sends to the client", "FILE"},
        {"stats", 0, 0, G_OPTION_ARG_FILENAME, &words.stats, "Write counters as JSON at exit", "FILE"},
        {"check", 0, 0, G_OPTION_ARG_NONE, &words.check, "Read the scene, say what is wrong with it, and exit",
         nullptr},
        {"version", 0, 0, G_OPTION_ARG_NONE, &words.version, "Print the version", nullptr},
        {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
    GOptionContext *context = g_option_context_new("- a SPICE server with a small guest desktop of its own, for tests");
    g_option_context_add_main_entries(context, entries, nullptr);
    GError *error = nullptr;
    if (!g_option_context_parse(context, &argc, &argv, &error))
        return usage_error(error->message);
    g_option_context_free(context);
    if (words.version) {
        g_print("%s %s\n", kProgram, SPICE_OVERLAY_VERSION);
        return 0;
    }
    if (argc > 1)
        return usage_error(std::string("unexpected argument '") + argv[1] + "'");
    Options options;
    int code = read_options(words, options);
    return code != 0 || words.check ? code : run(std::move(options));
}
