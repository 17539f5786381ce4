/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SPICE_OVERLAY_GUEST_H
#define SPICE_OVERLAY_GUEST_H

/**
 * libspice-overlay-guest: lets a player in a SPICE guest have its video decoded and shown by the client.
 *
 * The player hands over access units instead of decoding them, and says where the picture is; spice-overlay-agentd brings
 * both to the client. Whether that happens is told per stream and may change at any time: while a stream is *redirected*
 * the player paints a flat placeholder; while it is not, it shows the video itself. It hands over units in both cases, so that
 * redirection can begin at once when a client comes.
 *
 * Threads: every function may be called from any thread, and none blocks unless it says so. The library has one thread of
 * its own for each connection, which calls the callbacks; a callback may call any function but
 * spice_overlay_guest_free() and spice_overlay_stream_free(). Both of these wait for a callback that runs.
 *
 * Loss of the agent is no error: streams are not redirected then, the library connects again by itself, and they are
 * redirected again when it has. The units since the last key unit are kept for that (8 MiB at most): a picture is shown at once.
 * With the environment variable SPICE_OVERLAY_DEBUG set, the library says on standard error what goes wrong with the agent.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC. Rectangles are pixels of the X screen (root window) unless said otherwise.
 * The protocol below is docs/protocol.md, "Relays". The binary interface is stable: structs that a caller fills in begin with
 * their size, and grow at their end only.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SPICE_OVERLAY_API __attribute__((visibility("default")))
#else
#define SPICE_OVERLAY_API
#endif

/** A connection to the agent. */
typedef struct spice_overlay_guest spice_overlay_guest;
/** A video. Belongs to its connection; is to be freed before it. */
typedef struct spice_overlay_stream spice_overlay_stream;

/** Numbers as in docs/protocol.md, "Codecs", which also says what an access unit of each is. */
typedef enum {
    SPICE_OVERLAY_CODEC_H264 = 1,
    SPICE_OVERLAY_CODEC_HEVC = 2,
    SPICE_OVERLAY_CODEC_VP8 = 3,
    SPICE_OVERLAY_CODEC_VP9 = 4,
    SPICE_OVERLAY_CODEC_AV1 = 5,
    SPICE_OVERLAY_CODEC_MPEG2 = 6,
    SPICE_OVERLAY_CODEC_MJPEG = 7
} spice_overlay_codec;

/** Numbers as in docs/protocol.md, "Reasons"; later versions may add some. */
typedef enum {
    SPICE_OVERLAY_REASON_NONE = 0,
    SPICE_OVERLAY_REASON_END_OF_STREAM = 1,
    SPICE_OVERLAY_REASON_CLOSED_BY_USER = 2,
    SPICE_OVERLAY_REASON_UNSUPPORTED_CODEC = 3,
    SPICE_OVERLAY_REASON_UNSUPPORTED_PROFILE = 4,
    SPICE_OVERLAY_REASON_TOO_LARGE = 5,
    SPICE_OVERLAY_REASON_TOO_MANY_STREAMS = 6,
    SPICE_OVERLAY_REASON_BAD_PARAMETERS = 7,
    SPICE_OVERLAY_REASON_DECODER_FAILED = 8,
    SPICE_OVERLAY_REASON_LINK_TOO_SLOW = 9,
    SPICE_OVERLAY_REASON_PROTOCOL_ERROR = 10,
    SPICE_OVERLAY_REASON_NO_RESOURCES = 11,
    SPICE_OVERLAY_REASON_SHUTTING_DOWN = 12,
    SPICE_OVERLAY_REASON_NO_CLIENT = 13,
    SPICE_OVERLAY_REASON_SESSION_INACTIVE = 14,
    /** Of this library: no agent answers on the socket. */
    SPICE_OVERLAY_REASON_NO_AGENT = 0x10000,
    /** Of this library: the agent has not answered yet. */
    SPICE_OVERLAY_REASON_PENDING = 0x10001
} spice_overlay_reason;

/** One line for people, in lower case, without a full stop; never NULL. */
SPICE_OVERLAY_API const char *spice_overlay_reason_text(spice_overlay_reason reason);

/* ---- connection */

/** The agent's socket, where the environment variable SPICE_OVERLAY_AGENT does not name another one. */
#define SPICE_OVERLAY_AGENT_SOCKET "/run/spice-overlay/agent.sock"

