#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sequences of moves, sizes, clips, scrolling, two streams that come and go, and fullscreen, through host, sender and viewer: after each
every pixel of the screen is compared, on desktops drawn as they are and scaled. Which sequences is told by a number alone.

usage: containment_test.py --build DIR [--count N] [--seed FIRST] [--keep DIR] [--filter TEXT]"""

import argparse
import dataclasses
import pathlib
import random
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import oracle
import rehearsal
import scaled
import stage as staging
from cases import Skip, check
from PIL import Image

DESKTOP = (400, 300)
VIDEOS = {"film": (160, 120), "clip": (144, 96)}  # each as large as its file: drawn at scale 1 at first
WINDOWS = ("note", "disc", "ticker")
BATCH = 40  # sequences that one host, sender and viewer play
SETTLE_SECONDS = 15
FRAMES = 120


@dataclasses.dataclass
class Setting:
    """`window`: what the viewer has, in logical pixels; `scale`: of the output; `share`: of all sequences."""

    renderer: str
    window: tuple
    scale: int
    share: float

    @property
    def as_it_is(self):
        return self.window == DESKTOP and self.scale == 1


SETTINGS = {
    "as_they_are_on_gl": Setting("gl", DESKTOP, 1, 0.4),
    "as_they_are_on_pixman": Setting("pixman", DESKTOP, 1, 0.4),
    "scaled_to_a_smaller_window_on_pixman": Setting("pixman", (313, 290), 1, 0.1),
    "scaled_by_an_output_of_scale_2_on_pixman": Setting("pixman", DESKTOP, 2, 0.1),
}


class Author:
    """Writes scenes: sequence after sequence, each from its own number, ending in a step of that name."""

    def __init__(self, renderer):
        # Weston's GL renderer leaves the last chroma samples of a frame away when a scaled video is cut at its left or top: pixman, which is
        # given no YUV, has those.
        self.cuts_scaled = renderer != "gl"
        self.places = {"film": [20, 40], "clip": [210, 150]}
        self.sizes = dict(VIDEOS)
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
        for name, (x, y) in self.places.items():
            if not self.cuts_scaled and self.sizes[name] != VIDEOS[name] and (x < 0 or y < 0):
                self.lines.append(self._move_to(name, max(x, 0), max(y, 0)))
        self.lines += ["wait", f"step s{seed}"]

    ACTIONS = (
        ["move"] * 4 + ["size"] * 2 + ["clip"] * 3 + ["scroll", "scroll", "stream", "stream", "fullscreen", "stack", "stack"]
    )

    @staticmethod
    def _over(rng):
        return rng.choice(["", "", f" over {rng.randint(30, 120)}ms"])

    def _move_to(self, name, x, y, over=""):
        self.places[name] = [x, y]
        return f"move {name} {x} {y}{over}"

    def _size_to(self, name, width, height, over=""):
        self.sizes[name] = (width, height)
        return f"resize {name} {width} {height}{over}"

    def _move(self, rng):
        name, x, y = rng.choice(list(VIDEOS)), rng.randint(-100, DESKTOP[0] - 30), rng.randint(-70, DESKTOP[1] - 30)
        return [self._move_to(name, x, y, self._over(rng))]

    def _size(self, rng):
        name = rng.choice(list(VIDEOS))
        width, height = VIDEOS[name]
        if rng.random() < 0.5:  # else as large as the file again
            width, height = rng.randint(60, 260), rng.randint(50, 200)
        return [self._size_to(name, width, height, self._over(rng))]

    def _clip(self, rng):
        return [f"move {rng.choice(WINDOWS)} {rng.randint(-40, DESKTOP[0] - 30)} {rng.randint(-40, DESKTOP[1] - 30)}{self._over(rng)}"]

    def _scroll(self, rng):
        """The ticker's text goes on, now and then with a video beside it."""
        return [f"wait {rng.randint(40, 90)}ms", *(self._move(rng) if rng.random() < 0.3 else [])]

    def _stream(self, rng):
        return [f"{rng.choice(['open', 'open', 'close'])} {rng.choice(list(VIDEOS))}"]

    def _fullscreen(self, rng):
        name = rng.choice(list(VIDEOS))
        return [f"restore {name}", self._move_to(name, 0, 0), self._size_to(name, *DESKTOP), f"raise {name}"]

    def _stack(self, rng):
        name = rng.choice([*VIDEOS, *WINDOWS])
        return [f"{rng.choice(['raise', 'raise', 'lower', 'hide', 'show', 'minimise', 'restore'])} {name}"]


