# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pixel oracle: says of one screenshot whether every pixel is what the guest's desktop and the video make it. It
knows the framebuffer that the host drew and a reference decode by the ffmpeg program, and shares no code with the
client.

A pixel of the placeholder colour inside a stream's target belongs to that stream's video; every other pixel belongs
to the desktop. Desktop pixels must be equal to the framebuffer. Video pixels must lie within what the reference
frame allows: Y is taken where the pixel lies, U and V may come from any of the chroma samples around it (siting and
filter are the compositor's choice), and TOLERANCE is added for rounding. At an edge of what is shown of the picture,
a compositor's filter mixes in samples that lie outside, and need not have read them from this frame: a quarter of
the chroma, and of a scaled video up to half of everything; whole chroma samples where the compositor is known to
leave them unread (`unread_chroma`). Pixels that only this explains are counted apart, as edge_filter_pixels. A video that is drawn scaled may take Y from the samples around as well, since the filter is the
compositor's choice too."""

import dataclasses

import numpy as np

from clips import counter_places, read_counter

# Of 255, on each of R, G and B. Compositors take 127.5 for the middle of chroma (1 in B), filter it with weights of 8
# bits (one level, 2 in B), take 10 bits in the upper part of 16 for 16 (up to one level), and round.
TOLERANCE = 4
SCALED_TOLERANCE = 6  # when a filter has worked on Y as well
UNLIKE = 25  # of Y, on average: so far no filter moves a picture from the right frame's


@dataclasses.dataclass
class Video:
    """One stream as it should be on the screen. `target` is x, y, width, height in guest pixels and may lie partly
    outside."""

    target: tuple
    placeholder: tuple  # r, g, b
    reference: object  # clips.Reference, or None: only edges are checked
    frames: object = None  # frame numbers that may be shown; None: all of the reference
    index: int = 1
    chroma_left_unread: bool = False  # by the compositor, as unread_chroma() says


@dataclasses.dataclass
class Verdict:
    outside_mismatch_pixels: int = 0
    clip_mismatch_pixels: int = 0
    video_pixels: int = 0
    uncompared_pixels: int = 0  # of these, for want of a reference: the video is longer than what was decoded of it
    edge_filter_pixels: int = 0  # right but for what a filter takes from outside the picture
    worst_deviation: int = 0  # of 255, beyond the bounds without tolerance, among video pixels
    frames: dict = dataclasses.field(default_factory=dict)  # stream index -> frame number shown, None if unknown
    notes: list = dataclasses.field(default_factory=list)

    @property
    def clean(self):
        return self.outside_mismatch_pixels == 0 and self.clip_mismatch_pixels == 0


# Where the coded picture's right and bottom edge, beyond which a frame has more samples, are once it is turned clockwise.
FREE_EDGES = {0: ("right", "bottom"), 90: ("bottom", "left"), 180: ("left", "top"), 270: ("top", "right")}

MATRICES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020nc": (0.2627, 0.0593)}


def _coefficients(matrix, full_range):
    kr, kb = MATRICES[matrix]
    kg = 1 - kr - kb
    luma_gain, chroma_gain, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    return (
        luma_gain,
        black,
        2 * (1 - kr) * chroma_gain,
        2 * kb * (1 - kb) / kg * chroma_gain,
        2 * kr * (1 - kr) / kg * chroma_gain,
        2 * (1 - kb) * chroma_gain,
    )


def rgb_bounds(y_low, y_high, u_low, u_high, v_low, v_high, matrix="bt601", full_range=False):
    """Smallest and largest R, G, B (float arrays with a last axis of 3) that Y, U, V within the bounds can give."""
    gain, black, r_v, g_u, g_v, b_u = _coefficients(matrix, full_range)
    y = [(np.asarray(p, np.float32) - black) * gain for p in (y_low, y_high)]
    u = [np.asarray(p, np.float32) - 128 for p in (u_low, u_high)]
    v = [np.asarray(p, np.float32) - 128 for p in (v_low, v_high)]
    low = np.stack([y[0] + r_v * v[0], y[0] - g_u * u[1] - g_v * v[1], y[0] + b_u * u[0]], -1)
    high = np.stack([y[1] + r_v * v[1], y[1] - g_u * u[0] - g_v * v[0], y[1] + b_u * u[1]], -1)
    return np.clip(low, 0, 255), np.clip(high, 0, 255)


def _window(plane, rows, columns, reach):
    """Smallest and largest sample within `reach` samples around each (row, column): rows and columns are 1-D index
    arrays."""
    low = high = None
    for dy in range(-reach, reach + 1):
        line = plane[np.clip(rows + dy, 0, plane.shape[0] - 1)]
        for dx in range(-reach, reach + 1):
            part = line[:, np.clip(columns + dx, 0, plane.shape[1] - 1)]
            low = part if low is None else np.minimum(low, part)
            high = part if high is None else np.maximum(high, part)
    return low, high


def _mix_in_outside(low, high, edge, share):
    low[edge] = low[edge] * (1 - share)
    high[edge] = high[edge] * (1 - share) + 255 * share


def unread_chroma(start, end, size, places):
    """How much of its chroma a linear filter at each of `places` takes from samples that Weston's GL renderer has not read from this frame's
    shared memory. All in pixels of the picture, along one axis, of which the part from `start` to `end` of `size` is shown. The renderer reads
    what that part touches, and of a chroma plane half as many samples from half of where it begins, both rounded down."""
    first = int(np.floor(start)) // 2
    last = first + (int(np.ceil(end)) - int(np.floor(start))) // 2  # the first one that is not read any more
    at = np.asarray(places, np.float32) / 2 - 0.5
    before = np.clip(first - at, 0, 1) if first > 0 else np.zeros_like(at)
    after = np.clip(at - (last - 1), 0, 1) if 2 * last < size else np.zeros_like(at)
    return np.maximum(before, after)


def _shown_part(from_, to, place, length, size):
    """(start, end) in pixels of the picture: what is shown of it on an axis where it lies at `place` as `length` guest pixels and is seen
    from `from_` to `to`, as wl_fixed has it. Of edges that lie between two pixels the client makes sure that all is read."""
    start = np.floor((from_ - place) / length * size * 256 + 0.01) / 256
    end = start + np.floor((to - from_) / length * size * 256 + 0.01) / 256
    if start % 2 == 1:
        start -= 1
    if end % 1 == 0 and end < size:
        end += (end - np.floor(start)) % 2
    return start, end


def picture_bounds(reference, number, target, area, outside_samples=False, chroma_left_unread=False):
    """rgb_bounds of frame `number` drawn into `target`, for the screen pixels of `area` (x0, y0, x1, y1 in guest
    pixels). `outside_samples`: with any samples whatever just outside the right and bottom edge of the picture as it
    was coded, and outside the edges of the display; `chroma_left_unread`: as in Video, with these.
    """
    x, y, width, height = target
    x0, y0, x1, y1 = area
    luma, cb, cr = reference.planes(number)
    scale_x, scale_y = reference.width / width, reference.height / height
    across, down = (np.arange(x0, x1) - x + 0.5) * scale_x, (np.arange(y0, y1) - y + 0.5) * scale_y
    columns, rows = np.floor(across).astype(int), np.floor(down).astype(int)
    reach = 0 if scale_x == 1 and scale_y == 1 else int(np.ceil(max(scale_x, scale_y)))
    y_low, y_high = _window(luma, rows, columns, reach)
    u_low, u_high = _window(cb, rows // 2, columns // 2, reach // 2 + 1)
    v_low, v_high = _window(cr, rows // 2, columns // 2, reach // 2 + 1)
    if outside_samples:
        free = FREE_EDGES[reference.turn]
        first_row, first_column = y0 > y or "top" in free, x0 > x or "left" in free
        last_row, last_column = y1 < y + height or "bottom" in free, x1 < x + width or "right" in free
        row_edge = ((rows <= rows[0] + reach) & first_row) | ((rows >= rows[-1] - reach) & last_row)
        column_edge = ((columns <= columns[0] + reach) & first_column) | ((columns >= columns[-1] - reach) & last_column)
        planes = [
            [bound.astype(np.float32) for bound in pair] for pair in ((y_low, y_high), (u_low, u_high), (v_low, v_high))
        ]
        for low, high in planes if reach else planes[1:]:
            for edge in ((row_edge, slice(None)), (slice(None), column_edge)):
                _mix_in_outside(low, high, edge, 0.5 if reach else 0.25)
        if chroma_left_unread and reach:
            unread = (
                unread_chroma(*_shown_part(y0, y1, y, height, reference.height), reference.height, down)[:, None],
                unread_chroma(*_shown_part(x0, x1, x, width, reference.width), reference.width, across)[None, :],
            )
            for low, high in planes[1:]:
                for share in unread:
                    _mix_in_outside(low, high, slice(None), share)
        (y_low, y_high), (u_low, u_high), (v_low, v_high) = planes
    return rgb_bounds(y_low, y_high, u_low, u_high, v_low, v_high, reference.matrix, reference.full_range)


def same_colour(pixels, colour):
    return (pixels == np.asarray(colour, np.uint8)).all(-1)


def luma_of(pixels, reference):
    """Y as the reference would have it, from R, G, B."""
    kr, kb = MATRICES[reference.matrix]
    full = pixels @ np.array([kr, 1 - kr - kb, kb], np.float32)
    return full if reference.full_range else full * 219 / 255 + 16


def deviation(pixels, bounds):
    """How far each pixel lies outside the bounds, the worst of its channels; 0 inside."""
    low, high = bounds
    pixels = pixels.astype(np.float32)
    return np.maximum(np.maximum(low - pixels, pixels - high).max(-1), 0)


def identify(pixels, mask, target, area, reference, candidates=None):
    """The number of the frame shown: from the burnt-in counters that are in full view, else the frame that fits
    best."""
    return (likely_frames(pixels, mask, target, area, reference, candidates) or [None])[0]


def likely_frames(pixels, mask, target, area, reference, candidates=None, most=4):
    """Numbers of the frames that may be the one shown, likeliest first: one where burnt-in counters are in full
    view, else at most `most` of those that fit best at sample points, since frames of real footage can be nearly
    alike."""
    x, y, width, height = target
    scale = (width / reference.width, height / reference.height)
    luma = np.zeros((height, width), np.float32)
    valid = np.zeros((height, width), bool)
    inner = (slice(area[1] - y, area[3] - y), slice(area[0] - x, area[2] - x))
    luma[inner], valid[inner] = luma_of(pixels, reference), mask
    seen = [read_counter(luma, valid, place, scale) for place in counter_places(reference.width, reference.height)]
    seen = {number for number in seen if number is not None and number < reference.count}
    rows, columns = np.nonzero(mask)
    pick = np.random.default_rng(1).permutation(rows.size)[:3000]
    rows, columns = rows[pick], columns[pick]
    source_y = np.clip(((rows + area[1] - y + 0.5) / scale[1]).astype(int), 0, reference.height - 1)
    source_x = np.clip(((columns + area[0] - x + 0.5) / scale[0]).astype(int), 0, reference.width - 1)
    shown = luma_of(pixels[rows, columns], reference)
    numbers = np.arange(reference.count) if candidates is None else np.array(list(candidates))
    offsets = source_y * reference.width + source_x

    def error(number):
        return np.abs(reference.data[number, offsets].astype(np.float32) - shown).mean()

    # Of counters that cannot be read, one in 256 has the right check sum all the same.
    if len(seen) == 1 and (not offsets.size or error(*seen) < UNLIKE):
        return list(seen)
    if not numbers.size or not offsets.size:
        return []
    errors = [error(number) for number in numbers]
    return [int(number) for number in numbers[np.argsort(errors)[:most]]]


def inside_display(target, shape):
    x, y, width, height = target
    return max(x, 0), max(y, 0), min(x + width, shape[1]), min(y + height, shape[0])


def judge(shot, framebuffer, videos):
    """The Verdict on `shot` against `framebuffer`, both (height, width, 3) arrays of R, G, B and of the same size."""
    verdict = Verdict()
    if shot.shape != framebuffer.shape:
        verdict.outside_mismatch_pixels = framebuffer.shape[0] * framebuffer.shape[1]
        verdict.notes.append(
            f"the screenshot is {shot.shape[1]}x{shot.shape[0]}, "
            f"the desktop {framebuffer.shape[1]}x{framebuffer.shape[0]}"
        )
        return verdict
    desktop = np.ones(framebuffer.shape[:2], bool)
    for video in videos:
        area = inside_display(video.target, framebuffer.shape)
        if area[0] >= area[2] or area[1] >= area[3]:
            continue
        part = (slice(area[1], area[3]), slice(area[0], area[2]))
        mask = same_colour(framebuffer[part], video.placeholder) & desktop[part]
        if not mask.any():
            continue
        desktop[part] &= ~mask
        _judge_video(verdict, shot[part], mask, video, area)
    wrong = (shot != framebuffer).any(-1) & desktop
    verdict.outside_mismatch_pixels = int(wrong.sum())
    if wrong.any():
        rows, columns = np.nonzero(wrong)
        verdict.notes.append(
            f"desktop wrong in x {columns.min()}..{columns.max()}, y {rows.min()}..{rows.max()}, "
            f"first {shot[rows[0], columns[0]]} for {framebuffer[rows[0], columns[0]]}"
        )
    return verdict


def _away_from_edges(mask, edge=3):
    """Where pixels say which frame they are of: not at the edges, which a filter may have changed, if there are others."""
    inner = np.zeros_like(mask)
    inner[edge:-edge, edge:-edge] = mask[edge:-edge, edge:-edge]
    return inner if inner.any() else mask


def _judge_video(verdict, pixels, mask, video, area):
    verdict.video_pixels += int(mask.sum())
    if video.reference is None:
        wrong = same_colour(pixels, video.placeholder) & mask
        verdict.clip_mismatch_pixels += int(wrong.sum())
        return
    reference = video.reference
    scaled = tuple(video.target[2:]) != (reference.width, reference.height)
    tolerance = SCALED_TOLERANCE if scaled else TOLERANCE
    number, off, best = None, np.full(mask.shape, 255.0) * mask, 0
    telling = _away_from_edges(mask)
    # A handful of pixels has the luma of many frames.
    at_least = 4 if mask.sum() >= 64 else 32
    for rank, likely in enumerate(likely_frames(pixels, mask, video.target, area, reference, video.frames, most=32)):
        # Frames may differ by no more than a pointer that has moved, which the sample points do not see.
        if number is not None and (best == 0 or (rank >= at_least and best >= mask.sum() / 100)):
            break
        likely_off = deviation(pixels, picture_bounds(reference, likely, video.target, area)) * mask
        misfit = int((likely_off[telling] > tolerance).sum())
        if number is None or misfit < best:
            number, off, best = likely, likely_off, misfit
    verdict.frames[video.index] = number
    if video.frames is not None and number not in video.frames:
        verdict.notes.append(
            f"stream {video.index} shows frame {number}, not one of {min(video.frames)}..{max(video.frames)}"
        )
        verdict.clip_mismatch_pixels += int(mask.sum())
        return
    if not reference.whole and (off > tolerance).sum() > mask.sum() / 2:
        verdict.uncompared_pixels += int(mask.sum())
        verdict.frames[video.index] = None
        verdict.clip_mismatch_pixels += int((same_colour(pixels, video.placeholder) & mask).sum())
        return
    wrong = off > tolerance
    if wrong.any():
        unread = video.chroma_left_unread
        free = picture_bounds(reference, number, video.target, area, outside_samples=True, chroma_left_unread=unread)
        edge = wrong & (deviation(pixels, free) <= tolerance)
        verdict.edge_filter_pixels += int(edge.sum())
        wrong &= ~edge
        off[edge] = 0
    verdict.worst_deviation = max(verdict.worst_deviation, int(np.ceil(off.max())))
    verdict.clip_mismatch_pixels += int(wrong.sum())
    if wrong.any():
        rows, columns = np.nonzero(wrong)
        verdict.notes.append(
            f"stream {video.index} frame {number}: {wrong.sum()} pixels wrong in x {columns.min() + area[0]}.."
            f"{columns.max() + area[0]}, y {rows.min() + area[1]}..{rows.max() + area[1]}, off by {off.max():.0f}, "
            f"first {pixels[rows[0], columns[0]]}"
        )
