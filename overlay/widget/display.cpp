// SPDX-License-Identifier: LGPL-2.1-or-later
#include "display.h"

#include "dmabuf/decoder/capabilities.h"
#include "guest_desktop.h"
#include "hud.h"
#include "input_forwarder.h"
#include "overlay/present/wayland/connection.h"
#include "overlay/present/wayland/transport.h"
#include "portclient/port_channel.h"
#include "redirection.h"
#include "statistics_json.h"
#include "statistics_text.h"
#include "style.h"

#include <gdk/wayland/gdkwayland.h>
#include <wayland-client.h>

#include <optional>
#include <set>

using namespace spice_overlay;

namespace {

/// How long after the desktop's first picture the port channels may take to tell their names.
constexpr std::int64_t kPortPatience = 3'000'000'000;
/// ns that GTK may take to paint the window when something is to change with it.
constexpr std::int64_t kStall = 1'000'000'000;

const char *port_name_of(const SpiceOverlayDisplayOptions &options)
{
    return options.port_name ? options.port_name : wire::kDefaultPortName;
}

/// The widget's inside: everything that is not GObject. Main thread.
class DisplayCore : private PortChannel::Listener {
public:
    /// Without `codecs` nothing is redirected.
    DisplayCore(SpiceOverlayDisplay *widget, SpiceSession *session, const SpiceOverlayDisplayOptions &options,
                std::vector<wire::CodecCapability> codecs, std::unique_ptr<WaylandConnection> connection);
    ~DisplayCore() override { statistics_.on_change = nullptr; } // streams that end now are of no interest

    void map();
    void unmap();
    void resized(int width, int height);
    void set_covered(bool covered);
    /// Where the window must not paint, in the widget; empty: nowhere.
    [[nodiscard]] Fit see_through() const { return covered_ ? in_widget(screen_.shown()) : Fit(); }

    [[nodiscard]] const GuestDesktop &desktop() const { return desktop_; }
    [[nodiscard]] std::string statistics();
    [[nodiscard]] Hud &hud() { return hud_; }

private:
    void opened() override { redirection_->port_opened(); }
    void closed() override { redirection_->port_closed(); }
    void data(std::span<const std::uint8_t> bytes) override { redirection_->port_data(bytes); }

    void screen_changed() { update_timer_.set(0); }
    void update();
    void commit_with_window();
    void layout();
    void after_paint();
    void stalled();
    [[nodiscard]] bool find_space();
    [[nodiscard]] Fit in_widget(Fit fit) const;
    void set_background();
    void watch_for_changes();
    [[nodiscard]] double frames_a_second();
    [[nodiscard]] Hud::Figures figures();
    void tell(const std::string &trouble);

    SpiceOverlayDisplay *widget_;
    SpiceSession *session_;
    bool resize_guest_;
    bool covered_ = false;
    std::set<std::string> logged_; ///< troubles
    Statistics statistics_;
    std::unique_ptr<WaylandConnection> connection_;
    MainTimer update_timer_;
    MainTimer stall_timer_; ///< set while something waits for the window
    Screen screen_;
    GuestDesktop desktop_;
    InputForwarder input_;
    std::unique_ptr<Redirection> redirection_;
    std::unique_ptr<PortChannel> port_;
    std::unique_ptr<FdWatch> releases_; ///< explicit synchronisation
    MainTimer port_missing_timer_;
    Hud hud_;
    std::int64_t rate_since_ = 0; ///< ns of CLOCK_MONOTONIC: frames were counted then
    std::uint64_t rate_frames_ = 0;
    double rate_ = 0; ///< frames a second, before that

    // While mapped:
    wl_surface *parent_ = nullptr;
    GtkWidget *root_ = nullptr; ///< while it has our style class
    std::optional<SignalConnection> layout_signal_;
    std::optional<SignalConnection> after_paint_signal_;
    bool layout_pending_ = false; ///< the parent has to commit what layout() has set
    double space_x_ = 0;          ///< of the widget in the window's surface, logical pixels
    double space_y_ = 0;
};

} // namespace

