# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged bitstreams and sizes that are lies: through the decoder alone, thousands of them, and through the whole viewer, beside a film
that has to go on."""

import json
import pathlib
import random
import subprocess
import time

import clips
import meters
import oracle
import rehearsal
import stage as staging
import wire
from cases import check

CODECS = {"h264": 1, "hevc": 2, "vp8": 3, "vp9": 4, "av1": 5, "mpeg2": 6, "mjpeg": 7}  # docs/protocol.md
OF_FFMPEG = {"mpeg2video": "mpeg2"}
KINDS = ("flips", "truncated", "spliced", "changed")
FOOTAGE = ("forensics-samples/original-files", "openboard/library")  # of Debian packages, below /usr/share
FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}  # to what the sender sends


def ffmpeg(*words):
    done = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)], capture_output=True, timeout=600)
    if done.returncode != 0:
        raise clips.BadVideo(done.stderr.decode(errors="replace").strip()[-300:])


def kept(path, make):
    """`path`, made by `make(unfinished path)` on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name("unfinished-" + path.name)
        make(unfinished)
        unfinished.rename(path)
    return path


def units_of(video, codec, folder):
    """A NUT file of the video alone, its units as the sender sends them."""
    filters = ["-bsf:v", FILTERS[codec]] if codec in FILTERS else []
    return kept(
        folder / f"packets-{codec}-{video.name}.nut",
        lambda path: ffmpeg("-i", video, "-map", "0:v:0", "-c", "copy", "-frames:v", 300, *filters, "-f", "nut", path),
    )


def material(folder, footage=True):
    """(name, codec, units, units of another size) of every clip there is: ours in each codec, and what Debian's packages bring."""
    found = []
    for codec in CODECS:
        try:
            small = clips.make(folder, 192, 112, count=60, seed=5, codec=codec)
            large = clips.make(folder, 320, 240, count=30, seed=6, codec=codec)
            found.append((codec, codec, units_of(small, codec, folder), units_of(large, codec, folder)))
        except clips.BadVideo as problem:
            print(f"  no clip in {codec}: {problem}", flush=True)
    for film in films_of_packages() if footage else ():
        info = clips.probe(film)
        codec = OF_FFMPEG.get(info["codec_name"], info["codec_name"])
        if codec in CODECS:
            own = next((other for _, known, _, other in found if known == codec), None)
            units = units_of(film, codec, folder)
            found.append((film.name, codec, units, own or units))
    return found


def films_of_packages():
    return sorted(
        path
        for place in FOOTAGE
        for path in (pathlib.Path("/usr/share") / place).rglob("*")
        if path.suffix.lower() in (".mp4", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".ogv", ".3gp")
    )


def decode(program, decoder, units, other, codec, kind, variants, seed, announced=None):
    """What became of so many variants: the program's figures, with "log", the failures one by one."""
    size = announced or (int(clips.probe(units)["width"]), int(clips.probe(units)["height"]))
    words = [program, decoder, units, other, CODECS[codec], *size, variants, seed, kind]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, errors="replace", timeout=60 + 60 * variants)
    check(done.returncode == 0, f"the program that feeds the decoder ended with {done.returncode}: {done.stderr[-500:]}")
    return {**json.loads(done.stdout), "log": done.stderr}


# What one stream's decoder may have: frames (ipc::kMaxFrameMemory), and as much again for the codec's own.
PEAK_KIB = 2 * 1024 * 1024


def troubles(figures):
    """What in the figures breaks a promise, as texts."""
    wrong = []
    if figures["stuck"]:
        wrong.append(f"{figures['stuck']} variants that kept a decoder busy for a minute")
    if figures["descriptors"][0] != figures["descriptors"][1]:
        wrong.append(f"descriptors {figures['descriptors']}")
    if figures["peak_kib"] > PEAK_KIB:
        wrong.append(f"a decoder of {figures['peak_kib'] >> 10} MiB")
    if figures["largest"] > 1 << 25:
        wrong.append(f"a frame of {figures['largest']} pixels")
    # A call that the sandbox denies is one that a hostile stream can cause: to be looked at, whatever it is.
    wrong += [f"{count} x {why}" for why, count in figures["failures"].items() if any(bad in why for bad in ("sandbox", "must not", "cannot start"))]
    return wrong


# ---- through the viewer

SCENE = """desktop 800x400
wallpaper 6
video 1 good 40 120 320 240
video 2 bad 440 120 320 240
open good
open bad
step playing
wait 100ms
step after
"""
GOOD_SIZE, BAD_SIZE = (320, 240), (336, 240)
BAR, BAR_PADDING = (0x2D, 0x2D, 0x2D), 12  # the colour of the viewer's messages, and columns of it alone


def flipped(video, seed, folder):
    """A copy of a Matroska file with bits flipped inside its packets."""
    listed = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pos,size", "-of", "csv=p=0", str(video)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    data, rng = bytearray(video.read_bytes()), random.Random(seed)
    for size, pos in (map(int, line.strip(",").split(",")[:2]) for line in listed):
        if size > 64 and rng.random() < 0.5:
            for _ in range(rng.choice((1, 1, 4, 16))):
                data[pos + rng.randrange(40, size)] ^= 1 << rng.randrange(8)
    path = folder / f"flipped-{seed}-{video.name}"
    path.write_bytes(data)
    return path


def cut_off(video, folder):
    path = folder / f"cut-{video.name}"
    data = video.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    return path


