# SPDX-License-Identifier: LGPL-2.1-or-later
"""Judges one screenshot of a desktop in motion, whatever the moment it was taken: where the video window and the
window that crosses it stand is found in the picture itself, by colours that occur nowhere else, and from there every
pixel that belongs to the video is known."""

import dataclasses

import numpy as np

import oracle

FRAME_WIDTH = 4  # of a video window's frame around the video, pixels
TITLE_HEIGHT = 24


@dataclasses.dataclass
class Look:
    """What the moving things look like. Colours are (r, g, b); the crossing window lies above the video window
    always."""

    frame: tuple
    placeholder: tuple
    crosser_colour: tuple
    crosser: np.ndarray  # its picture, (height, width, 3)
    forbidden: tuple  # colours of what lies behind the desktop: they occur nowhere on it


@dataclasses.dataclass
class Findings:
    target: tuple = None  # x, y, width, height of the video, by its frame in the picture
    crosser: tuple = None  # x, y of the crossing window
    frame: int = None  # number of the video frame
    crossed_pixels: int = 0  # of the video, covered
    placeholder_pixels: int = 0
    bare_pixels: int = 0  # of these, where the video belongs: it is not shown there, nor is anything else
    behind_pixels: int = 0
    disagreeing_pixels: int = 0  # hole, video and the desktop's own frame do not agree
    late_pixels: int = 0  # video where the crossing window already is: benign, its clip comes a moment later
    notes: list = dataclasses.field(default_factory=list)

    @property
    def clean(self):
        return self.true and not self.placeholder_pixels

    @property
    def true(self):
        """Nothing is where it does not belong, though some of the video, or all of it, may be missing."""
        return self.placeholder_pixels == self.bare_pixels and not (self.behind_pixels or self.disagreeing_pixels)


def _extent(mask, at_least):
    """x0, y0, x1, y1 around the rows and columns that hold `at_least` pixels of the mask, or None."""
    columns, rows = np.nonzero(mask.sum(0) >= at_least)[0], np.nonzero(mask.sum(1) >= at_least)[0]
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if columns.size and rows.size else None


def body_mask(pixels, colour):
    """Pixels of a window's body: its colour as the host paints it, with a small dent that is the same on R, G and B."""
    dent = pixels.astype(np.int16) - (np.asarray(colour, np.int16) & 0xF8)
    return (dent[..., 0] >= 0) & (dent[..., 0] <= 6) & (dent[..., 0] == dent[..., 1]) & (dent[..., 0] == dent[..., 2])


def find_crosser(pixels, look):
    """Top-left corner of the crossing window: of the places that its visible edges allow, the one where most fits."""
    extent = _extent(body_mask(pixels, look.crosser_colour), 3)
    if extent is None:
        return None
    height, width = look.crosser.shape[:2]
    top = TITLE_HEIGHT  # the body begins under the title bar, and a border of one pixel runs round it
    choices = [
        (x, y) for x in {extent[0] - 1, extent[2] + 1 - width} for y in {extent[1] - top, extent[3] + 1 - height}
    ]

    def fit(place):
        x, y = place
        if x < 0 or y < 0 or x + width > pixels.shape[1] or y + height > pixels.shape[0]:
            return -1
        return int((pixels[y : y + height, x : x + width] == look.crosser).all(-1).sum())

    best = max(choices, key=fit)
    return best if fit(best) >= 0 else None


def examine(pixels, look, reference):
    """The Findings on one screenshot. The video window is wholly on the display and the crossing window hides no
    side of it."""
    found = Findings()
    placeholder_mask = oracle.same_colour(pixels, look.placeholder)
    found.placeholder_pixels = int(placeholder_mask.sum())
    found.behind_pixels = int(sum(oracle.same_colour(pixels, colour).sum() for colour in look.forbidden))
    frame_mask = oracle.same_colour(pixels, look.frame)
    ring = _extent(frame_mask, FRAME_WIDTH)
    if ring is None or ring[2] - ring[0] <= 2 * FRAME_WIDTH or ring[3] - ring[1] <= 2 * FRAME_WIDTH:
        found.disagreeing_pixels = pixels.shape[0] * pixels.shape[1]
        found.notes.append("the video window's frame is not in the picture")
        return found
    x0, y0, x1, y1 = (int(edge) for edge in ring)
    found.target = (x0 + FRAME_WIDTH, y0 + FRAME_WIDTH, x1 - x0 - 2 * FRAME_WIDTH, y1 - y0 - 2 * FRAME_WIDTH)

    crossed = np.zeros(pixels.shape[:2], bool)
    unlike = np.zeros(pixels.shape[:2], bool)
    found.crosser = find_crosser(pixels, look)
    if found.crosser:
        (cx, cy), (height, width) = found.crosser, look.crosser.shape[:2]
        part = (slice(cy, cy + height), slice(cx, cx + width))
        crossed[part] = True
        unlike[part] = (pixels[part] != look.crosser).any(-1)

    inner = (slice(y0 + FRAME_WIDTH, y1 - FRAME_WIDTH), slice(x0 + FRAME_WIDTH, x1 - FRAME_WIDTH))
    frame_wanted = np.zeros(pixels.shape[:2], bool)
    frame_wanted[y0:y1, x0:x1] = True
    frame_wanted[inner] = False
    frame_wrong = frame_wanted & ~crossed & ~frame_mask
    stray_frame = frame_mask & ~frame_wanted

    tx, ty, width, height = found.target
    area = (tx, ty, tx + width, ty + height)
    video_mask = ~crossed[inner]
    found.crossed_pixels = int(crossed[inner].sum())
    bare = video_mask & placeholder_mask[inner]
    found.bare_pixels = int(bare.sum())
    video_mask &= ~bare
    is_video = np.zeros_like(video_mask)
    if video_mask.any():
        found.frame = oracle.identify(pixels[inner], video_mask, found.target, area, reference)
        scaled = (width, height) != (reference.width, reference.height)
        off = oracle.deviation(
            pixels[inner], oracle.picture_bounds(reference, found.frame, found.target, area, outside_samples=True)
        )
        is_video = off <= (oracle.SCALED_TOLERANCE if scaled else oracle.TOLERANCE)
    late = unlike[inner] & is_video
    found.late_pixels = int(late.sum())
    unlike[inner] &= ~late
    wrong = video_mask & ~is_video
    for what, mask in (("video", wrong), ("frame", frame_wrong), ("stray frame", stray_frame), ("crosser", unlike)):
        count = int(mask.sum())
        found.disagreeing_pixels += count
        if count:
            rows, columns = np.nonzero(mask)
            left, top = (tx, ty) if what == "video" else (0, 0)
            found.notes.append(
                f"{what}: {count} pixels in x {columns.min() + left}..{columns.max() + left}, "
                f"y {rows.min() + top}..{rows.max() + top}"
            )
    return found
