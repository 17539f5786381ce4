# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pixel oracle for a desktop that the compositor scales to fit its window. It models what a screen pixel may be:
the guest's pixel nearest to it, or a linear mix of the four around it (the filter is the compositor's choice, but one
for all of a surface), and of a video the same in Y, U and V. Where all the guest pixels that count are desktop, or
all are one video's, the screen must be that. Pixels at an edge between the two are mixed by the compositor: they must
lie among the colours around them, of which the placeholder is none, and half of one may be black: at the edge of the
picture itself there is nothing below the desktop's last, half transparent pixel. Around the desktop all is black."""

import dataclasses

import numpy as np

import oracle

TOLERANCE = 6  # of 255: weights of a linear filter have 7 or 8 bits, its steps are rounded
VIDEO_TOLERANCE = 10  # and chroma is filtered once more


@dataclasses.dataclass
class Verdict:
    outside_pixels: int = 0  # not black around the desktop
    desktop_pixels: int = 0  # wrong, as are all of these
    inside_pixels: int = 0
    edge_pixels: int = 0
    video_pixels: int = 0  # looked at
    frames: dict = dataclasses.field(default_factory=dict)
    filters: dict = dataclasses.field(default_factory=dict)  # what was drawn with which filter
    notes: list = dataclasses.field(default_factory=list)

    @property
    def clean(self):
        return not (self.outside_pixels or self.desktop_pixels or self.inside_pixels or self.edge_pixels)


def fit_of(guest, window):
    """x, y, width, height in logical pixels of a display of size `guest` in a window: as large as possible."""
    scale = min(window[0] / guest[0], window[1] / guest[1])
    width, height = round(guest[0] * scale), round(guest[1] * scale)
    return (window[0] - width) // 2, (window[1] - height) // 2, width, height


def _at(plane, indices, axis):
    return np.take(plane, np.clip(indices, 0, plane.shape[axis] - 1), axis)


def _linear(plane, places, axis):
    first = np.floor(places - 0.5).astype(int)
    weight = (places - 0.5 - first).astype(np.float32)
    shape = [1] * plane.ndim
    shape[axis] = -1
    weight = weight.reshape(shape)
    return _at(plane, first, axis) * (1 - weight) + _at(plane, first + 1, axis) * weight


def sample(plane, xs, ys, linear):
    """(low, high) of `plane` at the places ys x xs, in its pixels. Nearest is not sure of itself between two pixels."""
    plane = plane.astype(np.float32)
    if linear:
        mixed = _linear(_linear(plane, ys, 0), xs, 1)
        return mixed, mixed
    low = high = None
    for dy in (-0.01, 0.01):
        for dx in (-0.01, 0.01):
            rows, columns = np.floor(ys + dy).astype(int), np.floor(xs + dx).astype(int)
            one = _at(_at(plane, rows, 0), columns, 1)
            low = one if low is None else np.minimum(low, one)
            high = one if high is None else np.maximum(high, one)
    return low, high


