# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test clips whose every region tells frames and places apart, their burnt-in frame counter, and reference decodes
by the ffmpeg program. Shares no code with the programs under test."""

import functools
import hashlib
import json
import os
import pathlib
import struct
import subprocess

import numpy as np

BLOCK = 8  # pixels a side of one bit of the counter
BITS = 24  # 16 of the frame number, 8 of a check sum
DARK, BRIGHT = 48, 208


class BadVideo(Exception):
    """The file cannot be read as video; the text is for people."""


def _check_bits(number):
    return (number * 167 + (number >> 8) * 59 + 0x5A) & 0xFF


def counter_places(width, height):
    """Top-left corners of the counters in a picture: more than one, since windows cover the video."""
    w, h = BITS * BLOCK, BLOCK
    if width < w or height < h:
        return []
    xs = sorted({8 if width >= w + 16 else 0, width - w - 8 if width >= w + 16 else 0, (width - w) // 2})
    ys = sorted({8 if height >= h + 16 else 0, height - h - 8 if height >= h + 16 else 0, (height - h) // 2})
    return [(x // 2 * 2, y // 2 * 2) for y in ys for x in xs if len(xs) > 1 or x >= 0]


def read_counter(luma, valid, place, scale=(1.0, 1.0)):
    """The frame number in `luma` (2-D, screen pixels of the picture's target) at `place` (picture pixels), or None
    when it is not wholly inside `valid` or its check sum is wrong. `scale`: screen pixels per picture pixel."""
    number = 0
    for bit in range(BITS):
        x = (place[0] + (bit + 0.5) * BLOCK) * scale[0]
        y = (place[1] + 0.5 * BLOCK) * scale[1]
        reach = max(1, int(min(scale) * 2))
        rows, columns = slice(int(y) - reach, int(y) + reach), slice(int(x) - reach, int(x) + reach)
        if int(y) < reach or int(x) < reach or not valid[rows, columns].all() or valid[rows, columns].size == 0:
            return None
        number = number << 1 | int(luma[rows, columns].mean() > (DARK + BRIGHT) / 2)
    frame, check = number >> 8, number & 0xFF
    return frame if check == _check_bits(frame) else None


def _texture(width, height, seed):
    """Detail in which a shift of one pixel in any direction changes nearly every pixel."""
    random = np.random.default_rng(seed)
    fine = random.integers(-28, 29, (height, width))
    coarse = np.kron(random.integers(-24, 25, (height // 16 + 1, width // 16 + 1)), np.ones((16, 16), int))[
        :height, :width
    ]
    return fine + coarse


def frames(width, height, count, seed):
    """Yields (y, u, v) of each frame. Luma stays in 40 ... 215: black, white and flat test colours never occur in
    it."""
    texture = _texture(width, height, seed)
    ys, xs = np.mgrid[0:height, 0:width]
    cys, cxs = np.mgrid[0 : height // 2, 0 : width // 2]
    places = counter_places(width, height)
    for n in range(count):
        shade = 128 + 30 * np.sin((xs + 3 * n) / 37 + seed) + 22 * np.cos((ys - 2 * n) / 29)
        y = np.clip(shade + np.roll(texture, (n * 3, n * 5), (0, 1)), 40, 215).astype(np.uint8)
        u = (128 + 46 * np.sin(cxs / 61 + n / 23 + seed)).astype(np.uint8)
        v = (128 + 46 * np.cos(cys / 47 - n / 31 + seed)).astype(np.uint8)
        number = n << 8 | _check_bits(n)
        strip = np.kron(
            [[BRIGHT if number >> (BITS - 1 - bit) & 1 else DARK for bit in range(BITS)]], np.ones((BLOCK, BLOCK))
        )
        for px, py in places:
            y[py : py + BLOCK, px : px + strip.shape[1]] = strip
        yield y, u, v


ENCODERS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-g", "30", "-bf", "2"],
    "mpeg2": ["-c:v", "mpeg2video", "-q:v", "2", "-g", "15"],
    "vp8": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "12M", "-g", "30"],
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "10", "-g", "30", "-x265-params", "log-level=error"],
    "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "12M", "-g", "30"],
    "vp9-10": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "12M", "-g", "30"],
    "av1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "8M", "-g", "30"],
    "mjpeg": ["-c:v", "mjpeg", "-q:v", "2"],
}
PIXELS = {"mjpeg": "yuvj420p", "vp9-10": "yuv420p10le"}  # other than yuv420p: full range, 10 bits


def _unfinished(path):
    """Where to write what becomes `path`: tests that run beside each other may make the same."""
    return path.with_name(f"unfinished-{os.getpid()}-{path.name}")


def make(folder, width, height, count=240, fps=30, seed=1, codec="h264", suffix="mkv", options=()):
    """Path of a test clip, made on first use. 4:2:0, untagged colours."""
    kind = hashlib.sha256(repr((pathlib.Path(__file__).read_bytes(), codec, options)).encode()).hexdigest()[:8]
    path = pathlib.Path(folder) / f"clip-{codec}-{width}x{height}-{count}-{fps}-{seed}-{kind}.{suffix}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(path)
    ffmpeg = subprocess.Popen(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-s",
            f"{width}x{height}",
            "-r",
            str(fps),
            "-i",
            "-",
            *ENCODERS[codec],
            *options,
            "-pix_fmt",
            PIXELS.get(codec, "yuv420p"),
            str(unfinished),
        ],
        stdin=subprocess.PIPE,
    )
    for planes in frames(width, height, count, seed):
        for plane in planes:
            ffmpeg.stdin.write(plane.tobytes())
    ffmpeg.stdin.close()
    if ffmpeg.wait(timeout=300) != 0:
        raise BadVideo(f"ffmpeg could not encode {path}")
    unfinished.rename(path)
    return path


# Degrees clockwise -> cosine and sine of the track header's matrix, and ffmpeg's filter that does the same.
TURNS = {
    90: ((0, 1), "transpose=clock"),
    180: ((-1, 0), "hflip,vflip"),
    270: ((0, -1), "transpose=cclock"),
}


def turned(clip, degrees):
    """A copy of an MP4 clip whose track header asks to turn the picture by `degrees` clockwise."""
    path = clip.with_name(f"turned-{degrees}-{clip.name}")
    (cosine, sine), _ = TURNS[degrees]
    data = bytearray(clip.read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = data.index(identity, data.index(b"tkhd"))
    matrix = (cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    data[place : place + len(identity)] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def probe(video):
    """What ffprobe says of the first video stream of a file."""
    try:
        done = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "json", str(video)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except FileNotFoundError:
        raise BadVideo("ffprobe is not installed: apt-get install ffmpeg") from None
    streams = json.loads(done.stdout or "{}").get("streams", [])
    if not streams or not streams[0].get("width") or not streams[0].get("height"):
        why = done.stderr.strip().splitlines()
        raise BadVideo(f"{video}: no video in it" + (f" ({why[-1]})" if why else ""))
    return streams[0]


class Reference:
    """Every frame of a video as the ffmpeg program decodes it: 4:2:0 planes in the values of 8 bits (of a video of 10,
    with their quarters), and how they become colours. Of a long video the first `max_bytes` of decoded frames; `whole`
    says whether that is all. `turn`: of a video that asks for it, the frames turned by so many degrees clockwise."""

    def __init__(self, video, folder, max_bytes=4 << 30, turn=0):
        self.path, self.turn = pathlib.Path(video), turn
        info = probe(video)
        self.width, self.height = int(info["width"]), int(info["height"])
        if turn in (90, 270):
            self.width, self.height = self.height, self.width
        rate = info.get("avg_frame_rate", "0/0").split("/")
        self.fps = float(rate[0]) / float(rate[1]) if float(rate[1] or 0) else 0.0
        space = info.get("color_space")
        self.matrix = space if space in ("bt709", "bt2020nc") else "bt601"
        self.full_range = info.get("color_range") == "pc" or info.get("pix_fmt", "").startswith("yuvj")
        self.chroma = ((self.width + 1) // 2, (self.height + 1) // 2)
        self.deep = "10" in info.get("pix_fmt", "")
        samples = self.width * self.height + 2 * self.chroma[0] * self.chroma[1]
        self.frame_bytes = samples * (2 if self.deep else 1)
        key = hashlib.sha256(
            f"{self.path.resolve()} {self.path.stat().st_size} {self.path.stat().st_mtime_ns} {max_bytes} {turn}".encode()
        )
        raw = pathlib.Path(folder) / f"reference-{key.hexdigest()[:16]}.yuv"
        if not raw.exists():
            self._decode(raw, max(1, max_bytes // self.frame_bytes))
        data = np.memmap(raw, np.uint8, "r")
        self.count = data.size // self.frame_bytes
        if self.count == 0:
            raise BadVideo(f"{self.path}: ffmpeg decodes no frame of it")
        self.whole = self.count < max_bytes // self.frame_bytes
        data = data[: self.count * self.frame_bytes]
        if self.deep:
            data = data.view("<u2") / np.float32(4)
        self.data = data.reshape(self.count, samples)

    def _decode(self, raw, limit):
        raw.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _unfinished(raw)
        # Passthrough: every decoded frame once, as it is. Range and matrix stay the video's own.
        pixels = "yuv420p10le" if self.deep else "yuvj420p" if self.full_range else "yuv420p"
        done = subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-noautorotate",
                "-i",
                str(self.path),
                "-map",
                "0:v:0",
                *(["-vf", TURNS[self.turn][1]] if self.turn else []),
                "-fps_mode",
                "passthrough",
                "-frames:v",
                str(limit),
                "-pix_fmt",
                pixels,
                "-f",
                "rawvideo",
                str(unfinished),
            ],
            capture_output=True,
            text=True,
            timeout=600,
        )
        if not unfinished.exists() or unfinished.stat().st_size < self.frame_bytes:
            raise BadVideo(f"{self.path}: ffmpeg decodes no frame of it ({done.stderr.strip()[-200:]})")
        unfinished.rename(raw)

    @functools.cached_property
    def extremes(self):
        """The least and the largest sample of all frames, of Y, U and V each."""
        luma, (cw, ch) = self.width * self.height, self.chroma
        parts = np.split(self.data, [luma, luma + cw * ch], axis=1)
        return [(float(part.min()), float(part.max())) for part in parts]

    def planes(self, number):
        """(y, u, v) of frame `number`."""
        row = self.data[number]
        luma, (cw, ch) = self.width * self.height, self.chroma
        return (
            row[:luma].reshape(self.height, self.width),
            row[luma : luma + cw * ch].reshape(ch, cw),
            row[luma + cw * ch :].reshape(ch, cw),
        )
