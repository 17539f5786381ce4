// SPDX-License-Identifier: LGPL-2.1-or-later
#include "window_player.h"

#include "gst_tools.h"
#include "guest/common/spice-overlay-guest.h"
#include "portclient/base/clock.h"
#include "statistics.h"
#include "terminal_keys.h"
#include "x11_window.h"

#include <glib-unix.h>
#include <gst/pbutils/pbutils.h>
#include <gst/video/videooverlay.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace spice_overlay::guest {
namespace {

constexpr GstClockTime kStep = 10 * GST_SECOND, kFarStep = 60 * GST_SECOND;
constexpr double kVolumeStep = 0.05;
constexpr guint kStatusInterval = 500; ///< ms

using Guest = std::unique_ptr<spice_overlay_guest, Freed<spice_overlay_guest_free>>;

} // namespace

struct WindowPlayer::Private {
    struct Item {
        std::string name;
        double redirected = 0, local = 0; ///< seconds of playing
        std::vector<std::string> reasons; ///< why it was shown here, each once
    };

    explicit Private(Options given) : options(std::move(given)) {}
    ~Private();
    Status make_pipeline();
    void listen();
    void read_window();
    void start_item();
    void next_item();
    void fail(const std::string &what);
    void message(GstMessage *message);
    void error(GstMessage *message);
    void note(GstMessage *message);
    void prerolled();
    void fit_window();
    void read_redirection(GstElement *decoder);
    void client_changed();
    void command(Command command);
    void seek(GstClockTimeDiff step);
    void change_volume(double step);
    void set_playing(bool playing);
    void account();
    void redirection_changed(bool redirects, std::string why);
    void show_state();
    void say(const std::string &text);
    void report();
    [[nodiscard]] std::string state_text() const;

    Options options;
    std::unique_ptr<X11Window> window;
    std::unique_ptr<TerminalKeys> keys;
    GstElement *playbin = nullptr;
    GMainLoop *loop = nullptr;
    Guest guest;                ///< tells when redirection becomes possible; null with --local
    std::vector<guint> sources; ///< of the main loop
    guint status_timer = 0;     ///< runs while something plays

    std::vector<Item> items;
    std::size_t current = 0;
    bool failed = false;
    bool item_failed = false;
    bool preroll_done = false;
    bool may_be_redirected = false; ///< the redirecting decoder is in the pipeline, whatever it does now
    gint64 resume_at = 0;           ///< where the item begins: not 0 after client_changed()
    bool playing = true;            ///< as the person wants it
    bool counting = false;          ///< the clock of the current item runs
    bool redirected = false;
    std::string reason;               ///< why not redirected
    std::string why_never;            ///< the reason for all items, or ""
    std::vector<std::string> missing; ///< decoders that are not installed, by name
    std::int64_t since = 0;
    bool line_shown = false;
};

WindowPlayer::Private::~Private()
{
    guest.reset(); // before what its callback uses; no loop runs what that has left behind
    for (guint source : sources)
        g_source_remove(source);
    if (status_timer)
        g_source_remove(status_timer);
    if (playbin) {
        gst_element_set_state(playbin, GST_STATE_NULL);
        gst_object_unref(playbin);
    }
    if (loop)
        g_main_loop_unref(loop);
}