struct _SpiceOverlayDisplay {
    GtkWidget parent_instance;
    DisplayCore *core;
};

G_DEFINE_FINAL_TYPE(SpiceOverlayDisplay, spice_overlay_display, GTK_TYPE_WIDGET)

static guint guest_resized_signal;
static guint trouble_signal;
static guint statistics_changed_signal;

namespace {

DisplayCore::DisplayCore(SpiceOverlayDisplay *widget, SpiceSession *session, const SpiceOverlayDisplayOptions &options,
                         std::vector<wire::CodecCapability> codecs, std::unique_ptr<WaylandConnection> connection)
    : widget_(widget),
      session_(session),
      resize_guest_(options.resize_guest),
      connection_(std::move(connection)),
      update_timer_([this] { update(); }), stall_timer_([this] { stalled(); }),
      screen_(statistics_),
      desktop_(
          session, GTK_WIDGET(widget), screen_, [this] { screen_changed(); },
          [this] {
              commit_with_window();
              port_missing_timer_.set(desktop_.width() > 0 ? monotonic_now() + kPortPatience : -1);
              g_signal_emit(widget_, guest_resized_signal, 0, desktop_.width(), desktop_.height());
          },
          [this](const std::string &trouble) { tell(trouble); }),
      input_(session, GTK_WIDGET(widget), [this] { return in_widget(screen_.fit()); }),
      port_missing_timer_([this, name = std::string(port_name_of(options))] {
          if (port_ && !port_->found())
              g_warning("the guest has no port named \"%s\": its videos are not redirected (see the option --port-name)",
                        name.c_str());
      }),
      hud_(
          GTK_WIDGET(widget), [this] { return figures(); }, [this] { commit_with_window(); })
{
    if (codecs.empty())
        return;
    if (ExplicitSync *sync = connection_->explicit_sync()) {
        const int reached = sync->begin([transport = &connection_->transport()] { return transport->open_timelines(); });
        if (reached >= 0)
            releases_ = std::make_unique<FdWatch>(reached, [sync] { sync->dispatch(); });
    }
    Redirection::Config config{options.decoder_program, std::move(codecs),
                               std::int64_t{options.target_delay_ms} * 1'000'000, options.sandbox != FALSE};
    redirection_ = std::make_unique<Redirection>(
        config, screen_, *connection_, statistics_,
        [this](std::span<const std::uint8_t> bytes) {
            port_->write(bytes);
            return_to_glib();
        },
        [this] { screen_changed(); }, [this](const std::string &trouble) { tell(trouble); });
    port_ = std::make_unique<PortChannel>(session, port_name_of(options), static_cast<PortChannel::Listener &>(*this));
}

/// Where the widget is in its window's surface. Returns whether that or its size has changed.
bool DisplayCore::find_space()
{
    GtkWidget *widget = GTK_WIDGET(widget_);
    GtkNative *native = gtk_widget_get_native(widget);
    graphene_point_t origin{};
    const graphene_point_t zero{};
    if (!native || !gtk_widget_compute_point(widget, GTK_WIDGET(native), &zero, &origin))
        return false;
    gtk_native_get_surface_transform(native, &space_x_, &space_y_);
    space_x_ += origin.x;
    space_y_ += origin.y;
#if GTK_CHECK_VERSION(4, 12, 0)
    double scale = gdk_surface_get_scale(gtk_native_get_surface(native));
#else
    double scale = gtk_widget_get_scale_factor(widget);
#endif
    return screen_.set_space(static_cast<int>(space_x_), static_cast<int>(space_y_), gtk_widget_get_width(widget),
                             gtk_widget_get_height(widget), scale);
}

Fit DisplayCore::in_widget(Fit fit) const
{
    fit.x -= static_cast<int>(space_x_);
    fit.y -= static_cast<int>(space_y_);
    return fit;
}

void DisplayCore::map()
{
    GtkNative *native = gtk_widget_get_native(GTK_WIDGET(widget_));
    GdkSurface *surface = gtk_native_get_surface(native);
    parent_ = gdk_wayland_surface_get_wl_surface(surface);
    if (Status attached = screen_.attach(*connection_, parent_, [this] { screen_changed(); }); !attached) {
        g_warning("%s", attached.error().message.c_str());
        return;
    }
    GdkFrameClock *clock = gdk_surface_get_frame_clock(surface);
    layout_signal_.emplace(
        clock, "layout", G_CALLBACK(+[](GdkFrameClock *, gpointer d) { static_cast<DisplayCore *>(d)->layout(); }), this,
        true);
    after_paint_signal_.emplace(
        clock, "after-paint",
        G_CALLBACK(+[](GdkFrameClock *, gpointer d) { static_cast<DisplayCore *>(d)->after_paint(); }), this);
    set_background();
    hud_.attach(*connection_, parent_);
    layout_pending_ = false;
    commit_with_window();
}

void DisplayCore::tell(const std::string &trouble)
{
    if (logged_.insert(trouble).second) // a guest may have the same trouble for ever
        g_warning("%s", trouble.c_str());
    g_signal_emit(widget_, trouble_signal, 0, trouble.c_str());
    return_to_glib();
}

void DisplayCore::watch_for_changes()
{
    statistics_.on_change = [this] {
        hud_.something_happened();
        g_signal_emit(widget_, statistics_changed_signal, 0);
        return_to_glib();
    };
}

/// Over the time since it was last asked, if that was long enough.
double DisplayCore::frames_a_second()
{
    constexpr std::int64_t kShortest = 400'000'000; // ns
    const std::int64_t now = monotonic_now();
    if (now - rate_since_ < kShortest)
        return rate_;
    rate_ = static_cast<double>(statistics_.frames_presented - rate_frames_) * 1e9 / static_cast<double>(now - rate_since_);
    rate_since_ = now;
    rate_frames_ = statistics_.frames_presented;
    return rate_;
}

std::string DisplayCore::statistics()
{
    watch_for_changes();
    return to_json(statistics_, redirection_ ? redirection_->streams() : std::vector<StreamFacts>(), frames_a_second(),
                   redirection_ ? redirection_->counters() : Session::Counters{}, screen_.copied_pixels(),
                   main_loop_turns());
}

Hud::Figures DisplayCore::figures()
{
    watch_for_changes();
    const double rate = frames_a_second();
    return {to_text(statistics_, redirection_ ? redirection_->streams() : std::vector<StreamFacts>(), rate), rate > 0};
}

void DisplayCore::set_covered(bool covered)
{
    if (covered == covered_)
        return;
    covered_ = covered;
    screen_.set_covered(covered);
    set_background();
    commit_with_window();
}

void DisplayCore::set_background()
{
    static const char *const style = "spice-overlay-covered";
    if (root_)
        gtk_widget_remove_css_class(root_, style);
    root_ = covered_ && parent_ ? GTK_WIDGET(gtk_widget_get_root(GTK_WIDGET(widget_))) : nullptr;
    if (root_)
        gtk_widget_add_css_class(root_, style);
}

/// A new subsurface becomes part of the window with the window's commit; and one that gets its first picture later is not
/// repainted by Weston 10 before that either.
void DisplayCore::commit_with_window()
{
    if (!std::exchange(layout_pending_, true)) // else a guest that goes on changing its resolution would put it off
        stall_timer_.set(monotonic_now() + kStall);
    gtk_widget_queue_allocate(GTK_WIDGET(widget_));
    gtk_widget_queue_draw(GTK_WIDGET(widget_));
}

void DisplayCore::unmap()
{
    layout_signal_.reset();
    after_paint_signal_.reset();
    hud_.detach();
    screen_.detach();
    parent_ = nullptr;
    set_background();
}

/// After GTK has laid out the window, before it paints and commits it.
void DisplayCore::layout()
{
    if (!find_space() && !layout_pending_)
        return;
    layout_pending_ = true;
    hud_.set_origin(static_cast<int>(space_x_), static_cast<int>(space_y_));
    screen_.begin_layout();
    screen_.update(monotonic_now(), true);
}

void DisplayCore::after_paint()
{
    if (!layout_pending_ || !parent_)
        return;
    layout_pending_ = false;
    stall_timer_.set(-1);
    wl_surface_commit(parent_); // GTK does not commit when nothing of its own has changed
    screen_.end_layout();
    connection_->flush();
    if (screen_.awaits_layout()) // no buffer was free
        commit_with_window();
    screen_changed();
}

/// A compositor may ask a window that is wholly covered for no more frames (Weston 14), and GTK paints none then: what is to change could
/// never come. So it comes without what GTK has to paint, which follows as soon as the window is seen.
void DisplayCore::stalled()
{
    if (!layout_pending_ || !parent_)
        return;
    layout();
    after_paint();
}

void DisplayCore::update()
{
    screen_.update(monotonic_now());
    update_timer_.set(screen_.deadline());
}

void DisplayCore::resized(int width, int height)
{
    if (!resize_guest_ || width <= 0 || height <= 0)
        return;
    g_autoptr(GList) channels = spice_session_get_channels(session_);
    for (GList *l = channels; l; l = l->next)
        if (SPICE_IS_MAIN_CHANNEL(l->data))
            spice_main_channel_update_display(SPICE_MAIN_CHANNEL(l->data), 0, 0, 0, width, height, TRUE);
}

} // namespace

