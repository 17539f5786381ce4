#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams, conversations and epochs end in all the ways that there are, while their video is on the screen: it is gone, at once and for good.

Two witnesses. Screenshots: as soon as one is right without the video, all that follow are. The viewer's own Wayland log: between
the word of the end and the video's surface being off the screen, the desktop is drawn once at most, and hardly any time passes.

usage: stale_test.py --build DIR [--count TRIALS] [--seed FIRST] [--filter TEXT]"""

import argparse
import os
import pathlib
import random
import re
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle"), str(ROOT / "tests/soak")]
import cases
import clips
import meters
import oracle
import rehearsal
import stage as staging
from cases import Skip, check

DESKTOP = (400, 300)
FILM = (160, 120)
FRAMES = 600
MESSAGE_BAR = 60  # rows that the viewer's own message may take, at most
STILL = 3  # shots that must be right after the first one
PATIENCE = 30  # s, for what has to happen on a busy machine
GONE, GONE_WHEN_BUSY = 0.1, 0.5  # s, that a video may stay on the screen; where the viewer waits for a processor
SEEK_TO = 10  # s: frames from here on are of another epoch than those before
SEEK_FRAME = SEEK_TO * 30


class WaylandLog:
    """Reads what libwayland-client writes of a viewer, and what the viewer says of its streams between that."""

    SUBSURFACE = re.compile(r"-> wl_subcompositor[@#]\d+\.get_subsurface\(new id wl_subsurface[@#](\d+), wl_surface[@#](\d+), wl_surface[@#](\d+)\)")
    REQUEST = re.compile(r"-> (wl_surface|wl_subsurface)[@#](\d+)\.(attach|commit|frame|destroy)\((.*)\)")
    STAMP = re.compile(r"^\[ *(?:(\d+):(\d+):(\d+\.\d+)|(\d+\.\d+))\]")  # the time of day, or ms
    DONE = re.compile(r"\] +(?:\{[^}]*\} +)?(?:discarded )?wl_callback[@#](\d+)\.done\(")
    ENDED = re.compile(r"DEBUG: .*stream \d+ has ended")

    def __init__(self, path):
        self.file = open(path, errors="replace")
        self.part = ""
        self.parents, self.subsurfaces, self.callbacks = {}, {}, {}
        self.pending, self.shown = {}, set()  # what a surface was attached last; video surfaces with a picture
        self.leaving = set()  # video surfaces of streams that have ended
        self.refreshes = 0  # of the desktop since then
        self.now, self.since = 0, None  # s: of the last line, of the first one since then
        self.ends, self.most = 0, 0  # streams that ended while on the screen, most refreshes until they were off it
        self.longest = 0  # s
        self.wrong = []

    def _is_video(self, surface):
        return self.parents.get(surface) in self.parents

    def read(self):
        for line in self.file:
            line, self.part = self.part + line, ""
            if not line.endswith("\n"):
                self.part = line
                return
            self._line(line)

    def _line(self, line):
        if stamp := self.STAMP.match(line):
            hours, minutes, seconds, ms = stamp.groups()
            self.now = float(ms) / 1000 if ms else int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            if self.leaving and self.since is None:
                self.since = self.now
        if self.ENDED.search(line):
            if self.shown:
                self.leaving, self.refreshes, self.since = set(self.shown), 0, None
                self.ends += 1
        elif made := self.SUBSURFACE.search(line):
            self.subsurfaces[made[1]] = made[2]
            self.parents[made[2]] = made[3]
        elif done := self.DONE.search(line):
            surface = self.callbacks.pop(done[1], None)
            if self.leaving and surface in self.parents and not self._is_video(surface):
                self.refreshes += 1
        elif request := self.REQUEST.search(line):
            self._request(*request.groups())

    def _request(self, kind, number, verb, arguments):
        if kind == "wl_subsurface":
            if verb == "destroy" and number in self.subsurfaces:
                self._gone(self.subsurfaces.pop(number))
            return
        if verb == "frame" and (new := re.search(r"wl_callback[@#](\d+)", arguments)):
            self.callbacks[new[1]] = number
        elif verb == "attach":
            self.pending[number] = not arguments.startswith("nil")
        elif verb == "destroy":
            self._gone(number)
            self.parents.pop(number, None)
        elif verb == "commit" and self._is_video(number) and number in self.pending:
            if self.pending.pop(number):
                self.shown.add(number)
            else:
                self._gone(number)

    def _gone(self, surface):
        self.shown.discard(surface)
        if surface not in self.leaving:
            return
        self.leaving.discard(surface)
        self.most = max(self.most, self.refreshes)
        if self.since is not None:
            self.longest = max(self.longest, self.now - self.since)
        if self.refreshes > 1:
            self.wrong.append(f"a video was on the screen for {self.refreshes} refreshes after its end")


class Theatre:
    """Weston, host, sender and viewer, and a scene that comes to a step before and after each end."""

    def __init__(self, stage, options, scene_lines):
        self.stage = stage
        self.films = [clips.make(options.clips, *FILM, count=FRAMES, seed=seed) for seed in (1, 2)]
        self.references = [clips.Reference(film, options.clips) for film in self.films]
        self.playing = 0  # which of them
        scene = stage.path("ends.scene")
        scene.write_text("\n".join(scene_lines) + "\n")
        self.weston = staging.Weston(stage, "gl", DESKTOP)
        self.host = staging.Host(stage, scene)
        self.viewer = staging.Viewer(
            stage, self.weston, self.host.uri, environment={"WAYLAND_DEBUG": "client", "G_MESSAGES_DEBUG": "all"}
        )
        self.log = WaylandLog(self.viewer.process.log_path)
        self.begun = time.monotonic()
        self.host.wait("client-connected")
        self.start_player()
        self.event = None

    def start_player(self):
        self.player = staging.start_play(self.stage, self.host, [self.films[self.playing]], "--loop", name=f"play-{self.playing}")

    def next_step(self):
        if self.event:
            self.host.tell("continue")
        self.event = self.host.wait("step", seconds=PATIENCE)

    def judge(self):
        videos = rehearsal.videos_of(self.event, {1: self.references[self.playing]})
        return oracle.judge(self.weston.shoot().pixels, staging.read_ppm(self.event["framebuffer"]), videos)

    def must_show_video(self):
        """And no frame of another film, which would be wrong in most of its pixels."""
        staging.wait_for(
            lambda: self.judge().clean, PATIENCE, lambda: f"the video: {self.judge().notes}; {self.player.tail()}"
        )

    def must_have_left_at_once(self):
        """By the log."""

        def left():
            self.log.read()
            return not self.log.leaving

        staging.wait_for(left, PATIENCE, lambda: f"the surfaces {self.log.leaving} to be off the screen")
        check(not self.log.wrong, "; ".join(self.log.wrong))
        waited = meters.waited_for_processor(self.viewer.process.pid) / (time.monotonic() - self.begun)
        bound = GONE_WHEN_BUSY if waited > 0.1 else GONE
        check(
            self.log.longest < bound,
            f"a video was on the screen for {self.log.longest:.3f} s after its end; the viewer waited for a processor {waited:.0%} of the time",
        )

    def must_be_gone_for_good(self, below=0):
        """`below`: what lies above that row is not looked at."""

        def judge():
            framebuffer = staging.read_ppm(self.event["framebuffer"])
            return oracle.judge(self.weston.shoot().pixels[below:], framebuffer[below:], [])

        staging.wait_for(lambda: judge().clean, PATIENCE, lambda: f"the end of the video: {judge().notes}")
        for _ in range(STILL):
            verdict = judge()
            check(verdict.clean, f"the video has come back after its end: {verdict.notes}")

    def must_be_gone_at_next_step(self):
        self.next_step()
        self.must_be_gone_for_good()


# ---- the ways; each gives the scene's lines between the steps before and after, and does the rest. True: the video is gone at the
# step after.


def close(theatre):
    theatre.must_be_gone_at_next_step()


def hide(theatre):
    theatre.must_be_gone_at_next_step()


def leave(theatre):
    """To another display."""
    theatre.must_be_gone_at_next_step()


def port(theatre):
    theatre.host.tell("close-port")
    theatre.must_be_gone_for_good()
    theatre.host.tell("open-port")
    theatre.next_step()


def agent(theatre):
    """Killed; the next one plays another film, under the same numbers of streams."""
    theatre.player.popen.kill()
    theatre.must_be_gone_for_good()
    theatre.player.wait(PATIENCE)
    theatre.playing = 1 - theatre.playing
    theatre.start_player()
    theatre.next_step()


def garbage(theatre):
    ends = theatre.log.ends
    theatre.host.tell("garbage-port 4096")

    def ended():
        theatre.log.read()
        return theatre.log.ends > ends

    staging.wait_for(ended, PATIENCE, "the conversation to end")
    theatre.next_step()


def seek(theatre):
    """The epoch's first frame replaces the last of the one before, and none of those comes again."""
    theatre.next_step()
    numbers, deadline = [], time.monotonic() + PATIENCE
    while len(numbers) < 2 + STILL and time.monotonic() < deadline:
        number = theatre.judge().frames.get(1)
        if numbers or (number is not None and number >= SEEK_FRAME):
            numbers.append(number)
    check(len(numbers) == 2 + STILL, "no frame of the new epoch came")
    check(all(n is not None and n >= SEEK_FRAME for n in numbers), f"frames of the epoch before are shown: {numbers}")