namespace {

/// X's own way of showing pictures, or null. Of the sinks that playbin would find itself, the one that draws by GL keeps the window from coming
/// back from full screen.
GstElement *x11_sink()
{
    for (const char *name : {"xvimagesink", "ximagesink"}) {
        GstElement *sink = gst_element_factory_make(name, nullptr);
        if (!sink)
            continue;
        gst_object_ref_sink(sink);
        const bool works = gst_element_set_state(sink, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE;
        gst_element_set_state(sink, GST_STATE_NULL);
        if (works)
            return sink;
        gst_object_unref(sink);
    }
    return nullptr;
}

} // namespace

Status WindowPlayer::Private::make_pipeline()
{
    playbin = gst_element_factory_make("playbin", nullptr);
    if (!playbin)
        return Error{"GStreamer's playbin is missing; install gstreamer1.0-plugins-base"};
    gst_object_ref_sink(playbin);
    if (GstElement *sink = x11_sink()) {
        g_object_set(playbin, "video-sink", sink, nullptr);
        gst_object_unref(sink);
    }
    if (!options.sound)
        g_object_set(playbin, "audio-sink", gst_element_factory_make("fakesink", nullptr), nullptr);
    gst_element_add_property_deep_notify_watch(playbin, nullptr, TRUE); // the decoder's state, by way of the bus

    GstBus *bus = gst_element_get_bus(playbin);
    // The sink asks for its window in the thread that makes it, and makes one of its own if nobody answers at once.
    gst_bus_set_sync_handler(
        bus,
        [](GstBus *, GstMessage *message, gpointer shown) {
            if (!gst_is_video_overlay_prepare_window_handle_message(message))
                return GST_BUS_PASS;
            gst_video_overlay_set_window_handle(GST_VIDEO_OVERLAY(GST_MESSAGE_SRC(message)),
                                                static_cast<const X11Window *>(shown)->id());
            gst_message_unref(message);
            return GST_BUS_DROP;
        },
        window.get(), nullptr);
    sources.push_back(gst_bus_add_watch(
        bus,
        [](GstBus *, GstMessage *message, gpointer self) -> gboolean {
            static_cast<Private *>(self)->message(message);
            return G_SOURCE_CONTINUE;
        },
        this));
    gst_object_unref(bus);
    return Success{};
}

/// Window, terminal and signals: what a person says.
void WindowPlayer::Private::listen()
{
    sources.push_back(g_unix_fd_add(
        window->fd(), static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR),
        [](gint, GIOCondition, gpointer self) -> gboolean {
            static_cast<Private *>(self)->read_window();
            return G_SOURCE_CONTINUE;
        },
        this));
    if (keys->active())
        sources.push_back(g_unix_fd_add(
            0, G_IO_IN,
            [](gint, GIOCondition, gpointer self) -> gboolean {
                auto &p = *static_cast<Private *>(self);
                for (Command command : p.keys->read())
                    p.command(command);
                return G_SOURCE_CONTINUE;
            },
            this));
    for (int signal : {SIGINT, SIGTERM, SIGHUP})
        sources.push_back(g_unix_signal_add(
            signal,
            [](gpointer self) -> gboolean {
                static_cast<Private *>(self)->command(Command::kQuit);
                return G_SOURCE_CONTINUE;
            },
            this));
}

void WindowPlayer::Private::read_window()
{
    auto exposed = [this] {
        if (GstElement *sink = gst_bin_get_by_interface(GST_BIN(playbin), GST_TYPE_VIDEO_OVERLAY)) {
            gst_video_overlay_expose(GST_VIDEO_OVERLAY(sink));
            gst_object_unref(sink);
        }
    };
    if (window->dispatch({[this](Command c) { command(c); }, exposed}))
        return;
    say("the X server has gone");
    failed = true;
    g_main_loop_quit(loop);
}

void WindowPlayer::Private::start_item()
{
    Item &item = items[current];
    item_failed = preroll_done = redirected = may_be_redirected = false;
    missing.clear();
    reason = why_never;
    // Not just READY: playbin does not recover from an item it could not play, and its messages would be taken for ours.
    gst_element_set_state(playbin, GST_STATE_NULL);
    auto uri = uri_of(item.name);
    if (!uri)
        return fail(uri.error().message);
    g_object_set(playbin, "uri", uri.value().c_str(), nullptr);
    window->set_title(item.name);
    set_playing(playing);
}

void WindowPlayer::Private::next_item()
{
    account();
    counting = false;
    resume_at = 0;
    bool again = options.loop && !item_failed;
    if (again && items.size() == 1) {
        gst_element_seek_simple(playbin, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, 0);
        counting = true;
        return;
    }
    current = current + 1 == items.size() && again ? 0 : current + 1;
    if (current < items.size())
        return start_item();
    current = items.size() - 1;
    gst_element_set_state(playbin, GST_STATE_READY);
    g_main_loop_quit(loop);
}

/// The current item cannot be played: once for each, whatever else its elements have to say.
void WindowPlayer::Private::fail(const std::string &what)
{
    if (item_failed)
        return;
    item_failed = failed = true;
    say(what);
    g_idle_add_once([](gpointer self) { static_cast<Private *>(self)->next_item(); }, this);
}