static void spice_overlay_display_init(SpiceOverlayDisplay *self)
{
    gtk_widget_set_focusable(GTK_WIDGET(self), TRUE);
    gtk_widget_set_hexpand(GTK_WIDGET(self), TRUE);
    gtk_widget_set_vexpand(GTK_WIDGET(self), TRUE);
    gtk_widget_set_overflow(GTK_WIDGET(self), GTK_OVERFLOW_HIDDEN);
}

static void display_dispose(GObject *object)
{
    SpiceOverlayDisplay *self = SPICE_OVERLAY_DISPLAY(object);
    delete std::exchange(self->core, nullptr);
    G_OBJECT_CLASS(spice_overlay_display_parent_class)->dispose(object);
}

static void display_map(GtkWidget *widget)
{
    GTK_WIDGET_CLASS(spice_overlay_display_parent_class)->map(widget);
    SPICE_OVERLAY_DISPLAY(widget)->core->map();
}

static void display_unmap(GtkWidget *widget)
{
    if (DisplayCore *core = SPICE_OVERLAY_DISPLAY(widget)->core)
        core->unmap();
    GTK_WIDGET_CLASS(spice_overlay_display_parent_class)->unmap(widget);
}

static void display_size_allocate(GtkWidget *widget, int width, int height, int)
{
    SPICE_OVERLAY_DISPLAY(widget)->core->resized(width, height);
}

