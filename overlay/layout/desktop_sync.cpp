// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desktop_sync.h"

#include "damage.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace spice_overlay {

namespace {

constexpr std::size_t kMaxPieces = 1024;
constexpr std::size_t kMaxPiecesPixels = 16u << 20; // 64 MiB
constexpr std::size_t kMaxWaiting = 128;
constexpr std::size_t kMaxTries = 256;
// What a guest without placeholders makes each damage of its desktop cost: geometries of a stream, and boxes of each.
constexpr std::size_t kMostAwaiting = 16;
constexpr std::size_t kMostAwaited = 32;

/// Steps of the search, of which a pixel looked at is one.
constexpr std::int64_t kWorkOfFit = 16;    ///< of looking whether a geometry fits, pixels aside
constexpr std::int64_t kWorkOfRegion = 32; ///< for each box of a region that is made

/// A stray placeholder is no speck, but may be a narrow strip: every eighth row and every eighth column finds it
/// where looking at each pixel would take long.
constexpr int kSampling = 8;
constexpr std::int64_t kSampledArea = 1 << 16;

/// Lossy desktop compression and colour conversion in the guest leave a flat colour a few steps off.
constexpr int kColourTolerance = 4;

bool near(std::uint32_t a, std::uint32_t b)
{
    for (int shift = 0; shift < 24; shift += 8) {
        int d = static_cast<int>(a >> shift & 255) - static_cast<int>(b >> shift & 255);
        if (std::abs(d) > kColourTolerance)
            return false;
    }
    return true;
}

/// What of `region` is left to wait for, or more.
GuestRegion awaited_without(const GuestRegion &region, const GuestRegion &without)
{
    return region.minus(without, kMostAwaited).value_or(region.bounds());
}

} // namespace

bool DesktopSync::pairing() const
{
    return live_.pixels && std::any_of(streams_.begin(), streams_.end(), [](const auto &s) {
               return s.second.showing && s.second.applied && s.second.applied->placeholder;
           });
}

/// The shadow exists exactly while damage may have to be kept back.
void DesktopSync::update_mode()
{
    if (pairing() == !shadow_.empty())
        return;
    if (shadow_.empty()) {
        shadow_.resize(static_cast<std::size_t>(live_.width) * static_cast<std::size_t>(live_.height));
        for (int y = 0; y < live_.height; ++y)
            std::memcpy(shadow_.data() + std::ptrdiff_t{y} * live_.width, live_.row(y), std::size_t(live_.width) * 4);
    } else {
        for (const Piece &piece : pieces_)
            add_damage(damage_, piece.rect);
        forget_pieces();
    }
}

void DesktopSync::forget_pieces()
{
    pieces_.clear();
    pieces_pixels_ = 0;
    shadow_ = {};
}

void DesktopSync::set_live(const Picture &live)
{
    forget_pieces();
    live_ = live;
    damage_ = live.bounds();
    for (auto &[id, stream] : streams_) {
        stream.paired = stream.doubted = stream.elsewhere = false;
        // No pixel outside the new picture is ever looked at: a display may shrink under a video.
        if (stream.applied)
            stream.applied->visible &= live.bounds();
        for (Waiting &w : stream.waiting)
            w.geometry.visible &= live.bounds();
    }
    update_mode();
}

void DesktopSync::damaged(const GuestRect &rect, std::int64_t now)
{
    GuestRect r = rect.intersected(live_.bounds());
    if (r.empty())
        return;
    for (auto &[id, stream] : streams_) {
        for (std::size_t i = 0; i < std::min(stream.waiting.size(), kMostAwaiting); ++i)
            if (GuestRegion &awaited = stream.waiting[stream.waiting.size() - 1 - i].awaited; !awaited.empty())
                awaited = awaited_without(awaited, r);
        if ((stream.applied && !stream.applied->target.intersected(r).empty())
            || (!stream.waiting.empty() && !stream.waiting.back().geometry.target.intersected(r).empty()))
            stream.drawn = now;
    }
    if (shadow_.empty()) {
        add_damage(damage_, r);
        return;
    }
    Piece piece{r, now, {}};
    piece.pixels.resize(static_cast<std::size_t>(r.area()));
    while (!pieces_.empty() &&
           (pieces_.size() >= kMaxPieces || pieces_pixels_ + piece.pixels.size() > kMaxPiecesPixels))
        give_up(1, now);
    pieces_pixels_ += piece.pixels.size();
    for (int y = r.y1; y < r.y2; ++y)
        std::memcpy(piece.pixels.data() + std::ptrdiff_t{y - r.y1} * r.width(), live_.row(y) + r.x1,
                    std::size_t(r.width()) * 4);
    pieces_.push_back(std::move(piece));
}

