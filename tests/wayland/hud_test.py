#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The viewer's figures over the display, which Ctrl+Alt+I brings and takes away: what they say, what they leave alone
(video, desktop, pointer and keys), and that nothing is done for them, or for --stats, while nothing happens.

usage: hud_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import json
import pathlib
import sys
import time

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

SCENE = """desktop 800x600
wallpaper 3
video 1 film 100 400 240 160 text "Film"
open film
step playing
wait 100ms
step after
"""
SIZE = (800, 600)
BACKGROUND = (0x1E, 0x1E, 0x1E)
AT = (12, 64)  # of the figures' upper left corner
options = None


class Show:
    """A film in the guest's desktop, with a person at the keyboard."""

    def __init__(self, stage):
        self.stage = stage
        self.person = staging.Person(stage, SIZE)
        self.weston = staging.Weston(stage, "pixman", SIZE, x_display=self.person.display)
        scene = stage.path("hud.scene")
        scene.write_text(SCENE)
        self.host = staging.Host(stage, scene)
        self.viewer = staging.Viewer(stage, self.weston, self.host.uri)
        clip = clips.make(options.clips, 240, 160, count=90, seed=71, codec="h264")
        self.references = {1: clips.Reference(clip, options.clips)}
        self.host.wait("client-connected")
        self.play = staging.start_play(stage, self.host, [clip], "--loop")
        self.host.needed = [self.viewer.process, self.play]
        self.event = self.host.wait("step")
        self.videos = rehearsal.videos_of(self.event, self.references)
        self.framebuffer = staging.read_ppm(self.event["framebuffer"])
        self.person.points_at(SIZE[0] - 1, SIZE[1] - 1)

    def look(self):
        pixels = self.weston.shoot().pixels.copy()
        pixels[-1, -1] = 0  # the pointer
        return pixels

    def keep(self, shot, name):
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shot).save(options.keep / f"{name}.png")

    def toggle(self):
        self.person.does("key", "ctrl+alt+i")

    def last_key(self, seconds=0.5):
        """Key events until there are no more."""
        keys = []
        while event := self.host.next_event(seconds):
            if event["event"] == "key":
                keys.append((event["code"], event["down"]))
        return keys


def figures_in(shot):
    """(x, y, width, height) of the rectangle of figures; None: there is none."""
    x, y = AT
    row = (shot[y, x:] == BACKGROUND).all(-1)
    column = (shot[y:, x] == BACKGROUND).all(-1)
    if not row[0]:
        return None
    return x, y, int(np.argmin(row)) or len(row), int(np.argmin(column)) or len(column)


def trouble(show, shot):
    """What is wrong with the picture outside of the figures and inside, "" when nothing is."""
    where = figures_in(shot)
    framebuffer = show.framebuffer.copy()
    shot = shot.copy()
    if where:
        x, y, w, h = where
        inside = shot[y : y + h, x : x + w]
        if not (200 < w < 700 and 60 < h < 330):
            return f"figures of {w}x{h}"
        if (inside.max(-1) != inside.min(-1)).any():
            return "something shines through the figures"
        if (inside.max(-1) > 200).sum() < 500:
            return "nothing is written"
        shot[y : y + h, x : x + w] = framebuffer[y : y + h, x : x + w]
    framebuffer[-1, -1] = 0
    verdict = oracle.judge(shot, framebuffer, show.videos)
    return "" if verdict.clean else "; ".join(verdict.notes)


def wait_for_figures(show, there, name):
    last = []

    def is_so():
        shot = show.look()
        show.keep(shot, name)
        last[:] = [figures_in(shot), trouble(show, shot)]
        return bool(last[0]) == there and not last[1]

    staging.wait_for(is_so, 20, lambda: f"{name}: {last}; viewer: {show.viewer.process.tail()}")