def changing(folder):
    """One elementary stream after the other in a transport stream, each of another size."""
    parts = []
    for number, size in enumerate((BAD_SIZE, (640, 368), (128, 96), BAD_SIZE)):
        clip = clips.make(folder, *size, count=30, seed=30 + number)
        part = folder / f"part-{number}-{clip.stem}.ts"
        parts.append(kept(part, lambda path, clip=clip: ffmpeg("-i", clip, "-c", "copy", "-f", "mpegts", path)))
    path = folder / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def plain(folder, width, height, frames=4):
    """A film of so many pixels, of one colour: units of a few KiB."""
    source = f"color=gray:size={width}x{height}:rate=10"
    coded = ["-frames:v", frames, "-c:v", "libx264", "-preset", "ultrafast", "-coder", 1, "-g", 2, "-pix_fmt", "yuv420p"]
    return kept(
        folder / f"grey-{width}x{height}-{frames}.mkv",
        lambda path: ffmpeg("-f", "lavfi", "-i", source, *coded, "-f", "matroska", path),
    )


def read_units(video, folder):
    """[(data, key)] of an H.264 film, as Annex B."""
    nut = units_of(video, "h264", folder)
    words = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=size,flags", "-of", "csv=p=0", str(nut)]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    words = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(nut), "-map", "0:v", "-c", "copy", "-f", "data", "-"]
    data = subprocess.run(words, capture_output=True, timeout=60, check=True).stdout
    units = []
    for line in listed:
        size, flags = line.split(",")[:2]
        units.append((data[: int(size)], "K" in flags))
        data = data[int(size) :]
    return units


def bar_height(shot):
    """Rows that the viewer's own message takes, above the films; 0: there is none."""
    rows = oracle.same_colour(shot[:100, :BAR_PADDING], BAR).all(-1)
    return int(rows.argmin()) if not rows.all() else 0


class Pair:
    """A viewer before a desktop with two videos. The first plays well; the second is whatever play() is given."""

    def __init__(self, stage, build, renderer="pixman"):
        self.stage, self.folder = stage, build / "test-clips"
        self.good = clips.make(self.folder, *GOOD_SIZE, count=150, seed=8)
        self.bad = clips.make(self.folder, *BAD_SIZE, count=90, seed=9)
        self.references = {1: clips.Reference(self.good, self.folder)}
        scene = stage.path("pair.scene")
        scene.write_text(SCENE)
        self.weston = staging.Weston(stage, renderer, (800, 400))
        self.host = staging.Host(stage, scene)
        self.viewer = staging.Viewer(stage, self.weston, self.host.uri)
        self.host.wait("client-connected", seconds=120)
        self.sender = self.link = self.event = None

    def play(self, bad, change=None):
        """The good film and `bad`, in place of what has played before."""
        self.end()
        self.link = wire.Relay(self.stage.path("relay"), self.host.port, change)
        words = ["spice-overlay-play", self.good, bad, "--port", self.link.path, "--geometry-from", self.host.geometry, "--loop"]
        self.sender = self.stage.start("play", words)
        if not self.event:
            self.event = self.host.wait("step", seconds=120)
            self.framebuffer = staging.read_ppm(self.event["framebuffer"])
            targets = {video["index"]: video["target"] for video in self.event["videos"]}
            self.areas = {index: (slice(y, y + h), slice(x, x + w)) for index, (x, y, w, h) in targets.items()}

    def end(self):
        if self.sender:
            self.sender.stop()
            self.link.close()
            self.sender = self.link = None
            staging.wait_for(lambda: not meters.children(self.viewer.process.pid), 30, "the decoders of the last film to end")

    def verdict(self, masked=(2,), shown=(1,)):
        """Of one shot: whatever is in the areas of `masked`, the films of `shown` and the desktop around them have to be right."""
        shot = self.weston.shoot().pixels.copy()
        # The viewer may be telling of a stream that it has given up, at the top.
        bar = bar_height(shot)
        shot[:bar] = self.framebuffer[:bar]
        for index in masked:
            shot[self.areas[index]] = self.framebuffer[self.areas[index]]
        films = [video for video in rehearsal.videos_of(self.event, self.references) if video.index in shown]
        return oracle.judge(shot, self.framebuffer, films)

    def must_show(self, what, seconds=30, **of_verdict):
        last = staging.wait_for(lambda: self.clean(**of_verdict), seconds, lambda: f"{what}: {self.verdict(**of_verdict).notes}")
        check(self.viewer.process.alive, f"the viewer ended: {self.viewer.process.tail()}")
        return last

    def clean(self, **of_verdict):
        verdict = self.verdict(**of_verdict)
        return verdict if verdict.clean else None

    def goes_on(self, seconds):
        """For so long, from the moment when the good film is there: it moves on, and nothing else on the screen changes but the other."""
        self.must_show("the good film beside the bad one")
        end = time.monotonic() + seconds
        self.goes_on_while(lambda: time.monotonic() < end, seconds + 20, "")

    def goes_on_while(self, condition, seconds, what):
        """The same while `condition()` holds: that it holds for longer than so many seconds is a failure."""
        frames, wrong, deadline = set(), [], time.monotonic() + seconds
        while condition():
            check(time.monotonic() < deadline, what)
            verdict = self.verdict()
            if condition():
                frames.add(verdict.frames.get(1))
            if not verdict.clean:
                wrong.append(verdict.notes)
            time.sleep(0.05)
        check(not wrong, f"{len(wrong)} shots are wrong: {wrong[:2]}; viewer: {self.viewer.process.tail()}")
        check(len(frames - {None}) >= 3, f"the good film stands still: frames {frames}; viewer: {self.viewer.process.tail()}")
        check(self.viewer.process.alive, f"the viewer ended: {self.viewer.process.tail()}")