void DesktopSync::geometry(std::uint32_t id, const VideoGeometry &geometry, std::int64_t now)
{
    Stream &stream = streams_[id];
    Waiting w{geometry, now, {}};
    if (!geometry.placeholder && stream.applied && stream.applied->target == geometry.target && stream.showing)
        w.awaited = awaited_without(stream.applied->visible, geometry.visible);
    stream.told = now;
    if (stream.waiting.size() == kMaxWaiting)
        stream.waiting.pop_front();
    stream.waiting.push_back(std::move(w));
    if (stream.waiting.size() > kMostAwaiting)
        stream.waiting[stream.waiting.size() - 1 - kMostAwaiting].awaited = {};
}

void DesktopSync::set_showing(std::uint32_t id, bool showing)
{
    Stream &stream = streams_[id];
    stream.showing = showing;
    if (!showing)
        stream.paired = stream.doubted = stream.elsewhere = stream.astray = false;
    update_mode();
}

void DesktopSync::remove(std::uint32_t id)
{
    streams_.erase(id);
    update_mode();
}

/// Moves the oldest `count` pieces into the shadow.
void DesktopSync::release_pieces(std::size_t count, GuestRegion &damage)
{
    for (; count > 0; --count) {
        const Piece &piece = pieces_.front();
        const GuestRect &r = piece.rect;
        for (int y = r.y1; y < r.y2; ++y)
            std::memcpy(shadow_.data() + std::ptrdiff_t{y} * live_.width + r.x1,
                        piece.pixels.data() + std::ptrdiff_t{y - r.y1} * r.width(), std::size_t(r.width()) * 4);
        add_damage(damage, r);
        pieces_pixels_ -= piece.pixels.size();
        pieces_.pop_front();
    }
}

/// Releases the oldest `count` pieces with no geometry that fits them.
void DesktopSync::give_up(std::size_t count, std::int64_t now)
{
    for (auto &[id, stream] : streams_) {
        if (!stream.showing || !stream.paired || !stream.applied || fits(id, *stream.applied, count))
            continue;
        if (std::exchange(stream.doubted, true))
            patience_ = kLeastPatience; // it was in vain the last time
        if (stream.elsewhere || !shows_elsewhere(id, *stream.applied, count))
            continue;
        stream.elsewhere = true;
        stream.lost = now;
    }
    release_pieces(count, damage_);
}

/// What the shadow would show there with the oldest `pieces` pieces released. Never read from the live picture: SPICE may
/// already have drawn there what it has not yet told.
std::uint32_t DesktopSync::pixel(int x, int y, std::size_t pieces)
{
    --work_;
    while (pieces-- > 0) {
        --work_;
        const GuestRect &r = pieces_[pieces].rect;
        if (x >= r.x1 && x < r.x2 && y >= r.y1 && y < r.y2)
            return pieces_[pieces].pixels[static_cast<std::size_t>((y - r.y1) * r.width() + x - r.x1)];
    }
    return shadow_[static_cast<std::size_t>(y) * static_cast<std::size_t>(live_.width) + static_cast<std::size_t>(x)];
}

/// Whether the picture shows the placeholder just inside every edge of the visible region, and nowhere else where that could
/// have changed: not just outside of it, not where the video was before, not in what the pieces drew. No, when it takes too long to find out.
bool DesktopSync::fits(std::uint32_t id, const VideoGeometry &g, std::size_t pieces)
{
    if (!g.placeholder)
        return true;
    work_ -= kWorkOfFit;
    auto shows = [&](int x, int y) { return near(pixel(x, y, pieces), *g.placeholder); };
    std::vector<GuestRect> grown;
    for (std::size_t i = 0; i < g.visible.boxes().size(); ++i) {
        if (work_ < 0)
            return false;
        GuestRect r = g.visible.rect(i);
        for (int x = r.x1; x < r.x2; ++x)
            if (!shows(x, r.y1) || !shows(x, r.y2 - 1))
                return false;
        for (int y = r.y1; y < r.y2; ++y)
            if (!shows(r.x1, y) || !shows(r.x2 - 1, y))
                return false;
        grown.push_back(r.grown(1));
    }

    auto may_be = [&](int x, int y) {
        work_ -= static_cast<std::int64_t>(g.visible.boxes().size()) / 4;
        return g.visible.contains(x, y) || others_target(id, x, y);
    };
    auto sample = [this](const GuestRect &r, auto right) {
        int sampling = r.area() > kSampledArea ? kSampling : 1;
        for (int y = r.y1; y < r.y2; ++y) {
            int step = (y - r.y1) % sampling == 0 || y == r.y2 - 1 ? 1 : sampling;
            if (work_ < 0)
                return false;
            for (int x = r.x1; x < r.x2; x += step)
                if (!right(x, y))
                    return false;
        }
        return true;
    };
    auto absent = [&](const GuestRegion &region) {
        for (std::size_t i = 0; i < region.boxes().size(); ++i)
            if (!sample(region.rect(i), [&](int x, int y) { return !shows(x, y) || may_be(x, y); }))
                return false;
        return true;
    };
    work_ -= kWorkOfRegion * static_cast<std::int64_t>(grown.size());
    if (!absent((GuestRegion(std::span<const GuestRect>(grown)) & live_.bounds()) - g.visible))
        return false;
    if (const Stream &stream = streams_.at(id); stream.applied) {
        work_ -= static_cast<std::int64_t>(stream.applied->visible.boxes().size() * g.visible.boxes().size());
        if (!absent(stream.applied->visible - g.visible))
            return false;
    }
    for (std::size_t i = 0; i < pieces; ++i) {
        if (!absent(pieces_[i].rect))
            return false;
        work_ -= static_cast<std::int64_t>(grown.size());
        GuestRegion drawn = g.visible & pieces_[i].rect;
        for (std::size_t j = 0; j < drawn.boxes().size(); ++j)
            if (!sample(drawn.rect(j), shows))
                return false;
    }
    return work_ >= 0;
}