def decoder(theatre):
    """Until its stream is given back to the guest."""
    deaths = 0
    while deaths < 6:
        pids = staging.wait_for(theatre.viewer.decoders, PATIENCE, "a decoder")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        deaths += 1
        staging.wait_for(
            lambda gone=pids: not set(gone) & set(theatre.viewer.decoders()), PATIENCE, "the decoder to be reaped"
        )
    theatre.must_be_gone_for_good(below=MESSAGE_BAR)
    theatre.next_step()


WAYS = {
    close: ["close film"],
    hide: ["minimise film"],
    leave: ["leave film"],
    port: [],
    agent: [],
    garbage: [],
    seek: [f"seek film {SEEK_TO}s"],
    decoder: [],
}
BACK = {close: ["open film"], hide: ["restore film"], leave: ["return film"], seek: ["seek film 0s"]}
EVERY_DAY = [close, port, agent, seek, hide, garbage, leave]


def write_scene(ways, rng):
    lines = [
        f"desktop {DESKTOP[0]}x{DESKTOP[1]}",
        "wallpaper 23",
        'video 1 film 60 60 160 120 text "Film"',
        'window note 150 100 120 90 text "Note"',
        "open film",
    ]
    for number, way in enumerate(ways):
        lines += [
            f"move film {rng.randint(-40, 280)} {rng.randint(20, 220)}",
            rng.choice(["hide note", "show note"]),
            "wait",
            f"step before-{number}",
            *([f"wait {rng.randint(1, 60)}ms"]),
            *WAYS[way],
            f"step after-{number}",
            *BACK.get(way, []),
        ]
    return lines


