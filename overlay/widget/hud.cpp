// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hud.h"

#include <pango/pangocairo.h>

#include <vector>

namespace spice_overlay {

namespace {

constexpr std::int64_t kInterval = 500'000'000; ///< ns
constexpr int kInset = 12;                      ///< logical pixels, from the display's left edge
constexpr int kBelowBar = 64;                   ///< from its upper one: a message bar has room above
constexpr int kPadding = 8;
constexpr int kWidth = 620; ///< of the text; longer lines are broken

struct Picture {
    std::vector<std::uint32_t> pixels;
    int width = 0; ///< screen pixels
    int height = 0;
};

/// White on near black, in the colours of nothing but itself: it has to be read over any desktop.
Picture paint(GtkWidget *widget, const std::string &text, int scale)
{
    g_autoptr(PangoLayout) layout = gtk_widget_create_pango_layout(widget, text.c_str());
    PangoFontDescription *font = pango_font_description_from_string("Monospace 9");
    pango_layout_set_font_description(layout, font);
    pango_font_description_free(font);
    pango_layout_set_width(layout, kWidth * PANGO_SCALE);
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    int width = 0;
    int height = 0;
    pango_layout_get_pixel_size(layout, &width, &height);

    Picture picture;
    picture.width = (width + 2 * kPadding) * scale;
    picture.height = (height + 2 * kPadding) * scale;
    picture.pixels.resize(std::size_t(picture.width) * std::size_t(picture.height));
    cairo_surface_t *surface =
        cairo_image_surface_create_for_data(reinterpret_cast<unsigned char *>(picture.pixels.data()),
                                            CAIRO_FORMAT_RGB24, picture.width, picture.height, picture.width * 4);
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    cairo_set_source_rgb(cr, 0x1e / 255.0, 0x1e / 255.0, 0x1e / 255.0);
    cairo_paint(cr);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_move_to(cr, kPadding, kPadding);
    pango_cairo_show_layout(cr, layout);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return picture;
}

} // namespace

void Hud::set_shown(bool shown)
{
    shown_ = shown;
    note_.reset();
    if (shown)
        open();
    commit_();
}

void Hud::attach(WaylandConnection &connection, wl_surface *parent)
{
    connection_ = &connection;
    parent_ = parent;
    if (shown_)
        open();
}

void Hud::detach()
{
    note_.reset();
    connection_ = nullptr;
}

void Hud::set_origin(int x, int y)
{
    x_ = x;
    y_ = y;
    if (note_)
        note_->move(x_ + kInset, y_ + kBelowBar);
}

void Hud::open()
{
    if (!connection_)
        return;
    auto note = NoteSurface::create(*connection_, parent_);
    if (!note) {
        g_warning("%s", note.error().message.c_str());
        return;
    }
    note_ = std::move(*note);
    set_origin(x_, y_);
    text_.clear();
    draw();
}

void Hud::draw()
{
    waiting_ = false;
    if (!note_)
        return;
    drawn_ = monotonic_now();
    Figures figures = figures_();
    if (figures.moving)
        something_happened();
    if (figures.text == text_)
        return;
    text_ = std::move(figures.text);
    const int scale = gtk_widget_get_scale_factor(widget_);
    const Picture picture = paint(widget_, text_, scale);
    if (Status shown = note_->show(picture.pixels, picture.width, picture.height, scale); !shown)
        g_warning("%s", shown.error().message.c_str());
}

void Hud::something_happened()
{
    if (!note_ || std::exchange(waiting_, true))
        return;
    timer_.set(drawn_ + kInterval);
}

} // namespace spice_overlay
