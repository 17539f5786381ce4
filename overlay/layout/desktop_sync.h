// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "video_geometry.h"

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace spice_overlay {

/// A 32-bit picture in somebody else's memory, 0x??RRGGBB a pixel.
struct Picture {
    const std::uint32_t *pixels = nullptr;
    int stride = 0; ///< pixels from one row to the next
    int width = 0;  ///< guest pixels
    int height = 0;

    [[nodiscard]] GuestRect bounds() const { return {{0, 0, width, height}}; }
    [[nodiscard]] const std::uint32_t *row(int y) const { return pixels + std::ptrdiff_t{y} * stride; }
};

/// Brings together what travels apart: the desktop's picture comes by the display channel, the geometry of the videos by the port,
/// and either may be late. Shown unpaired, a window that moved would leave its placeholder bare, or the video would
/// lie over the wrong pixels.
///
/// The guest paints a placeholder over exactly the visible region, so that the picture itself tells which geometry it belongs
/// to. Damage is kept back, piece by piece in the order it came, until the pieces up to some point show every
/// placeholder where a known geometry has it; those pieces and that geometry are then released together.
///
/// On a slow client or link either channel may be seconds behind the other. A geometry waits for as long as the released picture goes on to show
/// the one before: that is old, but not false. A desktop that waits is frozen, so damage is released unpaired after kPatience, which is
/// more where that has been seen to help and less where it has not; that stream then holds nothing back until it is seen paired again. If the picture shows
/// its video elsewhere, it is not to be shown until they agree, or until neither has changed for kSettle: then this guest's
/// placeholder is nothing to go by.
///
/// Without a placeholder (or a video on show) damage is released at once; a visible region that shrinks then waits
/// for damage over what it loses, or kShrinkPatience: of more than 16 the oldest do not. Growing and moving do not wait.
///
/// One thread. Times are ns of CLOCK_MONOTONIC.
class DesktopSync {
public:
    static constexpr std::int64_t kPatience = 500'000'000; ///< of damage, to begin with
    static constexpr std::int64_t kLeastPatience =
        250'000'000; ///< where no geometry has come of it, and of a geometry that has to be bounded
    static constexpr std::int64_t kMostPatience = 1'000'000'000; ///< where geometries are seen to be late
    static constexpr std::int64_t kSettle = 1'500'000'000;
    static constexpr std::int64_t kMostAstray =
        10'000'000'000; ///< a video is not shown, in one go, while both go on changing
    static constexpr std::int64_t kShrinkPatience = 34'000'000; ///< two frames at 60 Hz

    /// The live picture: SPICE draws into it, then damaged() is called. Forgets what is kept back. The memory must stay valid
    /// until the next call.
    void set_live(const Picture &live);
    void damaged(const GuestRect &rect, std::int64_t now);

    /// The newest geometry of a stream.
    void geometry(std::uint32_t stream, const VideoGeometry &geometry, std::int64_t now);
    /// Whether the stream has a frame to show; only then does its geometry keep damage back.
    void set_showing(std::uint32_t stream, bool showing);
    void remove(std::uint32_t stream);

    struct Released {
        GuestRegion damage;    ///< where released() has changed, by add_damage()
        bool geometry = false; ///< whether any applied() has
    };
    /// Releases all that can be.
    [[nodiscard]] Released advance(std::int64_t now);
    /// When advance() has to be called at the latest; negative: not before the next event.
    [[nodiscard]] std::int64_t deadline() const;

    /// The desktop as it may be shown, together with the applied geometries.
    [[nodiscard]] Picture released() const;
    /// Where the video may be shown. Nothing before the first geometry was released, and while the released picture shows it elsewhere.
    [[nodiscard]] const VideoGeometry *applied(std::uint32_t stream) const;

private:
    /// Steps of the search that one advance() may take, each about a nanosecond: many large pieces that are kept back for long stay below the
    /// first number. A guest that makes every search as long as it can gets a quarter each time, down to the second, and twice as many after
    /// each that was short: the person has other things to wait for.
    static constexpr std::int64_t kMostWork = 64'000'000;
    static constexpr std::int64_t kLeastWork = 250'000;

    struct Waiting {
        VideoGeometry geometry;
        std::int64_t since = 0;
        GuestRegion awaited; ///< without a placeholder, of the newest: what is to be damaged before the region shrinks
    };
    struct Stream {
        std::optional<VideoGeometry> applied;
        bool paired = false; ///< the released picture shows the placeholder as `applied` has it
        bool showing = false;
        bool doubted = false;        ///< unpaired damage has changed what `applied` is about
        bool elsewhere = false;      ///< and by that the released picture shows the video elsewhere
        bool astray = false;         ///< `elsewhere` as of the last advance(): not to be shown
        std::int64_t drawn = 0;      ///< when there was damage where it is or shall be
        std::int64_t told = 0;       ///< when its last geometry came
        std::int64_t lost = 0;       ///< since when it is `elsewhere`
        std::deque<Waiting> waiting; ///< by serial
    };
    struct Piece {
        GuestRect rect;
        std::int64_t since = 0;
        std::vector<std::uint32_t> pixels; ///< rows of rect.width()
    };

    [[nodiscard]] bool pairing() const;
    void update_mode();
    void forget_pieces();
    void release_pieces(std::size_t count, GuestRegion &damage);
    void give_up(std::size_t count, std::int64_t now);
    void update_pairing(std::int64_t now, Released &released);
    void learn(const Stream &stream, const Waiting &chosen);
    [[nodiscard]] static bool waits_for_picture(const Stream &stream, const VideoGeometry &geometry);
    [[nodiscard]] static std::int64_t settled_at(const Stream &stream);
    void apply(Stream &stream, std::size_t waiting_index);
    [[nodiscard]] std::uint32_t pixel(int x, int y, std::size_t pieces);
    [[nodiscard]] bool fits(std::uint32_t id, const VideoGeometry &geometry, std::size_t pieces);
    [[nodiscard]] bool shows_elsewhere(std::uint32_t id, const VideoGeometry &geometry, std::size_t pieces);
    [[nodiscard]] bool others_target(std::uint32_t id, int x, int y);
    enum class Paired { kNo, kAsItIs, kWithGeometry };
    [[nodiscard]] Paired pair(std::size_t pieces);
    bool apply_unpaired(std::int64_t now, Released &released);

    Picture live_;
    std::vector<std::uint32_t> shadow_; ///< the released picture while damage may be kept back, else empty
    std::deque<Piece> pieces_;
    std::size_t pieces_pixels_ = 0; ///< in all of them
    GuestRegion damage_; ///< not yet handed out by advance()
    std::map<std::uint32_t, Stream> streams_;
    std::int64_t work_ = 0;              ///< steps that the advance() under way may still take; below 0: it gives up
    std::int64_t allowance_ = kMostWork; ///< what the next one begins with
    std::int64_t patience_ = kPatience;  ///< of damage
};

} // namespace spice_overlay