/// Whether the pieces draw the placeholder outside the target, or leave nothing of it along two of the visible region's sides: so do windows
/// that are moved, resized or hidden. One that only crosses the video does not. No, when it takes too long to find out.
bool DesktopSync::shows_elsewhere(std::uint32_t id, const VideoGeometry &g, std::size_t pieces)
{
    if (!g.placeholder || g.visible.empty())
        return false;
    auto shows = [&](int x, int y) { return near(pixel(x, y, pieces), *g.placeholder); };
    auto any = [this](const GuestRect &r, auto found) {
        const int sampling = r.area() > kSampledArea ? kSampling : 1;
        for (int y = r.y1; y < r.y2; ++y) {
            const int step = (y - r.y1) % sampling == 0 ? 1 : sampling;
            for (int x = r.x1; x < r.x2 && work_ >= 0; x += step)
                if (found(x, y))
                    return true;
        }
        return false;
    };
    const GuestRect b = g.visible.bounds();
    const GuestRect sides[] = {{{b.x1, b.y1, b.x2, b.y1 + 1}},
                               {{b.x1, b.y2 - 1, b.x2, b.y2}},
                               {{b.x1, b.y1, b.x1 + 1, b.y2}},
                               {{b.x2 - 1, b.y1, b.x2, b.y2}}};
    if (std::ranges::count_if(sides, [&](const GuestRect &side) { return !any(side, shows); }) >= 2)
        return work_ >= 0;
    for (std::size_t i = 0; i < pieces; ++i) {
        const GuestRegion outside = GuestRegion(pieces_[i].rect) - GuestRegion(g.target);
        for (std::size_t j = 0; j < outside.boxes().size(); ++j)
            if (any(outside.rect(j), [&](int x, int y) { return shows(x, y) && !others_target(id, x, y); }))
                return true;
    }
    return false;
}

/// Whether another stream's picture is there, or may have been in the time looked at: its placeholder may be of the same colour.
bool DesktopSync::others_target(std::uint32_t id, int x, int y)
{
    auto inside = [x, y](const GuestRect &r) { return x >= r.x1 && x < r.x2 && y >= r.y1 && y < r.y2; };
    for (const auto &[other_id, other] : streams_) {
        if (other_id == id)
            continue;
        work_ -= 1 + static_cast<std::int64_t>(other.waiting.size());
        if ((other.applied && inside(other.applied->target))
            || std::ranges::any_of(other.waiting, [&](const Waiting &w) { return inside(w.geometry.target); }))
            return true;
    }
    return false;
}

void DesktopSync::apply(Stream &stream, std::size_t index)
{
    stream.doubted = stream.elsewhere = false;
    stream.applied = std::move(stream.waiting[index].geometry);
    stream.waiting.erase(stream.waiting.begin(), stream.waiting.begin() + static_cast<std::ptrdiff_t>(index) + 1);
}

/// How long damage would have had to wait for this geometry, which came when it had been given up.
void DesktopSync::learn(const Stream &stream, const Waiting &chosen)
{
    if (stream.doubted)
        patience_ = std::clamp((chosen.since - stream.drawn) * 3 / 2, patience_, kMostPatience);
    else
        patience_ += (kPatience - patience_) / 64;
}

