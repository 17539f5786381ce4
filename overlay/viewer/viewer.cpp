// SPDX-License-Identifier: LGPL-2.1-or-later
#include "viewer.h"

#include "portclient/connection.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace spice_overlay {

namespace {

/// The decoder of this build when the program runs from its build folder, else the installed one.
std::string find_decoder()
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", nullptr);
    g_autofree char *folder = self ? g_path_get_dirname(self) : nullptr;
    if (folder) {
        g_autofree char *built = g_build_filename(folder, "../../dmabuf/decoder/spice-overlay-decoder", nullptr);
        if (g_file_test(built, G_FILE_TEST_IS_EXECUTABLE))
            return built;
    }
    return DECODER_INSTALLED;
}

constexpr char kNoSandbox[] =
    "WARNING: videos are decoded WITHOUT A SANDBOX (--no-sandbox): a hostile guest may get at all that is yours.";

/// Of the window before the guest has said how large its desktop is; logical pixels.
constexpr int kFirstWidth = 1024;
constexpr int kFirstHeight = 768;

int termination_fd = -1; ///< for the signal handler

void on_termination(int)
{
    int kept = errno;
    eventfd_write(termination_fd, 1);
    errno = kept;
}

} // namespace

struct ViewerSignals {
    static Viewer *self(gpointer data) { return static_cast<Viewer *>(data); }

    static void channel_new(SpiceSession *, SpiceChannel *channel, gpointer data)
    {
        if (SPICE_IS_MAIN_CHANNEL(channel))
            self(data)->signals_.emplace_back(channel, "channel-event", G_CALLBACK(channel_event), data);
    }
    static void channel_event(SpiceChannel *channel, SpiceChannelEvent event, gpointer data)
    {
        self(data)->channel_event(channel, event);
    }
    static void channel_destroy(SpiceSession *, SpiceChannel *channel, gpointer data)
    {
        self(data)->signals_.remove_if([channel](const SignalConnection &s) { return s.instance() == channel; });
    }
    static void disconnected(SpiceSession *, gpointer data) { self(data)->disconnected(); }
    static void trouble(SpiceOverlayDisplay *, const char *what, gpointer data) { self(data)->tell(what); }
    static void guest_resized(SpiceOverlayDisplay *, int width, int height, gpointer data)
    {
        Viewer *v = self(data);
        int now_width = 0;
        int now_height = 0;
        gtk_window_get_default_size(v->window_, &now_width, &now_height);
        // One that a person or a tiling compositor has given another size keeps it: in a tile it would shrink into a corner.
        const bool as_opened = now_width == kFirstWidth && now_height == kFirstHeight;
        if (width > 0 && height > 0 && !v->sized_ && as_opened)
            gtk_window_set_default_size(v->window_, width, height);
        v->sized_ = v->sized_ || width > 0;
    }
    static gboolean close_request(GtkWindow *, gpointer data)
    {
        self(data)->finish(self(data)->loss_.empty() ? 0 : 1);
        return TRUE;
    }
    static gboolean shortcut(GtkEventControllerKey *, guint key, guint, GdkModifierType modifiers, gpointer data)
    {
        constexpr unsigned kControlAlt = GDK_CONTROL_MASK | GDK_ALT_MASK;
        if (key == GDK_KEY_F11 && (modifiers & GDK_SHIFT_MASK))
            self(data)->toggle_fullscreen();
        else if (gdk_keyval_to_lower(key) == GDK_KEY_i && (modifiers & kControlAlt) == kControlAlt)
            spice_overlay_display_set_hud(self(data)->display_, !spice_overlay_display_get_hud(self(data)->display_));
        else
            return FALSE;
        return TRUE;
    }
    static void statistics_changed(SpiceOverlayDisplay *, gpointer data)
    {
        if (Viewer *v = self(data); v->statistics_ && !v->statistics_timer_)
            v->statistics_timer_ = g_timeout_add_seconds(1, time_for_statistics, v);
    }
    static gboolean time_for_statistics(gpointer data)
    {
        self(data)->statistics_timer_ = 0;
        self(data)->write_statistics(false);
        return G_SOURCE_REMOVE;
    }
};

Viewer::~Viewer()
{
    termination_fd = -1;
    if (statistics_timer_)
        g_source_remove(statistics_timer_);
    signals_.clear();
    if (window_)
        gtk_window_destroy(window_);
    bar_.reset();
    g_clear_object(&session_);
    if (loop_)
        g_main_loop_unref(loop_);
    if (statistics_)
        std::fclose(statistics_);
}

