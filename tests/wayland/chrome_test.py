#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The viewer's own message bar over the guest's display: what it covers and what it must not touch, in every shot while
it comes and goes; and a connection that is lost, and made again by the person.

usage: chrome_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import collections
import os
import pathlib
import re
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import numpy as np
import oracle
import rehearsal
import stage as staging
from cases import Skip, check
from PIL import Image

SCENE = ROOT / "tests/wayland/chrome.scene"
SIZE = (800, 480)  # wider than the guest's display, which has black on both sides
DISPLAY = slice(80, 720)
BAR = (0x2D, 0x2D, 0x2D)
PADDING = 12  # columns at both ends of the bar that are of its colour alone; half as many rows above and below
options = None


def bar_height(shot):
    """Rows of the bar in the picture; 0: none."""
    rows = oracle.same_colour(shot[:, :PADDING], BAR).all(-1)
    return int(np.argmin(rows)) if not rows.all() else len(rows)


def judge(shot, framebuffer, videos):
    """What is wrong, as a text: above the end of the bar, if there is one, the bar alone, below it what the guest and its
    videos make, and black beside it."""
    height = bar_height(shot)
    bar = shot[:height]
    wrong = []
    if height:
        if not 20 <= height <= 100:
            wrong.append(f"a bar of {height} rows")
        if not oracle.same_colour(bar[:, -PADDING:], BAR).all() or not oracle.same_colour(bar[: PADDING // 2], BAR).all():
            wrong.append("the bar's edges are not its own")
        if (bar.max(-1) != bar.min(-1)).any():
            wrong.append("something shines through the bar, which is grey")
        if (bar.max(-1) > 200).sum() < 100:
            wrong.append("nothing is written on the bar")
    if shot[height:, : DISPLAY.start].any() or shot[height:, DISPLAY.stop :].any():
        wrong.append("the sides are not black")
    below = [
        oracle.Video((x, y - height, w, h), video.placeholder, video.reference, video.frames, video.index)
        for video in videos
        for x, y, w, h in [video.target]
    ]
    verdict = oracle.judge(shot[height:, DISPLAY], framebuffer[height:], below)
    return "; ".join(wrong + ([] if verdict.clean else verdict.notes))


class Show:
    """Host, viewer, and the scene's films."""

    def __init__(self, stage, weston, person=None):
        self.stage, self.weston, self.person = stage, weston, person
        self.clips = rehearsal.clips_for(SCENE, options.clips, count=100)
        self.references = {index: clips.Reference(clip, options.clips) for index, clip in self.clips.items()}
        self.host = staging.Host(stage, SCENE)
        self.viewer = staging.Viewer(stage, weston, self.host.uri, asks=bool(person))
        self.play()

    def look(self):
        """A screenshot's pixels; a person's pointer is in a corner, and is left out."""
        if self.person:
            self.person.points_at(SIZE[0] - 1, SIZE[1] - 1)
        pixels = self.weston.shoot().pixels.copy()
        if self.person:
            pixels[-1, -1] = 0
        return pixels

    def play(self):
        self.host.wait("client-connected")
        sender = staging.start_play(
            self.stage, self.host, [self.clips[index] for index in sorted(self.clips)], "--loop"
        )
        self.host.needed = [self.viewer.process, sender]
        event = self.host.wait("step")
        self.framebuffer = staging.read_ppm(event["framebuffer"])
        self.videos = rehearsal.videos_of(event, self.references)
        self.must_show("the three videos", bar=False)

    def must_show(self, what, bar, seconds=20):
        """Waits for a picture with nothing wrong, with the bar or without."""
        last = []

        def is_there():
            shot = self.look()
            last[:] = [judge(shot, self.framebuffer, self.videos) or f"a bar of {bar_height(shot)} rows"]
            return bool(bar_height(shot)) == bar and not judge(shot, self.framebuffer, self.videos)

        staging.wait_for(is_there, seconds, lambda: f"{what}: {last}; viewer: {self.viewer.process.tail()}")

    def lose_a_video(self):
        """Kills one video's decoder until the viewer tries no more. Returns the video's index: streams count as videos do."""
        *others, decoder = self.viewer.decoders()
        check(len(others) == 2, f"decoders {others} and {decoder}")
        for _ in range(6):
            decoder = staging.wait_for(lambda: [p for p in self.viewer.decoders() if p not in others], 10, "a decoder")[0]
            os.kill(decoder, signal.SIGKILL)
            staging.wait_for(lambda gone=decoder: gone not in self.viewer.decoders(), 10, "the decoder to be reaped")
        self.viewer.process.wait_log("left to the guest")
        return int(re.findall(r"stream (\d+): the decoder failed", self.viewer.process.log())[-1])

    def shots_until(self, done, before=30, after=10, most=2000):
        """Shots without pause, the last `before` before the first of which `done(pixels)` is true, and `after` more."""
        kept, left = collections.deque(maxlen=before + after), after
        for shot in self.weston.stream(most):
            kept.append(shot.pixels)
            left -= left < after or done(shot.pixels)
            if left <= 0:
                return list(kept)
        raise staging.Failure(f"not in {most} shots: {self.viewer.process.tail()}")


def bar_comes_and_goes_over_videos_and_no_shot_is_wrong(renderer):
    with staging.Stage(options.build, options.keep and options.keep / f"logs-{renderer}") as stage:
        show = Show(stage, staging.Weston(stage, renderer, SIZE))
        lost = show.lose_a_video()
        print(f"  stream {lost} is lost", flush=True)
        came = show.shots_until(bar_height)
        # Of the lost one the placeholder is left, which is a part of the desktop now.
        show.videos = [video for video in show.videos if video.index != lost]
        show.must_show("two videos and the bar", bar=True)
        went = show.shots_until(lambda shot: not bar_height(shot))
        show.must_show("two videos without the bar", bar=False)
        x, y, w, h = next(v["target"] for v in show.host.events[-1]["videos"] if v["index"] == lost)
        wrong = []
        for shot in [*came, *went]:
            shot = shot.copy()
            shot[:, DISPLAY][y : y + h, x : x + w] = show.framebuffer[y : y + h, x : x + w]  # nobody knows when it goes
            if trouble := judge(shot, show.framebuffer, show.videos):
                wrong.append(trouble)
                if options.keep:
                    Image.fromarray(shot).save(options.keep / f"{renderer}-{len(wrong)}.png")
        heights = {bar_height(shot) for shot in [*came, *went]}
        check(len(heights) == 2, f"bars of {heights} rows")
        check(not wrong, f"{len(wrong)} of {len(came) + len(went)} shots are wrong: {wrong[:3]}")
        check(show.viewer.process.alive, show.viewer.process.tail())


def connection_is_lost_and_made_again_by_the_person():
    with staging.Stage(options.build, options.keep and options.keep / "logs-reconnect") as stage:
        person = staging.Person(stage, SIZE)
        weston = staging.Weston(stage, "pixman", SIZE, x_display=person.display)
        show = Show(stage, weston, person)
        address = show.host.spice

        def must_ask():
            """With nothing of the guest left, and no decoder."""

            def asks():
                shot = show.look()
                return bar_height(shot) and not shot[bar_height(shot) :].any()

            staging.wait_for(asks, 20, lambda: f"a question on black: {show.viewer.process.tail()}")
            staging.wait_for(lambda: not show.viewer.decoders(), 10, "the decoders to end")
            check(show.viewer.process.alive, f"the viewer ended: {show.viewer.process.tail()}")

        for how in ("key", "pointer"):
            show.host.process.stop(0)
            must_ask()
            said = show.viewer.process.log().count("\n")
            person.does("key", "Return")  # in vain: there is no server yet
            staging.wait_for(lambda: show.viewer.process.log().count("\n") > said, 10, "another failure to be told")
            must_ask()
            show.host = staging.Host(stage, SCENE, name="host-again")
            os.replace(show.host.spice, address)
            if how == "key":
                person.does("key", "Return")
            else:
                click_on_first_button(person, show.look())
            show.play()
        show.host.process.stop(0)
        must_ask()
        person.does("key", "Tab", "Return")  # Close
        check(show.viewer.process.wait(10) == 1, f"exit status {show.viewer.process.popen.returncode}")


def click_on_first_button(person, shot):
    """The one that has the keyboard is blue."""
    rows, columns = np.nonzero(oracle.same_colour(shot[: bar_height(shot)], (0x34, 0x65, 0xA4)))
    check(rows.size > 100, "no button has the keyboard")
    x, y = int(np.median(columns)), int(np.median(rows))
    person.points_at(x, y)
    person.does("click", 1)


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    options.clips = options.build / "test-clips"

    def guarded(function, *arguments):
        def run():
            try:
                function(*arguments)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    over = bar_comes_and_goes_over_videos_and_no_shot_is_wrong
    found = [(f"{over.__name__}_on_{renderer}", guarded(over, renderer)) for renderer in ("gl", "pixman")]
    found += [
        (name, guarded(function)) for name, function in cases.named(sys.modules["__main__"], "connection_")
    ]
    cases.main("Chrome", found)


if __name__ == "__main__":
    main()