def _around(low, high, rows, columns, radius):
    """The colours in the square around each of some pixels: the least of `low`, the most of `high`. NaN is none."""
    least, most = np.full((rows.size, 3), np.inf, np.float32), np.full((rows.size, 3), -np.inf, np.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            y, x = np.clip(rows + dy, 0, low.shape[0] - 1), np.clip(columns + dx, 0, low.shape[1] - 1)
            least, most = np.fmin(least, low[y, x]), np.fmax(most, high[y, x])
    return least, most


def _desktop_below(framebuffer, desktop, places):
    """The least and the most of what a linear filter may mix of the desktop at `places`: of the four guest pixels there, those in the mask. NaN
    where there are none. Drawn smaller, a pixel that lies between two others is seen in the mix alone."""
    low = high = np.full((places[1].size, places[0].size, 3), np.nan, np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            rows, columns = (np.floor(at - 0.5).astype(int) + step for at, step in ((places[1], dy), (places[0], dx)))
            here = _at(_at(framebuffer, rows, 0), columns, 1).astype(np.float32)
            here[~_at(_at(desktop, rows, 0), columns, 1)] = np.nan
            low, high = np.fmin(low, here), np.fmax(high, here)
    return low, high


class _Screen:
    def __init__(self, shot, framebuffer, scale):
        self.guest = framebuffer.shape[1], framebuffer.shape[0]
        fit = fit_of(self.guest, (shot.shape[1] // scale, shot.shape[0] // scale))
        self.scale, self.fit = scale, fit
        self.part = (
            slice(fit[1] * scale, (fit[1] + fit[3]) * scale),
            slice(fit[0] * scale, (fit[0] + fit[2]) * scale),
        )
        self.pixels = shot[self.part].astype(np.float32)
        # Of each screen pixel's middle: in logical pixels of the desktop's surface, and in guest pixels.
        self.logical = [(np.arange(fit[2 + axis] * scale) + 0.5) / scale for axis in (0, 1)]
        self.places = [self.logical[axis] * self.guest[axis] / fit[2 + axis] for axis in (0, 1)]
        self.per_guest_pixel = max(fit[2] / self.guest[0], fit[3] / self.guest[1]) * scale

    def shown(self, mask):
        """(all, some): whether every guest pixel that counts for a screen pixel lies in the mask, and whether any."""
        low, high = sample(mask, *self.places, False)
        for bound in sample(mask, *self.places, True):
            low, high = np.minimum(low, bound), np.maximum(high, bound)
        return low == 1, high > 0

    def video_places(self, video, whole):
        """Where in the picture each screen pixel lies, per axis. `whole`: the picture's own edges stretched outwards to
        whole logical pixels, which is as exact as a surface can be."""
        found = []
        for axis in (0, 1):
            size = (video.reference.width, video.reference.height)[axis]
            start, length = video.target[axis], video.target[2 + axis]
            per = self.fit[2 + axis] / self.guest[axis]
            first, last = max(start, 0), min(start + length, self.guest[axis])
            from_, to = first * per, last * per
            if whole:
                from_, to = np.floor(from_ + 1e-9), np.ceil(to - 1e-9)
            begin, end = ((np.clip(at / per, start, start + length) - start) / length * size for at in (from_, to))
            found.append(begin + (self.logical[axis] - from_) / (to - from_) * (end - begin))
        return found


def judge(shot, framebuffer, videos, scale, converted=False):
    """The Verdict on `shot`, of a window that the desktop fills as well as it fits; `scale` is the output's.
    `converted`: the compositor was given videos in R, G and B."""
    verdict, screen = Verdict(), _Screen(shot, framebuffer, scale)
    around = np.ones(shot.shape[:2], bool)
    around[screen.part] = False
    verdict.outside_pixels = int((shot.any(-1) & around).sum())

    desktop = np.ones(framebuffer.shape[:2], bool)
    # What may be mixed at edges.
    low, high = (np.full(screen.pixels.shape, np.nan, np.float32) for _ in range(2))
    settled = np.zeros(screen.pixels.shape[:2], bool)
    for video in videos:
        x0, y0, x1, y1 = oracle.inside_display(video.target, framebuffer.shape)
        mask = np.zeros(desktop.shape, bool)
        if x0 < x1 and y0 < y1:
            mask[y0:y1, x0:x1] = oracle.same_colour(framebuffer[y0:y1, x0:x1], video.placeholder)
        if not mask.any():
            continue
        desktop &= ~mask
        inside, some = screen.shown(mask)
        settled |= inside
        _judge_video(verdict, screen, video, inside, some, low, high, converted)

    inside, _ = screen.shown(desktop)
    wrong = None
    for name in ("linear", "nearest"):
        bounds = sample(framebuffer, *screen.places, name == "linear")
        off = (oracle.deviation(screen.pixels, bounds) > TOLERANCE) & inside
        if wrong is None or off.sum() < wrong.sum():
            wrong, verdict.filters["desktop"] = off, name
        if not off.any():
            break
    verdict.desktop_pixels = int(wrong.sum())
    _note(verdict, "desktop", wrong)

    least, most = _desktop_below(framebuffer, desktop, screen.places)
    low, high = np.fmin(low, least), np.fmax(high, most)
    rows, columns = np.nonzero(~(inside | settled))
    bounds = _around(low, high, rows, columns, 1 + int(np.ceil(screen.per_guest_pixel)))
    wrong = np.zeros(settled.shape, bool)
    bounds = bounds[0] / 2, bounds[1]
    wrong[rows, columns] = oracle.deviation(screen.pixels[rows, columns], bounds) > VIDEO_TOLERANCE
    verdict.edge_pixels = int(wrong.sum())
    _note(verdict, "edge", wrong)
    return verdict


def _judge_video(verdict, screen, video, inside, some, low, high, converted):
    verdict.video_pixels += int(inside.sum())
    rows, columns = (np.nonzero(some.any(axis))[0] for axis in (1, 0))
    area = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside, pixels = inside[area], screen.pixels[area]
    best = None
    reference = video.reference
    for number in _likely(screen, video, inside, area):
        whole_picture = (0, 0, reference.width, reference.height)
        texels = converted and oracle.picture_bounds(reference, number, whole_picture, whole_picture)
        for whole in (True, False):
            xs, ys = (p[part] for p, part in zip(screen.video_places(video, whole), reversed(area)))
            for name in ("linear", "nearest"):
                if converted:
                    bounds = [sample(texel, xs, ys, name == "linear")[i] for i, texel in enumerate(texels)]
                else:
                    bounds = _picture(reference, number, xs, ys, name == "linear")
                wrong = (oracle.deviation(pixels, bounds) > VIDEO_TOLERANCE) & inside
                if best is None or wrong.sum() < best[0].sum():
                    best = wrong, number, name, bounds
                if not wrong.any():
                    break
    if best is None:
        return
    wrong, number, name, bounds = best
    part = some[area]
    low[area][part], high[area][part] = bounds[0][part], bounds[1][part]
    verdict.inside_pixels += int(wrong.sum())
    verdict.frames[video.index], verdict.filters[video.index] = number, name
    _note(verdict, f"video {video.index} frame {number}", wrong, area)


def _likely(screen, video, mask, area, most=2):
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return []
    pick = np.random.default_rng(1).permutation(rows.size)[:2000]
    rows, columns = rows[pick], columns[pick]
    xs, ys = (p[part] for p, part in zip(screen.video_places(video, True), reversed(area)))
    reference = video.reference
    offsets = np.floor(ys[rows]).astype(int) * reference.width + np.floor(xs[columns]).astype(int)
    shown = oracle.luma_of(screen.pixels[area][rows, columns], reference)
    errors = [np.abs(frame[offsets].astype(np.float32) - shown).mean() for frame in reference.data]
    return [int(number) for number in np.argsort(errors)[:most]]


def _picture(reference, number, xs, ys, linear):
    y, u, v = reference.planes(number)
    extremes = reference.extremes
    luma = _with_what_is_beside(y, xs, ys, extremes[0]) if linear else sample(y, xs, ys, False)
    # The filter for chroma is the compositor's, or the decoder's that converts.
    chroma = []
    for plane, values in ((u, extremes[1]), (v, extremes[2])):
        one, other = _with_what_is_beside(plane, xs / 2, ys / 2, values), sample(plane, xs / 2, ys / 2, False)
        chroma.append((np.minimum(one[0], other[0]), np.maximum(one[1], other[1])))
    return oracle.rgb_bounds(*luma, *chroma[0], *chroma[1], reference.matrix, reference.full_range)


def _with_what_is_beside(plane, xs, ys, extremes):
    """A linear sample(); beyond the last column and row it may mix in samples of earlier frames of the same video."""
    low, high = sample(plane, xs, ys, True)
    for axis, places in ((0, ys), (1, xs)):
        share = np.clip(places - 0.5 - (plane.shape[axis] - 1), 0, 1).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        low, high = low + share * (extremes[0] - low), high + share * (extremes[1] - high)
    return low, high


def _note(verdict, what, wrong, area=(slice(0, 0), slice(0, 0))):
    if wrong.any():
        rows, columns = np.nonzero(wrong)
        rows, columns = rows + area[0].start, columns + area[1].start
        verdict.notes.append(
            f"{what}: {wrong.sum()} pixels wrong in x {columns.min()}..{columns.max()}, y {rows.min()}..{rows.max()}"
        )