/**
 * Begins to connect. `socket_path` NULL: the default. `name`: program and version, for logs, or NULL. Never fails for want of
 * an agent; NULL only without memory or threads. To be freed with spice_overlay_guest_free().
 */
SPICE_OVERLAY_API spice_overlay_guest *spice_overlay_guest_new(const char *socket_path, const char *name);

/**
 * Ends the connection. All its streams must have been freed. Waits for half a second at most until what they still have to send
 * has gone. NULL is allowed.
 */
SPICE_OVERLAY_API void spice_overlay_guest_free(spice_overlay_guest *guest);

/**
 * Whether a stream of this codec and size would be redirected now, as far as agent and client have said: NONE, or why
 * not. Waits for the agent's first answer for at most `timeout_ms` (0: does not wait), after which it is PENDING. `width`, `height`:
 * coded pixels, 0 unknown.
 */
SPICE_OVERLAY_API spice_overlay_reason spice_overlay_guest_check(spice_overlay_guest *guest, spice_overlay_codec codec,
                                                                 uint32_t width, uint32_t height, int timeout_ms);

/**
 * Calls `changed` on the library's thread whenever the answer of spice_overlay_guest_check() may have become another one;
 * NULL ends that, and waits for a call that runs. While this is set, or a stream is open, the library looks for an agent
 * once a second; else only when spice_overlay_guest_check() asks.
 */
SPICE_OVERLAY_API void spice_overlay_guest_on_change(spice_overlay_guest *guest, void (*changed)(void *data),
                                                     void *data);

/* ---- streams */

/** What a stream is; begin with SPICE_OVERLAY_FORMAT_INIT. Copied. */
typedef struct {
    size_t struct_size;
    spice_overlay_codec codec;
    int32_t profile; /**< the codec's own number, -1 unknown */
    int32_t level;   /**< the codec's own number, -1 unknown */
    uint32_t width;  /**< coded pixels, not 0 */
    uint32_t height;
    uint32_t aspect_num; /**< sample aspect ratio */
    uint32_t aspect_den;
    uint8_t primaries; /**< ITU-T H.273, 2 unspecified */
    uint8_t transfer;
    uint8_t matrix;
    uint8_t full_range;      /**< 0 limited, 1 full */
    uint16_t rotation;       /**< degrees clockwise to turn the picture for display: 0, 90, 180, 270 */
    uint32_t frame_rate_num; /**< 0 unknown */
    uint32_t frame_rate_den;
    uint32_t bit_rate;        /**< bits per second, a hint, 0 unknown */
    const uint8_t *extradata; /**< parameter sets as docs/protocol.md, "Codecs", says, or NULL */
    size_t extradata_size;    /**< bytes, at most 32768 */
} spice_overlay_format;

#define SPICE_OVERLAY_FORMAT_INIT                                                                                                 \
    {                                                                                                                             \
        sizeof(spice_overlay_format), SPICE_OVERLAY_CODEC_H264, -1, -1, 0, 0, 1, 1, 2, 2, 2, 0, 0, 0, 1, 0, NULL, 0                 \
    }

/** What a player is told; called on the library's thread. Any of them may be NULL. Copied. */
typedef struct {
    size_t struct_size;
    /**
     * NONE: redirected: paint the placeholder from now on. Any other: show the video yourself, because of this. Called
     * once for each change; before the first call a stream is not redirected (PENDING).
     */
    void (*state)(void *data, spice_overlay_reason reason);
    /** What is sent is of no use until the next key unit: ask the source for one, if it can be asked. */
    void (*need_key)(void *data);
    /** Pictures shown, and dropped as late, since the stream began, as the client says. */
    void (*feedback)(void *data, uint64_t presented, uint64_t late);
    /**
     * The picture's size on the guest's desktop and how much of it is seen, as the window tracker says: tells whoever paints the placeholder
     * whether it has been found. Only with spice_overlay_stream_follow_*().
     */
    void (*placed)(void *data, uint32_t width, uint32_t height, uint64_t visible_pixels);
} spice_overlay_stream_events;

/**
 * Opens a stream. NULL, with errno EINVAL, when the format is not one that the protocol carries (unknown codec, a size that is 0 or
 * above 8192 a side, extradata too large). Whatever else is wrong comes as a state.
 */
SPICE_OVERLAY_API spice_overlay_stream *spice_overlay_stream_new(spice_overlay_guest *guest,
                                                                 const spice_overlay_format *format,
                                                                 const spice_overlay_stream_events *events, void *data);

