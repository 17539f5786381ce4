# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sequences of moves, sizes, clips, scrolling, two streams that come and go, and fullscreen, through host, sender and viewer: after each
every pixel of the screen is compared, on desktops drawn as they are and scaled. Which sequences is told by a number alone."""

import contextlib
import dataclasses
import functools
import pathlib
import random
import time

import clips
import numpy as np
import oracle
import rehearsal
import scaled
import stage as staging
import wayland_client
from cases import check
from PIL import Image

DESKTOP = (400, 300)
VIDEOS = {"film": (160, 120), "clip": (144, 96)}  # each as large as its file: drawn at scale 1 at first
WINDOWS = ("note", "disc", "ticker")
BATCH = 40  # sequences that one host, sender and viewer play
SETTLE_SECONDS = 30  # until a wrong picture is one for good
PATIENCE_SECONDS = 120  # with everything else, on a busy machine
FRAMES = 120
UNREAD_TOLERANCE = 0.03  # of a sample's share: levels of 8 bits


@dataclasses.dataclass
class Setting:
    """`window`: what the viewer has, in logical pixels; `scale`: of the output; `share`: of its renderer's sequences."""

    renderer: str
    window: tuple
    scale: int
    share: float

    @property
    def as_it_is(self):
        return self.window == DESKTOP and self.scale == 1


SETTINGS = {
    "as_they_are_on_gl": Setting("gl", DESKTOP, 1, 1),
    "as_they_are_on_pixman": Setting("pixman", DESKTOP, 1, 0.6),
    "scaled_to_a_smaller_window_on_pixman": Setting("pixman", (313, 290), 1, 0.2),
    "scaled_by_an_output_of_scale_2_on_pixman": Setting("pixman", DESKTOP, 2, 0.2),
}


class Author:
    """Writes scenes: sequence after sequence, each from its own number, ending in a step of that name."""

    def __init__(self):
        self.lines = [
            f"desktop {DESKTOP[0]}x{DESKTOP[1]}",
            "wallpaper 17",
            'video 1 film 20 40 160 120 text "Film"',
            'video 2 clip 210 150 144 96 text "Clip"',
            'window note 150 60 120 90 text "Note"',
            "window disc 60 120 90 90 shape ellipse",
            "window ticker 240 30 110 80 fps 30",
            "open film",
            "open clip",
        ]

    def sequence(self, seed):
        rng = random.Random(seed)
        if rng.random() < 0.6:  # streams end below; most of the time one is to be seen
            self.lines.append(f"open {rng.choice(list(VIDEOS))}")
        for _ in range(rng.randint(2, 6)):
            self.lines += getattr(self, "_" + rng.choice(self.ACTIONS))(rng)
        self.lines += ["wait", f"step s{seed}"]

    ACTIONS = (
        ["move"] * 4 + ["size"] * 2 + ["clip"] * 3 + ["scroll", "scroll", "stream", "stream", "fullscreen", "stack", "stack"]
    )

    @staticmethod
    def _over(rng):
        return rng.choice(["", "", f" over {rng.randint(30, 120)}ms"])

    def _move(self, rng):
        name, x, y = rng.choice(list(VIDEOS)), rng.randint(-100, DESKTOP[0] - 30), rng.randint(-70, DESKTOP[1] - 30)
        return [f"move {name} {x} {y}{self._over(rng)}"]

    def _size(self, rng):
        name = rng.choice(list(VIDEOS))
        width, height = VIDEOS[name]
        if rng.random() < 0.5:  # else as large as the file again
            width, height = rng.randint(60, 260), rng.randint(50, 200)
        return [f"resize {name} {width} {height}{self._over(rng)}"]

    def _clip(self, rng):
        return [f"move {rng.choice(WINDOWS)} {rng.randint(-40, DESKTOP[0] - 30)} {rng.randint(-40, DESKTOP[1] - 30)}{self._over(rng)}"]

    def _scroll(self, rng):
        """The ticker's text goes on, now and then with a video beside it."""
        return [f"wait {rng.randint(40, 90)}ms", *(self._move(rng) if rng.random() < 0.3 else [])]

    def _stream(self, rng):
        return [f"{rng.choice(['open', 'open', 'close'])} {rng.choice(list(VIDEOS))}"]

    def _fullscreen(self, rng):
        name = rng.choice(list(VIDEOS))
        return [f"restore {name}", f"move {name} 0 0", f"resize {name} {DESKTOP[0]} {DESKTOP[1]}", f"raise {name}"]

    def _stack(self, rng):
        name = rng.choice([*VIDEOS, *WINDOWS])
        return [f"{rng.choice(['raise', 'raise', 'lower', 'hide', 'show', 'minimise', 'restore'])} {name}"]