/// Applies a fitting geometry to every stream if each stream that keeps damage back has one; else changes nothing.
DesktopSync::Paired DesktopSync::pair(std::size_t pieces)
{
    constexpr std::size_t kKeep = static_cast<std::size_t>(-1);
    std::vector<std::pair<Stream *, std::size_t>> choices;
    bool geometry = false;
    for (auto &[id, stream] : streams_) {
        if (!stream.showing)
            continue;
        std::size_t choice = stream.waiting.size();
        while (choice-- > 0)
            if (stream.waiting[choice].geometry.placeholder && fits(id, stream.waiting[choice].geometry, pieces))
                break;
        if (choice == kKeep && stream.paired && stream.applied && !fits(id, *stream.applied, pieces))
            return Paired::kNo;
        geometry |= choice != kKeep;
        choices.emplace_back(&stream, choice);
    }
    for (auto &[stream, choice] : choices) {
        if (choice != kKeep) {
            learn(*stream, stream->waiting[choice]);
            apply(*stream, choice);
            stream->paired = true;
        }
    }
    return geometry ? Paired::kWithGeometry : pieces > 0 ? Paired::kAsItIs : Paired::kNo;
}

/// Whether a geometry is to wait until the picture shows it, however long that takes: what is shown is right, or nothing is.
/// One that hides the video is never false.
bool DesktopSync::waits_for_picture(const Stream &stream, const VideoGeometry &g)
{
    if (!g.placeholder || !stream.applied || !stream.applied->placeholder)
        return false;
    return stream.elsewhere || (stream.paired && !stream.doubted && !g.visible.empty());
}

/// When a video that is astray is shown again, whatever the picture.
std::int64_t DesktopSync::settled_at(const Stream &stream)
{
    return std::min(std::max(stream.drawn, stream.told) + kSettle, stream.lost + kMostAstray);
}

/// Applies what need not wait, or has waited long enough. Returns whether there was any.
bool DesktopSync::apply_unpaired(std::int64_t now, Released &released)
{
    bool any = false;
    for (auto &[id, stream] : streams_) {
        for (std::size_t i = stream.waiting.size(); i-- > 0;) {
            const Waiting &w = stream.waiting[i];
            bool ready = !stream.showing || !stream.applied || !live_.pixels;
            if (!ready && waits_for_picture(stream, w.geometry))
                continue;
            ready = ready || now - w.since >= (w.geometry.placeholder ? kLeastPatience : kShrinkPatience)
                    || (!w.geometry.placeholder && w.awaited.empty());
            if (!ready)
                continue;
            apply(stream, i);
            any = released.geometry = true;
            break;
        }
    }
    return any;
}

/// After everything is released that can be.
void DesktopSync::update_pairing(std::int64_t now, Released &released)
{
    for (auto &[id, stream] : streams_) {
        if (!shadow_.empty())
            stream.paired = stream.applied && fits(id, *stream.applied, 0);
        if (shadow_.empty() || stream.paired || (stream.elsewhere && now >= settled_at(stream)))
            stream.elsewhere = false;
        released.geometry |= std::exchange(stream.astray, stream.elsewhere) != stream.elsewhere;
    }
}

DesktopSync::Released DesktopSync::advance(std::int64_t now)
{
    Released released;
    work_ = allowance_;
    if (!shadow_.empty()) {
        // The newest prefix of the pieces that pairs. What is far behind is not worth the search.
        std::size_t tries = 0;
        for (std::size_t count = pieces_.size() + 1; count-- > 0 && tries < kMaxTries && work_ >= 0; ++tries) {
            Paired paired = pair(count);
            if (paired == Paired::kNo)
                continue;
            released.geometry = paired == Paired::kWithGeometry;
            release_pieces(count, damage_);
            break;
        }
        auto expired = [this, now] {
            std::size_t count = 0;
            while (count < pieces_.size() && now - pieces_[count].since >= patience_)
                ++count;
            return count;
        };
        while (const std::size_t count = expired()) // again: what was in vain shortens the patience with what is left
            give_up(count, now);
    }
    do {
        update_mode();
        update_pairing(now, released);
    } while (apply_unpaired(now, released));
    allowance_ = work_ >= 0 ? std::min(allowance_ * 2, kMostWork) : std::max(allowance_ / 4, kLeastWork);
    released.damage = std::exchange(damage_, {});
    return released;
}

std::int64_t DesktopSync::deadline() const
{
    std::int64_t first = -1;
    auto consider = [&first](std::int64_t t) { first = first < 0 ? t : std::min(first, t); };
    if (!pieces_.empty())
        consider(pieces_.front().since + patience_);
    for (const auto &[id, stream] : streams_) {
        if (stream.elsewhere)
            consider(settled_at(stream));
        for (const Waiting &w : stream.waiting)
            if (!waits_for_picture(stream, w.geometry))
                consider(w.since + (w.geometry.placeholder ? kLeastPatience : kShrinkPatience));
    }
    return first;
}

Picture DesktopSync::released() const
{
    if (shadow_.empty())
        return live_;
    return {shadow_.data(), live_.width, live_.width, live_.height};
}

const VideoGeometry *DesktopSync::applied(std::uint32_t id) const
{
    auto it = streams_.find(id);
    return it != streams_.end() && it->second.applied && !it->second.astray ? &*it->second.applied : nullptr;
}

} // namespace spice_overlay