void WindowPlayer::Private::message(GstMessage *message)
{
    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_EOS:
        return next_item();
    case GST_MESSAGE_ERROR:
        return error(message);
    case GST_MESSAGE_ELEMENT:
        if (gst_is_missing_plugin_message(message))
            missing.emplace_back(Text(gst_missing_plugin_message_get_description(message)).get());
        return;
    case GST_MESSAGE_PROPERTY_NOTIFY:
        return note(message);
    case GST_MESSAGE_ASYNC_DONE:
        if (GST_MESSAGE_SRC(message) == GST_OBJECT(playbin) && !std::exchange(preroll_done, true))
            prerolled();
        return;
    case GST_MESSAGE_CLOCK_LOST:
        gst_element_set_state(playbin, GST_STATE_PAUSED);
        gst_element_set_state(playbin, GST_STATE_PLAYING);
        return;
    default:
        return;
    }
}

void WindowPlayer::Private::error(GstMessage *message)
{
    GError *parsed = nullptr;
    gst_message_parse_error(message, &parsed, nullptr);
    Failure failure(parsed);
    const std::string &name = items[current].name;
    if (g_error_matches(failure.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT)
        || g_error_matches(failure.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT_NOKEY))
        return fail(name + ": is encrypted; protected video is neither redirected nor played here");
    if (!missing.empty())
        return fail(name + ": no decoder is installed for " + missing.front()
                    + "; try gstreamer1.0-libav or gstreamer1.0-plugins-bad");
    if (g_error_matches(failure.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND)
        || g_error_matches(failure.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE))
        return fail(name + ": is neither video nor sound that GStreamer knows");
    fail(name + ": " + failure->message);
}

/// A property has changed somewhere in the pipeline; the redirecting decoder's are what a person wants to know.
void WindowPlayer::Private::note(GstMessage *message)
{
    GstObject *source = nullptr;
    const char *property = nullptr;
    gst_message_parse_property_notify(message, &source, &property, nullptr);
    if (!is_redirecting(source) || (std::strcmp(property, "redirected") != 0 && std::strcmp(property, "reason") != 0))
        return;
    read_redirection(GST_ELEMENT(source));
}

void WindowPlayer::Private::read_redirection(GstElement *decoder)
{
    gboolean redirects = FALSE;
    char *why = nullptr;
    g_object_get(decoder, "redirected", &redirects, "reason", &why, nullptr);
    Text text(why);
    may_be_redirected = true;
    redirection_changed(redirects, text ? text.get() : "");
}

/// A client has come or gone. The decoder in the pipeline knows; without one, playbin has to choose again.
void WindowPlayer::Private::client_changed()
{
    gint64 position = 0;
    if (!preroll_done || may_be_redirected || item_failed
        || spice_overlay_guest_check(guest.get(), SPICE_OVERLAY_CODEC_H264, 0, 0, 0) != SPICE_OVERLAY_REASON_NONE
        || !gst_element_query_position(playbin, GST_FORMAT_TIME, &position))
        return;
    account();
    counting = false;
    resume_at = position;
    start_item();
}

void WindowPlayer::Private::redirection_changed(bool redirects, std::string why)
{
    if (redirects == redirected && why == reason)
        return;
    account();
    redirected = redirects;
    reason = std::move(why);
    if (preroll_done)
        show_state();
}

void WindowPlayer::Private::prerolled()
{
    gint videos = 0;
    g_object_get(playbin, "n-video", &videos, nullptr);
    if (videos == 0)
        return fail(items[current].name + ": there is no video in it");
    fit_window();
    if (gint64 position = std::exchange(resume_at, 0); position > 0)
        gst_element_seek_simple(playbin, GST_FORMAT_TIME,
                                static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE), position);
    since = monotonic_now();
    counting = true;
    if (GstElement *decoder = find_redirecting(playbin)) {
        read_redirection(decoder);
        gst_object_unref(decoder);
    } else if (guest && reason.empty()) {
        auto why = spice_overlay_guest_check(guest.get(), SPICE_OVERLAY_CODEC_H264, 0, 0, 0);
        reason =
            why == SPICE_OVERLAY_REASON_NONE ? "the client cannot take this video" : spice_overlay_reason_text(why);
    }
    show_state();
}