class Judge:
    def __init__(self, setting, references):
        self.setting, self.references = setting, references
        self.video_pixels = 0

    def look(self, weston, event):
        """(shot, framebuffer, verdict) of the second of two shots that are right one after the other, or of the last in time. One alone may
        show a stream that a new one is about to replace: the picture is right, and yet it goes."""
        framebuffer = staging.read_ppm(event["framebuffer"])
        videos = rehearsal.videos_of(event, self.references)
        deadline, right = time.monotonic() + SETTLE_SECONDS, 0
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


def play_batch(options, name, setting, seeds, references):
    author = Author(setting.renderer)
    for seed in seeds:
        author.sequence(seed)
    judge, wrong = Judge(setting, references), []
    with staging.Stage(options.build, options.keep and options.keep / f"logs-{name}-{seeds[0]}") as stage:
        scene = stage.path("sequences.scene")
        scene.write_text("\n".join(author.lines) + "\n")
        weston = staging.Weston(stage, setting.renderer, setting.window, setting.scale)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        play = staging.start_play(stage, host, [reference.path for reference in references.values()], "--loop")
        host.needed = [viewer.process, play]
        looked = 0
        while (event := host.wait("step", "end", seconds=60))["event"] == "step":
            shot, framebuffer, verdict = judge.look(weston, event)
            looked += 1
            if not verdict.clean:
                places = ", ".join(f"{v['index']} {v['state']} at {v['target']}" for v in event["videos"])
                wrong.append(f"{event['name']}: {'; '.join(verdict.notes)}; videos {places}")
                keep_pictures(options, f"{name}-{event['name']}", scene, shot=shot, wanted=framebuffer)
            pathlib.Path(event["framebuffer"]).unlink()
            host.tell("continue")
        check(viewer.process.alive, f"the viewer died: {viewer.process.tail()}")
        check(looked == len(seeds), f"{looked} of {len(seeds)} sequences were looked at")
        check(judge.video_pixels > 0, "no sequence shows any video")
    return wrong, judge.video_pixels


def keep_pictures(options, name, scene, **pictures):
    if not options.keep:
        return
    options.keep.mkdir(parents=True, exist_ok=True)
    (options.keep / f"{name}.scene").write_text(scene.read_text())
    for kind, pixels in pictures.items():
        Image.fromarray(pixels.copy()).save(options.keep / f"{name}-{kind}.png")


def run(options, name, setting, seeds):
    references = {
        index: clips.Reference(clips.make(options.clips, *size, count=FRAMES, seed=index), options.clips)
        for index, size in enumerate(VIDEOS.values(), 1)
    }
    wrong, pixels, begun = [], 0, time.monotonic()
    for at in range(0, len(seeds), BATCH):
        batch = seeds[at : at + BATCH]
        found, shown = play_batch(options, name, setting, batch, references)
        wrong, pixels = wrong + found, pixels + shown
        seconds = time.monotonic() - begun
        print(f"  sequences {seeds[0]} to {batch[-1]}: {pixels} video pixels, {len(wrong)} wrong, {seconds:.0f} s", flush=True)
    check(not wrong, "\n".join(wrong) + "\nagain by the same --count and --seed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--count", type=int, default=40, help="sequences in all")
    parser.add_argument("--seed", type=int, default=1, help="number of the first sequence")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, scenes, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def case(name, setting, seeds):
        def run_case():
            try:
                run(options, name, setting, seeds)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return f"no_pixel_is_out_of_place_in_random_sequences_{name}", run_case

    chosen, next_seed = [], options.seed
    for name, setting in SETTINGS.items():
        count = max(1, round(options.count * setting.share))
        chosen.append(case(name, setting, list(range(next_seed, next_seed + count))))
        next_seed += count
    cases.main("Containment", chosen)


if __name__ == "__main__":
    main()