static void display_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    const Fit hole = SPICE_OVERLAY_DISPLAY(widget)->core->see_through();
    const int width = gtk_widget_get_width(widget);
    const int height = gtk_widget_get_height(widget);
    auto paint = [snapshot](int x1, int y1, int x2, int y2) {
        const GdkRGBA black{0, 0, 0, 1};
        graphene_rect_t rect;
        graphene_rect_init(&rect, static_cast<float>(x1), static_cast<float>(y1), static_cast<float>(x2 - x1),
                           static_cast<float>(y2 - y1));
        if (x1 < x2 && y1 < y2)
            gtk_snapshot_append_color(snapshot, &black, &rect);
    };
    if (hole.empty())
        return paint(0, 0, width, height);
    paint(0, 0, width, hole.y);
    paint(0, hole.y, hole.x, hole.y + hole.height);
    paint(hole.x + hole.width, hole.y, width, hole.y + hole.height);
    paint(0, hole.y + hole.height, width, height);
}

static void display_measure(GtkWidget *, GtkOrientation, int, int *minimum, int *natural, int *, int *)
{
    *minimum = 16;
    *natural = 320;
}

static void spice_overlay_display_class_init(SpiceOverlayDisplayClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = display_dispose;
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    widget_class->map = display_map;
    widget_class->unmap = display_unmap;
    widget_class->size_allocate = display_size_allocate;
    widget_class->snapshot = display_snapshot;
    widget_class->measure = display_measure;
    guest_resized_signal = g_signal_new("guest-resized", SPICE_OVERLAY_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, nullptr,
                                        nullptr, nullptr, G_TYPE_NONE, 2, G_TYPE_INT, G_TYPE_INT);
    trouble_signal = g_signal_new("trouble", SPICE_OVERLAY_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, nullptr, nullptr,
                                  nullptr, G_TYPE_NONE, 1, G_TYPE_STRING);
    statistics_changed_signal = g_signal_new("statistics-changed", SPICE_OVERLAY_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, nullptr,
                                             nullptr, nullptr, G_TYPE_NONE, 0);
}