/**
 * Ends a stream for `reason`. END_OF_STREAM: what waits still goes (within ten seconds), and the client shows what it has; any
 * other: the picture vanishes at once. No callback runs after this. NULL is allowed.
 */
SPICE_OVERLAY_API void spice_overlay_stream_free(spice_overlay_stream *stream, spice_overlay_reason reason);

/** The state that was told last. */
SPICE_OVERLAY_API spice_overlay_reason spice_overlay_stream_state(spice_overlay_stream *stream);

enum {
    SPICE_OVERLAY_UNIT_KEY = 1,           /**< decoding can begin here, with the extradata */
    SPICE_OVERLAY_UNIT_DISCONTINUITY = 2, /**< units before this one are missing */
    SPICE_OVERLAY_UNIT_DROPPABLE = 4      /**< no other unit refers to this one; found out for H.264, HEVC and MPEG-2 without this flag */
};

/**
 * Hands over one access unit, in decoding order; copied. `pts`: when it is to be seen. May be some time ahead of it: the
 * library holds units until they may go, and leaves out (whole units, up to a key unit) what is late. Returns 0, or -1 when the unit was
 * left out at once, with errno EINVAL (size 0 or above 16 MiB, time out of range) or ENOBUFS (too much waits; 8 MiB or 128 units), in
 * which case the units up to the next key unit are of no use.
 */
SPICE_OVERLAY_API int spice_overlay_stream_submit(spice_overlay_stream *stream, const uint8_t *data, size_t size,
                                                  int64_t pts, unsigned flags);

/** What has been handed over is neither decoded further nor shown: after a seek. The next unit should be a key unit. */
SPICE_OVERLAY_API void spice_overlay_stream_flush(spice_overlay_stream *stream);

/** Paused: the client shows what is due, and then keeps the last picture. Units that come later have later times. */
SPICE_OVERLAY_API void spice_overlay_stream_set_paused(spice_overlay_stream *stream, int paused);

/** For information, 1.0 normal; pts already follows it. */
SPICE_OVERLAY_API void spice_overlay_stream_set_rate(spice_overlay_stream *stream, double rate);

/* ---- where the picture is: one of the three below; the last call holds */

typedef struct {
    int32_t x;
    int32_t y;
    uint32_t width;
    uint32_t height;
} spice_overlay_rect;

/**
 * The player tells it: `target` is where the whole picture is, in pixels of the monitor `display` (from 0), `visible` the rectangles
 * whose union is to be seen (at most 256; with more it is not shown), `placeholder` the colour 0xRRGGBB it paints there, -1 none.
 */
SPICE_OVERLAY_API void spice_overlay_stream_set_region(spice_overlay_stream *stream, uint32_t display,
                                                       const spice_overlay_rect *target,
                                                       const spice_overlay_rect *visible, size_t count,
                                                       int32_t placeholder);

/**
 * The library follows an X11 window, while the stream is redirected: the picture fills `window` of the X display `display_name`
 * (NULL: $DISPLAY), or the largest rectangle of the picture's shape in its middle where `keep_aspect` is not 0. `key_colour` 0xRRGGBB: the
 * colour the player paints there; only where the screen really shows it is the picture seen, so that controls drawn over it stay in front.
 * -1: none. Waits for the X server. Returns 0, or -1 when this display cannot be opened (or the library was built without X11);
 * spice_overlay_guest_error() says why.
 */
SPICE_OVERLAY_API int spice_overlay_stream_follow_window(spice_overlay_stream *stream, const char *display_name,
                                                         uint32_t window, int keep_aspect, int32_t key_colour);

/**
 * As above, for whoever does not know the window: it is found by its colour, first among the windows of process `pid` (0: of this one), then
 * among all. Choose a colour that no other stream has: spice_overlay_key_colour().
 */
SPICE_OVERLAY_API int spice_overlay_stream_follow_colour(spice_overlay_stream *stream, const char *display_name,
                                                         uint32_t pid, int32_t key_colour);

/** A colour 0xRRGGBB for a placeholder, random, dark and rare; keeps its value in 8-bit YUV. Different for each call of a process. */
SPICE_OVERLAY_API int32_t spice_overlay_key_colour(void);

/** What the last function that failed in this thread has to say: one line for people; never NULL. */
SPICE_OVERLAY_API const char *spice_overlay_guest_error(void);

#ifdef __cplusplus
}
#endif

#endif