/// The window gets the size of the decoded picture.
void WindowPlayer::Private::fit_window()
{
    GstPad *pad = nullptr;
    g_signal_emit_by_name(playbin, "get-video-pad", 0, &pad);
    if (pad) {
        GstCaps *caps = gst_pad_get_current_caps(pad);
        GstVideoInfo info;
        // Of the decoded picture; an encoded pad has no video info.
        GstStructure *fields = caps ? gst_caps_get_structure(caps, 0) : nullptr;
        gint width = 0, height = 0, num = 1, den = 1;
        if (caps && gst_video_info_from_caps(&info, caps)) {
            width = info.width, height = info.height, num = info.par_n, den = info.par_d;
        } else if (fields && gst_structure_get_int(fields, "width", &width)
                   && gst_structure_get_int(fields, "height", &height)) {
            gst_structure_get_fraction(fields, "pixel-aspect-ratio", &num, &den);
        }
        if (width > 0 && height > 0 && num > 0 && den > 0)
            window->resize(static_cast<unsigned>(std::lround(1.0 * width * num / den)), static_cast<unsigned>(height));
        if (caps)
            gst_caps_unref(caps);
        gst_object_unref(pad);
    }
}

void WindowPlayer::Private::command(Command command)
{
    switch (command) {
    case Command::kPause:
        return set_playing(!playing);
    case Command::kBack:
        return seek(-static_cast<GstClockTimeDiff>(kStep));
    case Command::kForward:
        return seek(kStep);
    case Command::kFarBack:
        return seek(-static_cast<GstClockTimeDiff>(kFarStep));
    case Command::kFarForward:
        return seek(kFarStep);
    case Command::kQuieter:
        return change_volume(-kVolumeStep);
    case Command::kLouder:
        return change_volume(kVolumeStep);
    case Command::kMute: {
        gboolean mute = FALSE;
        g_object_get(playbin, "mute", &mute, nullptr);
        return g_object_set(playbin, "mute", !mute, nullptr);
    }
    case Command::kFullscreen:
        return window->toggle_fullscreen();
    case Command::kQuit:
        account();
        counting = false;
        return g_main_loop_quit(loop);
    }
}

void WindowPlayer::Private::seek(GstClockTimeDiff step)
{
    gint64 position = 0, duration = 0;
    if (!preroll_done || !gst_element_query_position(playbin, GST_FORMAT_TIME, &position))
        return;
    gint64 target = std::max<gint64>(position + step, 0);
    // The very end has no picture.
    if (gst_element_query_duration(playbin, GST_FORMAT_TIME, &duration) && duration > 0)
        target = std::clamp<gint64>(duration - GST_SECOND, 0, target);
    gst_element_seek_simple(playbin, GST_FORMAT_TIME,
                            static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_KEY_UNIT), target);
}

void WindowPlayer::Private::change_volume(double step)
{
    double volume = 1;
    g_object_get(playbin, "volume", &volume, nullptr);
    g_object_set(playbin, "volume", std::clamp(volume + step, 0.0, 1.0), nullptr);
}

void WindowPlayer::Private::set_playing(bool play)
{
    account();
    playing = play;
    GstStateChangeReturn result = gst_element_set_state(playbin, play ? GST_STATE_PLAYING : GST_STATE_PAUSED);
    if (result == GST_STATE_CHANGE_FAILURE)
        return; // an error message on the bus says why
    // A paused player wakes nobody.
    if (status_timer && !play) {
        g_source_remove(std::exchange(status_timer, 0));
    } else if (!status_timer && play && options.status_line) {
        status_timer = g_timeout_add(
            kStatusInterval,
            [](gpointer self) -> gboolean {
                static_cast<Private *>(self)->report();
                return G_SOURCE_CONTINUE;
            },
            this);
    }
    report();
}

/// Adds the time since the last call to what it was spent on.
void WindowPlayer::Private::account()
{
    std::int64_t now = monotonic_now();
    if (counting && playing)
        (redirected ? items[current].redirected : items[current].local) += static_cast<double>(now - since) / 1e9;
    since = now;
    if (counting && !redirected && !reason.empty()) {
        auto &reasons = items[current].reasons;
        if (std::find(reasons.begin(), reasons.end(), reason) == reasons.end())
            reasons.push_back(reason);
    }
}