GtkWidget *spice_overlay_display_new(SpiceSession *session, const SpiceOverlayDisplayOptions *options, GError **error)
{
    GdkDisplay *gdk_display = gdk_display_get_default();
    if (!GDK_IS_WAYLAND_DISPLAY(gdk_display)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "there is no Wayland compositor to show the display on: set WAYLAND_DISPLAY, and not GDK_BACKEND=x11");
        return nullptr;
    }
    auto dmabufs = dmabuf_use_from(g_getenv("SPICE_OVERLAY_DMABUF"));
    if (!dmabufs) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, dmabufs.error().message.c_str());
        return nullptr;
    }
    auto hardware = hardware_settings_from(g_getenv("SPICE_OVERLAY_HARDWARE"), g_getenv("SPICE_OVERLAY_RENDER_NODE"));
    if (!hardware) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, hardware.error().message.c_str());
        return nullptr;
    }
    auto connection = WaylandConnection::connect(gdk_wayland_display_get_wl_display(gdk_display), *dmabufs);
    if (!connection) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, connection.error().message.c_str());
        return nullptr;
    }
    (*connection)->transport().set_hardware(std::move(*hardware));
    std::vector<wire::CodecCapability> codecs;
    if (*port_name_of(*options)) {
        auto capabilities = decoder_capabilities(options->decoder_program);
        if (!capabilities) {
            g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED, capabilities.error().message.c_str());
            return nullptr;
        }
        codecs = std::move(*capabilities);
    }
    add_style(gdk_display, "window.spice-overlay-covered { background: none; }");
    auto *self = SPICE_OVERLAY_DISPLAY(g_object_new(SPICE_OVERLAY_TYPE_DISPLAY, nullptr));
    self->core = new DisplayCore(self, session, *options, std::move(codecs), std::move(*connection));
    return GTK_WIDGET(self);
}

void spice_overlay_display_get_guest_size(SpiceOverlayDisplay *self, int *width, int *height)
{
    *width = self->core ? self->core->desktop().width() : 0;
    *height = self->core ? self->core->desktop().height() : 0;
}

void spice_overlay_display_set_covered(SpiceOverlayDisplay *self, gboolean covered)
{
    if (self->core)
        self->core->set_covered(covered);
}

void spice_overlay_display_set_hud(SpiceOverlayDisplay *self, gboolean shown)
{
    if (self->core)
        self->core->hud().set_shown(shown);
}

gboolean spice_overlay_display_get_hud(SpiceOverlayDisplay *self)
{
    return self->core && self->core->hud().shown();
}

char *spice_overlay_display_dup_statistics(SpiceOverlayDisplay *self)
{
    return g_strdup(self->core ? self->core->statistics().c_str() : "");
}