def play(options, ways, seed):
    rng = random.Random(seed)
    with staging.Stage(options.build) as stage:
        theatre = Theatre(stage, options, write_scene(ways, rng))
        for way in ways:
            theatre.next_step()
            theatre.must_show_video()
            time.sleep(rng.uniform(0, 0.1))  # anywhere between two frames
            way(theatre)
            try:
                theatre.must_have_left_at_once()
            except AssertionError as failure:
                raise AssertionError(f"{way.__name__}: {failure}") from None
            check(theatre.viewer.process.alive, f"the viewer died: {theatre.viewer.process.tail()}")
        return theatre.log


def trials(options, count, batch=14):
    """All the ways in turn."""
    ends = most = longest = done = 0
    while done < count:
        ways = [EVERY_DAY[(done + i) % len(EVERY_DAY)] for i in range(min(batch, count - done))]
        log = play(options, ways, options.seed + done)
        done, ends, most, longest = done + len(ways), ends + log.ends, max(most, log.most), max(longest, log.longest)
        print(
            f"  {done} trials: {ends} streams ended on the screen, gone after {most} refreshes and {longest * 1000:.1f} ms at the most",
            flush=True,
        )
    check(ends >= done // 3, f"the log tells of {ends} ends: it is not understood")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--count", type=int, default=14, help="trials of all but the decoder's deaths")
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def guarded(function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    cases.main(
        "Stale",
        [
            ("video_is_gone_with_the_next_refresh_however_it_ends", guarded(lambda: trials(options, options.count))),
            (
                "video_is_gone_when_its_decoder_was_given_up",
                guarded(lambda: play(options, [decoder], options.seed)),
            ),
        ],
    )


if __name__ == "__main__":
    main()