Status Viewer::start()
{
    session_ = spice_session_new();
    auto name = configure_session(session_, options_.target);
    if (!name)
        return name.error();
    name_ = *name;

    if (options_.decoder.empty())
        options_.decoder = find_decoder();
    if (!options_.port_name.empty() && !g_file_test(options_.decoder.c_str(), G_FILE_TEST_IS_EXECUTABLE))
        return Error{"the decoder " + options_.decoder + " cannot be run: install it, or name it with --decoder"};
    if (!options_.statistics_file.empty()) {
        statistics_ = std::fopen(options_.statistics_file.c_str(), "we");
        if (!statistics_)
            return Error{"cannot write " + options_.statistics_file + ": " + std::strerror(errno)};
    }

    if (!options_.sandbox)
        g_printerr(::isatty(STDERR_FILENO) ? "\033[1;31mspice-overlay-viewer: %s\033[0m\n"
                                           : "spice-overlay-viewer: %s\n",
                   kNoSandbox);

    SpiceOverlayDisplayOptions display_options{options_.port_name.c_str(), options_.decoder.c_str(), options_.delay_ms,
                                               options_.resize_guest, options_.sandbox};
    GError *error = nullptr;
    GtkWidget *display = spice_overlay_display_new(session_, &display_options, &error);
    if (!display) {
        Error problem{error->message};
        g_error_free(error);
        return problem;
    }
    display_ = SPICE_OVERLAY_DISPLAY(display);
    loop_ = g_main_loop_new(nullptr, FALSE);
    window_ = GTK_WINDOW(gtk_window_new());
    gtk_window_set_title(window_, ("spice-overlay: " + name_).c_str());
    gtk_window_set_default_size(window_, kFirstWidth, kFirstHeight);
    GtkWidget *layers = gtk_overlay_new();
    gtk_overlay_set_child(GTK_OVERLAY(layers), display);
    bar_.emplace(MessageBar::Handlers{[this](bool shown) { spice_overlay_display_set_covered(display_, shown); },
                                      [this] {
                                          if (!connect())
                                              disconnected();
                                      },
                                      [this] { finish(1); }});
    gtk_overlay_add_overlay(GTK_OVERLAY(layers), bar_->widget());
    gtk_window_set_child(window_, layers);

    signals_.emplace_back(session_, "channel-new", G_CALLBACK(ViewerSignals::channel_new), this);
    signals_.emplace_back(session_, "channel-destroy", G_CALLBACK(ViewerSignals::channel_destroy), this);
    signals_.emplace_back(session_, "disconnected", G_CALLBACK(ViewerSignals::disconnected), this);
    signals_.emplace_back(display, "guest-resized", G_CALLBACK(ViewerSignals::guest_resized), this);
    signals_.emplace_back(display, "trouble", G_CALLBACK(ViewerSignals::trouble), this);
    signals_.emplace_back(display, "statistics-changed", G_CALLBACK(ViewerSignals::statistics_changed), this);
    ViewerSignals::statistics_changed(display_, this); // a first line, come what may
    signals_.emplace_back(window_, "close-request", G_CALLBACK(ViewerSignals::close_request), this);
    GtkEventController *keys = gtk_event_controller_key_new();
    gtk_event_controller_set_propagation_phase(keys, GTK_PHASE_CAPTURE);
    signals_.emplace_back(keys, "key-pressed", G_CALLBACK(ViewerSignals::shortcut), this);
    gtk_widget_add_controller(GTK_WIDGET(window_), keys);
    watch_termination();

    if (options_.audio)
        spice_audio_get(session_, nullptr);
    if (!connect())
        return Error{"cannot connect to " + name_ + ": check the address"};
    if (options_.fullscreen)
        gtk_window_fullscreen(window_);
    gtk_window_present(window_);
    return Success{};
}

// Not g_unix_signal_add(): a source for each signal, which every iteration of the main loop asks whether it has come.
void Viewer::watch_termination()
{
    termination_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    termination_fd = termination_.get();
    termination_watch_.emplace(termination_.get(), [this] {
        eventfd_t count;
        eventfd_read(termination_.get(), &count);
        finish(0);
        return_to_glib();
    });
    struct sigaction action = {};
    action.sa_handler = on_termination;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
}

int Viewer::run()
{
    if (!finished_)
        g_main_loop_run(loop_);
    if (statistics_)
        write_statistics(true);
    spice_session_disconnect(session_);
    return exit_code_;
}

void Viewer::finish(int exit_code, const std::string &message)
{
    if (finished_)
        return;
    finished_ = true;
    exit_code_ = exit_code;
    if (!message.empty())
        g_printerr("spice-overlay-viewer: %s\n", message.c_str());
    g_main_loop_quit(loop_);
}

std::string Viewer::sentence(std::string clause) const
{
    if (clause.compare(0, name_.size(), name_) != 0)
        clause[0] = g_ascii_toupper(clause[0]);
    return clause + ".";
}

bool Viewer::connect()
{
    loss_.clear();
    told_.clear();
    bar_->say("Connecting to " + name_ + " …");
    gtk_widget_grab_focus(GTK_WIDGET(display_));
    return spice_session_connect(session_);
}

void Viewer::channel_event(SpiceChannel *channel, SpiceChannelEvent event)
{
    if (event == SPICE_CHANNEL_OPENED)
        return options_.sandbox ? bar_->hide() : bar_->warn(kNoSandbox);
    std::string trouble = connection_trouble(channel, event, name_);
    if (trouble.empty() || !loss_.empty())
        return;
    loss_ = trouble;
    spice_session_disconnect(session_); // its end is told in disconnected()
}

/// Nobody connects again by himself: a server lets one client in, and two viewers would throw each other out for ever.
void Viewer::disconnected()
{
    if (finished_)
        return;
    if (loss_.empty())
        loss_ = "the connection to " + name_ + " was lost";
    if (options_.exit_on_disconnect)
        return finish(1, loss_);
    g_printerr("spice-overlay-viewer: %s\n", loss_.c_str());
    bar_->ask(sentence(loss_));
}

/// Once for each trouble: a player tries again and again.
void Viewer::tell(const std::string &trouble)
{
    if (told_.insert(trouble).second)
        bar_->note(sentence(trouble));
}

void Viewer::toggle_fullscreen()
{
    if (gtk_window_is_fullscreen(window_))
        gtk_window_unfullscreen(window_);
    else {
        gtk_window_fullscreen(window_);
        bar_->note("Shift+F11 leaves full screen.");
    }
}

void Viewer::write_statistics(bool final)
{
    g_autofree char *members = spice_overlay_display_dup_statistics(display_);
    std::fprintf(statistics_, "{\"time\": %.3f, \"final\": %s, %s}\n", static_cast<double>(g_get_monotonic_time()) / 1e6,
                 final ? "true" : "false", members);
    std::fflush(statistics_);
}

} // namespace spice_overlay
