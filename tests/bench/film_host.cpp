// SPDX-License-Identifier: LGPL-2.1-or-later
// A SPICE server whose desktop is a film: raw frames from standard input, each drawn whole, with spice-server's own video
// streaming on. It is what redirection is compared with. The main thread reads and draws, as a guest would; what the
// server makes of it happens on the server's own threads.
#include "tests/host/core_interface.h"
#include "tests/host/qxl_display.h"

#include <glib-unix.h>
#include <glib.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <unistd.h>

using namespace spice_overlay::host;

namespace {

class Film {
public:
    Film(QxlDisplay &display, GMainLoop *loop, int width, int height) : display_(display), loop_(loop)
    {
        drawing_.box = {0, 0, width, height};
        drawing_.areas = {drawing_.box};
        drawing_.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
        on_channel_event([this](int event, int type) {
            if (type == SPICE_CHANNEL_DISPLAY && event == SPICE_CHANNEL_EVENT_INITIALIZED && source_ == 0)
                source_ = g_unix_fd_add(STDIN_FILENO, static_cast<GIOCondition>(G_IO_IN | G_IO_HUP), readable, this);
        });
    }

    ~Film() { on_channel_event(nullptr); }

private:
    static gboolean readable(int, GIOCondition, gpointer self) { return static_cast<Film *>(self)->read_more(); }

    gboolean read_more()
    {
        auto *bytes = reinterpret_cast<char *>(drawing_.pixels.data());
        const std::size_t size = drawing_.pixels.size() * sizeof drawing_.pixels[0];
        ssize_t got = ::read(STDIN_FILENO, bytes + filled_, size - filled_);
        if (got < 0 && errno == EINTR)
            return G_SOURCE_CONTINUE;
        if (got <= 0) {
            g_print("end after %u frames, %u left out\n", drawn_, left_out_);
            g_main_loop_quit(loop_);
            return G_SOURCE_REMOVE;
        }
        filled_ += static_cast<std::size_t>(got);
        if (filled_ < size)
            return G_SOURCE_CONTINUE;
        filled_ = 0;
        // A server that does not keep up is not given more than it can take.
        if (display_.waiting() > 8) {
            left_out_++;
            return G_SOURCE_CONTINUE;
        }
        display_.draw(drawing_);
        g_print("frame %u\n", ++drawn_);
        return G_SOURCE_CONTINUE;
    }

    QxlDisplay &display_;
    GMainLoop *loop_;
    Drawing drawing_;
    std::size_t filled_ = 0; ///< bytes of the next frame
    unsigned source_ = 0, drawn_ = 0, left_out_ = 0;
};

} // namespace

int main(int argc, char **argv)
{
    int width = argc == 4 ? std::atoi(argv[2]) : 0, height = argc == 4 ? std::atoi(argv[3]) : 0;
    if (width < 64 || height < 64 || width > 8192 || height > 8192) {
        g_printerr("usage: spice-overlay-film-host SOCKET WIDTH HEIGHT <FRAMES (BGRx)\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, nullptr, _IOLBF, 0);
    SpiceServer *server = spice_server_new();
    spice_server_set_addr(server, argv[1], SPICE_ADDR_FLAG_UNIX_ONLY);
    spice_server_set_noauth(server);
    spice_server_set_streaming_video(server, SPICE_STREAM_VIDEO_ALL);
    if (spice_server_init(server, core_interface()) != 0) {
        g_printerr("spice-overlay-film-host: cannot serve SPICE on '%s'\n", argv[1]);
        return 1;
    }
    GMainLoop *loop = g_main_loop_new(nullptr, FALSE);
    {
        QxlDisplay display(server, width, height);
        Film film(display, loop, width, height);
        spice_server_vm_start(server);
        g_main_loop_run(loop);
        spice_server_vm_stop(server);
        spice_server_destroy(server); // before the display: ends the thread that calls it
    }
    g_main_loop_unref(loop);
    unlink(argv[1]);
}