std::string WindowPlayer::Private::state_text() const
{
    if (redirected)
        return "redirected";
    return "played here" + (reason.empty() ? "" : ": " + reason);
}

void WindowPlayer::Private::show_state()
{
    account();
    window->set_title(items[current].name + " \u2014 " + state_text());
    say(items[current].name + ": " + state_text());
    report();
}

void WindowPlayer::Private::say(const std::string &text)
{
    std::fprintf(stderr, "%sspice-overlay-play: %s\n", line_shown ? "\r\033[K" : "", text.c_str());
    line_shown = false;
}

void WindowPlayer::Private::report()
{
    if (!options.status_line || !preroll_done)
        return;
    gint64 position = 0, duration = 0;
    gst_element_query_position(playbin, GST_FORMAT_TIME, &position);
    gst_element_query_duration(playbin, GST_FORMAT_TIME, &duration);
    std::fprintf(stderr, "\r\033[K%8.1f", static_cast<double>(position) / GST_SECOND);
    if (duration > 0)
        std::fprintf(stderr, " / %.1f s  ", static_cast<double>(duration) / GST_SECOND);
    else
        std::fputs(" s  ", stderr);
    std::fprintf(stderr, "%-8s %s", playing ? "playing" : "paused", state_text().c_str());
    std::fflush(stderr);
    line_shown = true;
}

WindowPlayer::WindowPlayer(std::unique_ptr<Private> p) : p_(std::move(p)) {}
WindowPlayer::~WindowPlayer() = default;

Result<std::unique_ptr<WindowPlayer>> WindowPlayer::open(Options options)
{
    GError *error = nullptr;
    bool started = gst_init_check(nullptr, nullptr, &error);
    Failure failure(error);
    if (!started)
        return Error{std::string("GStreamer: ") + failure->message};
    gst_pb_utils_init();

    auto p = std::make_unique<Private>(std::move(options));
    for (const std::string &item : p->options.items)
        p->items.push_back({item, 0, 0, {}});
    auto window = X11Window::open(p->items.front().name, 640, 360);
    if (!window)
        return window.error();
    p->window = std::move(window).value();
    if (Status status = p->make_pipeline(); !status)
        return status.error();
    bool found = prepare_redirection(!p->options.local);
    if (!p->options.local && !found)
        p->why_never = "GStreamer has no element spiceoverlaydec (is the guest package whole?)";
    else if (p->options.local)
        p->why_never = "--local was given";
    else
        p->guest.reset(spice_overlay_guest_new(nullptr, "spice-overlay-play " SPICE_OVERLAY_VERSION));
    if (p->options.fullscreen)
        p->window->toggle_fullscreen();
    return std::unique_ptr<WindowPlayer>(new WindowPlayer(std::move(p)));
}

bool WindowPlayer::run()
{
    Private &p = *p_;
    p.loop = g_main_loop_new(nullptr, FALSE);
    p.keys = std::make_unique<TerminalKeys>();
    p.listen();
    if (p.guest)
        spice_overlay_guest_on_change(
            p.guest.get(),
            [](void *self) {
                g_idle_add_once([](gpointer player) { static_cast<Private *>(player)->client_changed(); }, self);
            },
            &p);
    p.start_item();
    g_main_loop_run(p.loop);
    gst_element_set_state(p.playbin, GST_STATE_NULL);
    if (p.line_shown)
        std::fputc('\n', stderr);
    return !p.failed;
}

std::string WindowPlayer::statistics_json() const
{
    std::string out = "{\"files\": [";
    for (const Private::Item &item : p_->items) {
        char seconds[80];
        std::snprintf(seconds, sizeof seconds, ", \"redirected_s\": %.3f, \"local_s\": %.3f, \"reasons\": [",
                      item.redirected, item.local);
        out +=
            (&item == &p_->items.front() ? "" : ", ") + std::string("{\"file\": ") + json_quoted(item.name) + seconds;
        for (const std::string &reason : item.reasons)
            out += (&reason == &item.reasons.front() ? "" : ", ") + json_quoted(reason);
        out += "]}";
    }
    return out + "]}\n";
}

} // namespace spice_overlay::guest
