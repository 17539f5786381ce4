// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtk/gtk.h>
#include <spice-client.h>

G_BEGIN_DECLS

/**
 * SpiceOverlayDisplay: a GTK 4 widget that shows the first display of a SPICE session, with the videos that its guest redirects.
 * It connects the session's display, cursor, inputs and video port channels as they appear, and forwards keyboard and pointer.
 * Wayland only. The widget paints black where the guest's display does not reach; the display lies on a subsurface above the
 * window, so what the program draws over it in the same window is seen only after spice_overlay_display_set_covered()
 * (popovers and other windows always are).
 *
 * C interface, main thread only.
 */
#define SPICE_OVERLAY_TYPE_DISPLAY (spice_overlay_display_get_type())
G_DECLARE_FINAL_TYPE(SpiceOverlayDisplay, spice_overlay_display, SPICE_OVERLAY, DISPLAY, GtkWidget)

typedef struct {
    const char *port_name;       /**< NULL: "org.spice-overlay.video.0"; "": no redirection */
    const char *decoder_program; /**< path of spice-overlay-decoder */
    unsigned target_delay_ms;    /**< from a frame's presentation time on the guest to its time here */
    gboolean resize_guest;       /**< ask the guest's agent to follow the widget's size */
    gboolean sandbox;            /**< around decoders; FALSE only where a person has asked for it and been warned */
} SpiceOverlayDisplayOptions;

/** The session must not be connected yet. Returns a floating widget; NULL with `error` set when the GDK display is not usable. */
GtkWidget *spice_overlay_display_new(SpiceSession *session, const SpiceOverlayDisplayOptions *options, GError **error);

/** Size of the guest's display in guest pixels, 0 x 0 while there is none. The signal "guest-resized" tells of changes. */
void spice_overlay_display_get_guest_size(SpiceOverlayDisplay *self, int *width, int *height);

/**
 * Whether the program draws anything over the widget in the same window, as a GtkOverlay does. The display is then shown
 * below the window, whose background is taken away for as long (by a style class on its root); what else lies between the
 * root and the widget must have none. Changes together with what the window draws next.
 */
void spice_overlay_display_set_covered(SpiceOverlayDisplay *self, gboolean covered);

/**
 * Figures in the corner of the display, for a person: how its videos get there, and how well. They take no input, and nothing lies
 * elsewhere for them.
 */
void spice_overlay_display_set_hud(SpiceOverlayDisplay *self, gboolean shown);
gboolean spice_overlay_display_get_hud(SpiceOverlayDisplay *self);

/*
 * Signals: "guest-resized" (int width, int height), see above. "statistics-changed" (): with the first change since
 * spice_overlay_display_dup_statistics() was last called. "trouble" (const char *what): something that the person should be
 * told: a clause in English, without a full stop, such as "a video is left to the guest: the decoder failed repeatedly".
 */

/** What the redirection has done so far, as the members of a JSON object without its braces. Free with g_free(). */
char *spice_overlay_display_dup_statistics(SpiceOverlayDisplay *self);

G_END_DECLS