@functools.lru_cache
def unread_by_weston(build, seed=1, crops=12):
    """(said, seen): how much of its chroma each column and row of a video takes from the frame before, as the oracle says of Weston's GL renderer,
    and as that shows it. The video is a client's that is no more than a few requests, cut at random."""
    size, window = (160, 128), (400, 300)
    old, new = ([np.full((size[1] >> s, size[0] >> s), value, np.uint8) for s, value in ((0, 126), (1, u), (1, 128))] for u in (100, 156))
    rng, said, seen = random.Random(seed), [], []
    with staging.Stage(build) as stage:
        weston = staging.Weston(stage, "gl", window)
        with contextlib.closing(wayland_client.Client(weston.folder / "wayland-test", window)) as client:
            old, new = client.frame(old), client.frame(new)
            for _ in range(crops):
                begin = [rng.randrange(0, side * 96) / 256 for side in size]
                length = [rng.randrange(20 * 256, round((side - at) * 256) + 1) / 256 for side, at in zip(size, begin)]
                drawn = [rng.randint(80, side) for side in window]
                blue = []
                for frame, source in ((old, (0, 0, *size)), (old, (*begin, *length)), (new, (*begin, *length))):
                    client.show(frame, source, drawn)
                    blue.append(weston.shoot().pixels[: drawn[1], : drawn[0], 2].astype(float))
                pure = np.median(blue[2])
                for axis in (0, 1):
                    places = begin[axis] + (np.arange(drawn[axis]) + 0.5) * length[axis] / drawn[axis]
                    said.append(oracle.unread_chroma(begin[axis], begin[axis] + length[axis], size[axis], places))
                    seen.append(np.median((pure - blue[2]) / (pure - np.median(blue[1])), axis))
    return np.concatenate(said), np.concatenate(seen)


def leaves_chroma_unread(build):
    said, seen = unread_by_weston(build)
    return bool(np.abs(said - seen).max() < UNREAD_TOLERANCE)


class Judge:
    def __init__(self, setting, references, chroma_left_unread):
        self.setting, self.references, self.chroma_left_unread = setting, references, chroma_left_unread
        self.video_pixels = 0

    def look(self, weston, event):
        """(shot, framebuffer, verdict) of the second of two shots that are right one after the other, or of the last in time. One alone may
        show a stream that a new one is about to replace: the picture is right, and yet it goes."""
        framebuffer = staging.read_ppm(event["framebuffer"])
        videos = rehearsal.videos_of(event, self.references)
        for video in videos:
            video.chroma_left_unread = self.chroma_left_unread
        deadline, right = time.monotonic() + SETTLE_SECONDS * staging.PATIENCE, 0
        while True:
            shot = weston.shoot().pixels
            if self.setting.as_it_is:
                verdict = oracle.judge(shot, framebuffer, videos)
            else:
                verdict = scaled.judge(shot, framebuffer, videos, self.setting.scale, converted=True)
            right = right + 1 if verdict.clean else 0
            if right == 2 or (not right and time.monotonic() > deadline):
                self.video_pixels += verdict.video_pixels
                return shot, framebuffer, verdict


def play_batch(build, name, seeds, references, keep):
    setting = SETTINGS[name]
    author = Author()
    for seed in seeds:
        author.sequence(seed)
    unread = setting.renderer == "gl" and leaves_chroma_unread(build)
    judge, wrong = Judge(setting, references, unread), []
    with staging.Stage(build, keep and keep / f"logs-{name}-{seeds[0]}") as stage:
        scene = stage.path("sequences.scene")
        scene.write_text("\n".join(author.lines) + "\n")
        weston = staging.Weston(stage, setting.renderer, setting.window, setting.scale)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected", seconds=PATIENCE_SECONDS)
        sender = staging.start_play(stage, host, [reference.path for reference in references.values()], "--loop")
        host.needed = [viewer.process, sender]
        looked = 0
        while (event := host.wait("step", "end", seconds=PATIENCE_SECONDS))["event"] == "step":
            shot, framebuffer, verdict = judge.look(weston, event)
            looked += 1
            if not verdict.clean:
                places = ", ".join(f"{v['index']} {v['state']} at {v['target']}" for v in event["videos"])
                wrong.append(f"{event['name']}: {'; '.join(verdict.notes)}; videos {places}")
                keep_pictures(keep, f"{name}-{event['name']}", scene, shot=shot, wanted=framebuffer)
            pathlib.Path(event["framebuffer"]).unlink()
            host.tell("continue")
        check(viewer.process.alive, f"the viewer died: {viewer.process.tail()}")
        check(looked == len(seeds), f"{looked} of {len(seeds)} sequences were looked at")
        check(judge.video_pixels > 0, "no sequence shows any video")
    return wrong, judge.video_pixels


def keep_pictures(keep, name, scene, **pictures):
    if not keep:
        return
    keep.mkdir(parents=True, exist_ok=True)
    (keep / f"{name}.scene").write_text(scene.read_text())
    for kind, pixels in pictures.items():
        Image.fromarray(pixels.copy()).save(keep / f"{name}-{kind}.png")


def settings_of(count, first):
    """(name of the setting, its sequences) for `count` sequences on each renderer, numbered from `first`."""
    found = []
    for name, setting in SETTINGS.items():
        share = max(1, round(count * setting.share))
        found.append((name, range(first, first + share)))
        first += share
    return found


def play(build, name, seeds, keep=None, progress=None):
    """(what is wrong, video pixels compared) of the sequences `seeds` in the setting `name`. `keep`: where logs, scenes, and pictures of what is
    wrong go; `progress(sequences done, video pixels, number of wrong ones)` after each batch."""
    folder = build / "test-clips"
    references = {
        index: clips.Reference(clips.make(folder, *size, count=FRAMES, seed=index), folder)
        for index, size in enumerate(VIDEOS.values(), 1)
    }
    wrong, pixels = [], 0
    for at in range(0, len(seeds), BATCH):
        batch = seeds[at : at + BATCH]
        found, shown = play_batch(build, name, batch, references, keep)
        wrong, pixels = wrong + found, pixels + shown
        if progress:
            progress(at + len(batch), pixels, len(wrong))
    return wrong, pixels
