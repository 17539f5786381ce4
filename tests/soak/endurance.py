# SPDX-License-Identifier: LGPL-2.1-or-later
"""Four films on a desktop without rest, for minutes or hours: pixels judged at every step, the connection lost and made again, and all the
while what each process holds."""

import random
import time

import clips
import meters
import random_scene
import rehearsal
import stage as staging
import wire
from cases import check

STEPS = 40  # of a turn of the scene
LEAST_STEPS, LATE = 2, 300  # a slow machine has so many seconds more for them, and for the reconnects
QUANTITIES = ("descriptors", "threads", "resident")


class Samples:
    """Of one process: a row for each look at it."""

    def __init__(self, pid):
        self.pid = pid
        self.times = []
        self.values = {quantity: [] for quantity in QUANTITIES}

    def look(self, at):
        row = [meters.descriptors(self.pid), meters.threads(self.pid), meters.resident(self.pid)]
        self.times.append(at)
        for quantity, value in zip(QUANTITIES, row):
            self.values[quantity].append(value)

    def after(self, time):
        """(times, values by quantity) from `time` on."""
        start = next((i for i, at in enumerate(self.times) if at >= time), len(self.times))
        return self.times[start:], {quantity: values[start:] for quantity, values in self.values.items()}


class Endurance:
    def __init__(self, stage, build, seed):
        self.random = random.Random(seed)
        folder = build / "test-clips"
        films = random_scene.make_clips(folder)
        self.references = {index: clips.Reference(film, folder) for index, film in films.items()}
        scene = stage.path("unrest.scene")
        random_scene.write(scene, self.random, STEPS)
        # A person answers the viewer's question when the connection is lost.
        self.person = staging.Person(stage, random_scene.DESKTOP)
        self.weston = staging.Weston(stage, "pixman", random_scene.DESKTOP, x_display=self.person.display)
        self.host = staging.Host(stage, scene)
        self.link = wire.Relay(stage.path("link"), self.host.spice)
        self.viewer = staging.Viewer(stage, self.weston, f"spice+unix://{self.link.path}", asks=True)
        self.host.wait("client-connected", seconds=120)
        self.play = staging.start_play(stage, self.host, films.values(), "--loop")
        self.host.needed = [self.viewer.process, self.play]
        self.processes = {
            "viewer": Samples(self.viewer.process.pid),
            "host": Samples(self.host.process.pid),
            "sender": Samples(self.play.pid),
        }
        self.start = time.monotonic()
        self.steps = self.reconnects = 0
        self.decoders = []  # (time, how many, their memory)
        self.wrong = []

    def close(self):
        self.link.close()

    def now(self):
        return time.monotonic() - self.start

    def look(self):
        """At what each process holds."""
        at = self.now()
        for samples in self.processes.values():
            samples.look(at)
        decoders = meters.children(self.viewer.process.pid)
        memory = [meters.status(pid, "VmRSS").split() for pid in decoders]
        self.decoders.append((at, len(decoders), sum(int(m[0]) << 10 for m in memory if m)))

    def judge(self, event):
        step = rehearsal.look_at(_Corner(self.weston, event, self.person), event, self.references, 60)
        self.steps += 1
        if not step.verdict.clean:
            self.wrong.append((event["name"], step.verdict.notes, step.shot, step.framebuffer))

    def reconnect(self):
        """The cable is pulled, and the person has it put in again."""
        viewer = self.viewer.process
        said = viewer.log().count("was lost") + viewer.log().count("spice-overlay-viewer:")
        self.link.cut()
        staging.wait_for(
            lambda: viewer.log().count("was lost") + viewer.log().count("spice-overlay-viewer:") > said or not viewer.alive,
            30,
            "the viewer to see that the connection is lost",
        )
        check(viewer.alive, f"the viewer ended: {viewer.tail()}")
        staging.wait_for(lambda: not meters.children(viewer.pid), 30, "the decoders to end")
        self.wait_host("client-disconnected")
        self.answer()
        self.reconnects += 1

    def answer(self):
        """The bar may not have the keyboard yet: the person presses the key again."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.person.does("key", "Return")
            if self.wait_host("client-connected", seconds=3, fails=False):
                return
        raise staging.Failure(f"nobody connected again: {self.viewer.process.tail()}")

    def wait_host(self, name, seconds=30, fails=True):
        """An event of the host's; a step that comes in the meantime is let go on."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            event = self.host.next_event(min(0.5, max(0, deadline - time.monotonic())))
            if event and event["event"] == name:
                return event
            if event and event["event"] == "step":
                self.host.tell("continue")
            check(self.viewer.process.alive, f"the viewer ended: {self.viewer.process.tail()}")
        if fails:
            raise staging.Failure(f"the host did not report {name} in {seconds} s: {self.host.process.tail()}")
        return None

    def run(self, seconds, reconnects, progress=lambda done, text: None):
        """Goes on for so long, and until LEAST_STEPS were looked at and that many reconnects made, which are spread over it."""
        end, late = self.now() + seconds, self.now() + seconds + LATE
        next_look = self.now()
        gap = seconds / (reconnects + 1)
        next_cut = self.now() + gap
        while self.now() < end or (self.now() < late and (self.steps < LEAST_STEPS or self.reconnects < reconnects)):
            event = self.host.next_event(max(0.05, min(next_look, next_cut) - self.now()))
            if event and event["event"] == "step":
                self.judge(event)
                self.host.tell("continue")
            if self.now() >= next_look:
                self.look()
                next_look = max(next_look + 1, self.now())
                progress(1 - (end - self.now()) / seconds, f"{self.steps} steps, {self.reconnects} reconnects")
            # Not while the client is still coming, at which libspice-server 0.15 ends: not before its port has brought a film.
            if self.now() >= next_cut and meters.children(self.viewer.process.pid):
                self.reconnect()
                next_cut = max(next_cut + gap, self.now() + 2)
            for process in (self.viewer.process, self.host.process, self.play):
                check(process.alive, f"{process.name} ended: {process.tail()}")

    def growths(self):
        """By process and quantity: how much it has grown after the first tenth."""
        found = {}
        for name, samples in self.processes.items():
            times, values = samples.after(self.now() / 10)
            found[name] = {quantity: round(meters.growth(times, values[quantity]), 1) for quantity in QUANTITIES}
        return found

    def figures(self):
        return {
            "seconds": round(self.now()),
            "steps": self.steps,
            "wrong_steps": [f"{name}: {'; '.join(notes)}" for name, notes, _, _ in self.wrong],
            "reconnects": self.reconnects,
            "growth": self.growths(),
            "decoders": max(number for _, number, _ in self.decoders),
        }


class _Corner:
    """Weston whose shots have the framebuffer's pixel in the corner in which the person's pointer rests."""

    def __init__(self, weston, event, person):
        self.weston = weston
        self.framebuffer = staging.read_ppm(event["framebuffer"])
        person.points_at(*[length - 1 for length in random_scene.DESKTOP])

    def shoot(self):
        shot = self.weston.shoot()
        shot.pixels = shot.pixels.copy()
        shot.pixels[-1, -1] = self.framebuffer[-1, -1]
        return shot