def figures_come_and_go_and_leave_the_rest_alone():
    with staging.Stage(options.build, options.keep and options.keep / "logs-hud") as stage:
        show = Show(stage)
        wait_for_figures(show, False, "before")
        placements = staging.wait_for(
            lambda: (p := show.viewer.stats().get("placements", {})).get("above") and p, 10, "the figures in the file"
        )
        show.toggle()
        wait_for_figures(show, True, "shown")
        pictures = set()
        deadline = time.monotonic() + 15
        while len(pictures) < 3 and time.monotonic() < deadline:  # they change while the film plays
            shot = show.look()
            check(not trouble(show, shot), trouble(show, shot))
            x, y, w, h = figures_in(shot)
            pictures.add(shot[y : y + h, x : x + w].tobytes())
        check(len(pictures) >= 3, "the figures stand still")
        show.toggle()
        wait_for_figures(show, False, "gone")
        check(show.viewer.stats()["placements"] == placements, f"{placements}: {show.viewer.stats()['placements']}")


def pointer_and_keys_reach_the_guest_through_the_figures_but_for_the_one():
    with staging.Stage(options.build, options.keep and options.keep / "logs-input") as stage:
        show = Show(stage)
        show.toggle()
        wait_for_figures(show, True, "input")
        keys = show.last_key()
        check(23 not in {code for code, _ in keys}, f"the guest gets the I: {keys}")
        check({code for code, down in keys if down} == {code for code, down in keys if not down}, f"a key stays down: {keys}")
        target = (AT[0] + 60, AT[1] + 30)
        deadline, seen = time.monotonic() + 15, None
        while seen != target and time.monotonic() < deadline:
            show.person.points_at(*target)
            while event := show.host.next_event(0.5):
                if event["event"] == "pointer":
                    seen = (event["x"], event["y"])
        check(seen == target, f"over the figures the guest's pointer is at {seen}")
        show.person.does("click", 1)
        show.person.does("key", "i")
        seen = []
        while event := show.host.next_event(1):
            seen.append((event["event"], event.get("buttons"), event.get("code")))
        check(any(name == "pointer" and buttons == 1 for name, buttons, _ in seen), f"no click: {seen}")
        check(any(name == "key" and code == 23 for name, _, code in seen), f"no I: {seen}")


def statistics_are_written_while_something_happens_and_say_how():
    with staging.Stage(options.build, options.keep and options.keep / "logs-stats") as stage:
        show = Show(stage)
        stats = staging.wait_for(
            lambda: (s := show.viewer.stats()).get("frames_a_second", 0) > 1 and s, 20, lambda: show.viewer.stats()
        )
        (stream,) = stats["streams"]
        check((stream["codec"], stream["placement"], stream["rung"]) == ("H.264", "above", "shm-rgb"), stream)
        check(stream["copied_bytes_a_frame"] == {"decoder": 240 * 160 * 4, "compositor": 240 * 160 * 4}, stream)
        check([p["rung"] for p in stream["passed_over"]] == ["gpu", "gpu-vpp", "dmabuf", "dmabuf-rgb", "shm"], stream)
        check("wl_shm" in stream["passed_over"][4]["why_not"], stream)
        check(stats["presentation"]["measured"] > 0, stats["presentation"])
        show.toggle()
        wait_for_figures(show, True, "playing")
        show.play.stop()
        staging.wait_for(lambda: show.viewer.stats()["streams"] == [], 10, lambda: show.viewer.stats())
        quiet_for(show.viewer.process.pid, 2.5)
        lines = [json.loads(line) for line in show.viewer.stats_path.read_text().splitlines()]
        check(all(b["time"] - a["time"] > 0.9 for a, b in zip(lines, lines[1:])), [line["time"] for line in lines])


def quiet_for(pid, seconds):
    """Waits until the process sleeps for as long: that none of its threads is woken."""
    def switches():
        found = {}
        for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
            text = status.read_text()
            found[status.parent.name] = int(text.split("voluntary_ctxt_switches:")[1].split()[0])
        return found

    deadline = time.monotonic() + 30
    last, since = switches(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        now = switches()
        if now != last:
            last, since = now, time.monotonic()
        check(time.monotonic() < deadline, "the viewer is never quiet, with nothing to do")


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs and pictures here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def guarded(function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    found = cases.named(sys.modules["__main__"], "figures_come", "pointer_", "statistics_")
    cases.main("Hud", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()
