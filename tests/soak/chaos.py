# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kills decoders in mid-stream, many at a time, and looks at what the viewer makes of it.

The product's rules stay as they are: a stream is begun again after 20, 80, 320 and 1280 ms, and the sixth death in a minute gives it
back to the guest. So the scene opens sixteen streams at once; each loses its decoder a few times at moments drawn at random, and is
then closed; with all of them closed the viewer must hold exactly what it held before; and the scene opens sixteen new ones."""

import contextlib
import dataclasses
import os
import random
import signal
import statistics
import time

import clips
import meters
import stage as staging
from cases import check

STREAMS = 16  # as many as the viewer takes, and as it lets be opened in a second
WAVES = 3  # deaths of each stream: two below the limit, and without the longest wait
SPREAD = 0.25  # seconds over which one wave's kills are spread
WARM_UP = 3  # rounds in which caches, heaps and pools find their size
COLUMNS = 4
CELL = (160, 120)
VIDEO = (128, 72)


@dataclasses.dataclass
class Round:
    kills: int
    seconds: float
    descriptors: int  # of the viewer, when no stream is left
    resident: int  # its memory then, bytes


def write_scene(path):
    """All streams open, a step, all closed, a step, and so on."""
    names = [f"film{index}" for index in range(1, STREAMS + 1)]
    lines = [f"desktop {COLUMNS * CELL[0]}x{COLUMNS * CELL[1]}", "wallpaper 4"]
    for index, name in enumerate(names):
        x, y = index % COLUMNS * CELL[0] + 16, index // COLUMNS * CELL[1] + 36
        lines.append(f"video {index + 1} {name} {x} {y} {VIDEO[0]} {VIDEO[1]}")
    for action in ("open", "close"):
        lines += [f"{action} {name}" for name in names] + [f"step {action}", "wait 20ms"]
    path.write_text("\n".join([*lines, "loop", ""]))


class Chaos:
    """Host, viewer and sixteen films on a stage of their own."""

    def __init__(self, stage, build, seed):
        self.random = random.Random(seed)
        clip = clips.make(build / "test-clips", *VIDEO, count=150, seed=7, options=("-g", "15"))
        scene = stage.path("chaos.scene")
        write_scene(scene)
        self.weston = staging.Weston(stage, "pixman", (COLUMNS * CELL[0], COLUMNS * CELL[1]))
        self.host = staging.Host(stage, scene)
        self.viewer = staging.Viewer(stage, self.weston, self.host.uri)
        self.host.wait("client-connected", seconds=120)
        self.play = staging.start_play(stage, self.host, [clip] * STREAMS, "--loop")
        self.host.needed = [self.viewer.process, self.play]
        self.rounds = []
        self.kills = 0
        self.start = time.monotonic()

    def decoders(self):
        check(self.viewer.process.alive, f"the viewer ended: {self.viewer.process.tail()}")
        return [pid for pid in meters.children(self.viewer.process.pid) if meters.status(pid, "State")[:1] not in ("", "Z")]

    def all_ready(self, without=()):
        """The decoders, once there is one for each stream, none of them in `without`, and each is ready to decode."""

        def are_ready():
            found = set(self.decoders()) - set(without)
            return len(found) == STREAMS and all(map(meters.shut_in, found)) and found

        return staging.wait_for(
            are_ready, 60, lambda: f"{STREAMS} decoders, not {len(self.decoders())}: {self.viewer.process.tail()}", 0.01
        )

    def kill(self, decoders):
        """Each at a moment of its own."""
        start = time.monotonic()
        for at, pid in sorted((self.random.uniform(0, SPREAD), pid) for pid in sorted(decoders)):
            time.sleep(max(0, start + at - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills += 1

    def perform(self):
        """One round: open, kill, close."""
        start, before = time.monotonic(), self.kills
        self.host.wait("step", seconds=120)  # open
        gone = set()
        for _ in range(WAVES):
            decoders = self.all_ready(gone)
            self.kill(decoders)
            gone |= decoders
        self.all_ready(gone)
        time.sleep(self.random.uniform(0, SPREAD))  # some have shown pictures again when they are closed, others not
        self.host.tell("continue")
        self.host.wait("step", seconds=120)  # closed
        staging.wait_for(lambda: not meters.children(self.viewer.process.pid), 60, "the decoders to end")
        self.settle()
        pid = self.viewer.process.pid
        self.rounds.append(
            Round(self.kills - before, time.monotonic() - start, meters.descriptors(pid), meters.resident(pid))
        )
        self.host.tell("continue")

    def settle(self):
        """Waits until the compositor has given all buffers back: until the viewer holds what it held after the first rounds, or
        holds the same for a while."""
        pid, baseline = self.viewer.process.pid, self.baseline()
        last, since, deadline = None, time.monotonic(), time.monotonic() + 20
        while time.monotonic() < deadline:
            now = meters.descriptors(pid)
            if now != last:
                last, since = now, time.monotonic()
            if now == baseline or (time.monotonic() - since > (0.3 if baseline is None else 5)):
                return
            time.sleep(0.02)

    def baseline(self):
        """Descriptors of the viewer without a stream, once it is warm."""
        return self.rounds[WARM_UP - 1].descriptors if len(self.rounds) >= WARM_UP else None

    def stats(self):
        """Of now: they are written once a second."""
        with contextlib.suppress(staging.Failure):
            staging.wait_for(lambda: self.viewer.stats().get("decoder_restarts", 0) >= self.kills, 10, "figures")
        return self.viewer.stats()

    def figures(self):
        """What has been seen, of the rounds after the warm-up."""
        stats = self.stats()
        warm = self.rounds[WARM_UP:]
        fifth = max(2, len(warm) // 5)
        resident = [r.resident for r in warm]
        return {
            "kills": self.kills,
            "rounds": len(self.rounds),
            "streams": STREAMS * len(self.rounds),
            "descriptors": sorted({r.descriptors for r in warm} | {self.baseline()}),
            "resident_kib": [resident[0] >> 10, resident[-1] >> 10],
            "drift_kib": round((statistics.median(resident[-fifth:]) - statistics.median(resident[:fifth])) / 1024),
            "resumption_ms": stats["latency_ms"]["resumption"],
            "restarts": stats["decoder_restarts"],
            "waiting": round(meters.waited_for_processor(self.viewer.process.pid) / (time.monotonic() - self.start), 3),
        }
