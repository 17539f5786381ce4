#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Players in a real guest, from end to end: Debian 13 with X and openbox under QEMU, the agent on the virtio port,
QEMU's own SPICE server, and the viewer on headless Weston. Pictures of the client are held against the guest's own
screen and the film's frames.

usage: ./run e2e [--out DIR] [--filter TEXT]"""

import argparse
import pathlib
import signal
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "demo", "vm")]
import cases
import demo
import machine
import numpy as np
import oracle
import players
import seat as seats
import stage as staging
from cases import Skip, check
from PIL import Image

HOME = (150, 120)  # where a player's window is put
STILL_SHOTS = 2  # that must show nothing wrong once one is right


class Act:
    """One player, from its start to its end. A step that follows on one that has failed still runs: each begins by
    putting the window where it belongs."""

    def __init__(self, now, name):
        self.now, self.name, self.play, self.begun = now, name, None, False

    # ---- what is looked at

    def expect(self, step, how_much, seconds=seats.SETTLE_SECONDS):
        """Waits until the client shows frames of the film over "all", "part" or "none" of the video's area, and the
        guest's screen everywhere else."""
        seat, play, frames = self.now.seat, self.play, set()
        whole = play.offset[2] * play.offset[3]
        begin, last = time.monotonic(), None

        def videos():
            return [] if how_much == "none" else [play.video()]

        def seen(verdict):
            pixels = verdict.video_pixels
            return {"all": pixels == whole, "part": 0 < pixels < whole, "none": True}[how_much]

        def alike(verdict):
            # Where a player scales, a compositor's filter may round one pixel in thousands otherwise; an edge that is
            # wrong by one has hundreds.
            return verdict.clip_mismatch_pixels <= (0 if play.unscaled else verdict.video_pixels // 10000)

        def right():
            nonlocal last
            verdict, _, screen = last = seat.judge(videos())
            if how_much == "none" and _near(screen, play.colour).any():
                return False
            if verdict.outside_mismatch_pixels or not alike(verdict) or not seen(verdict):
                return False
            frames.update(verdict.frames.values())
            return how_much == "none" or len(frames) >= 2  # it is a film that plays

        def what():
            return (
                f"{how_much} of {self.name}'s video: {last[0]}; viewer: {seat.viewer.process.tail(2)}; "
                f"agent: {self.now.agent.process.tail(3)}; player: {play.process.tail(2)}"
            )

        try:
            staging.wait_for(right, seconds, what, every=0.05)
            still = videos()
            for _ in range(STILL_SHOTS):
                last = seat.judge(still)
                # A player's own clock or slider may just have moved; the video's area may not.
                check(alike(last[0]) and (how_much != "none" or last[0].clean), f"and then not: {what()}")
        finally:
            self.record(step, last[1] if last else None, f"{last[0].video_pixels if last else 0} px", begin)

    def expect_local(self, step, seconds=2 * seats.SETTLE_SECONDS):
        """Waits until the guest's own screen shows the film."""
        begin, best = time.monotonic(), 0.0

        def shown():
            nonlocal best
            best = self.play.shown_by_guest()
            return best >= players.LIKE_THE_FILM

        try:
            staging.wait_for(
                shown,
                seconds,
                lambda: f"the film on the guest's screen ({best:.2f} of it): {self.play.process.tail(3)}; "
                f"agent: {self.now.agent.process.tail(3)}",
                every=0.2,
            )
        finally:
            self.record(step, self.now.seat.machine.screen(), f"{best:.0%} like the film", begin)

    def record(self, step, picture, detail, begin):
        wrong = sys.exc_info()[0] is not None
        self.now.record(f"{self.name} {step}", picture, detail, time.monotonic() - begin, wrong)

    # ---- what is done

    def begins_redirected(self):
        # At times Parole draws its window no more from the beginning on (its clock stands at 00:00 while its film plays,
        # whatever the version of our element): such a player is started once more.
        for last in (False, True):
            self.now.restore()
            self.play = self.now.play = players.Playing(self.now.seat, self.now.film, self.name)
            self.put(*HOME)
            begin = time.monotonic()
            try:
                self.play.find_placeholder()
                break
            except staging.Failure:
                self.record("placeholder", self.now.seat.machine.screen(), "the guest's own screen", begin)
                if last:
                    raise
        self.expect("redirected", "all", 60)
        self.begun = True

    def put(self, x, y):
        self.now.seat.desk.xdotool("windowmove", self.play.window, x, y)

    def is_covered_by_a_window(self):
        self.put(*HOME)
        x, y, width, height = self.play.target
        process, _ = self.now.seat.desk.open_xterm(x + width // 3, y + height // 3)
        try:
            self.expect("under an xterm", "part")
        finally:
            process.stop()
        self.expect("xterm closed", "all")

    def is_covered_by_a_menu(self):
        self.put(*HOME)
        x, y, _, _ = self.play.target
        desk = self.now.seat.desk
        desk.xdotool("mousemove", x - 40, y + 60, "click", 3)  # the wallpaper beside it
        try:
            self.expect("under a menu", "part")
        finally:
            desk.xdotool("key", "Escape", "mousemove", 5, 760)
        self.expect("menu closed", "all")

    def moves_and_leaves_the_screen_in_part(self):
        self.put(30, 30)
        self.expect("moved", "all")
        self.put(-200, 420)
        self.expect("half outside", "part")
        self.put(*HOME)

    def is_minimised_and_restored(self):
        desk = self.now.seat.desk
        desk.xdotool("windowminimize", self.play.window)
        self.expect("minimised", "none")
        desk.xdotool("windowactivate", self.play.window)
        self.put(*HOME)
        self.expect("restored", "all")

    def plays_by_itself_while_no_viewer_is_there(self):
        seat = self.now.seat
        seat.viewer.process.popen.kill()
        seat.viewer.process.wait(10)
        self.expect_local("viewer killed")
        seat.connect()
        self.play.find_placeholder()
        self.expect("viewer back", "all", 60)

    def plays_by_itself_while_no_agent_is_there(self):
        agent = self.now.agent
        agent.process.signal(signal.SIGKILL)
        agent.process.wait(10)
        self.expect_local("agent killed")
        staging.wait_for(lambda: not self.now.seat.viewer.decoders(), 10, "the viewer to end its decoder")
        agent.start()
        self.play.find_placeholder()
        self.expect("agent back", "all", 60)

    def plays_by_itself_while_the_port_is_unplugged(self):
        qmp = self.now.seat.machine.qmp
        qmp.command("device_del", id="video")
        self.expect_local("port unplugged")
        qmp.command("device_add", driver="virtserialport", id="video", chardev="video", name=machine.VIDEO_PORT)
        self.play.find_placeholder()
        self.expect("port back", "all", 60)

    def leaves_no_picture_when_it_is_killed(self):
        self.play.process.signal(signal.SIGKILL)
        self.play.process.wait(10)
        self.expect("killed", "none")


# For each player what it goes through; the faults once with an element in the player, once with the library.
USUAL = [
    Act.begins_redirected,
    Act.is_covered_by_a_window,
    Act.is_covered_by_a_menu,
    Act.moves_and_leaves_the_screen_in_part,
    Act.is_minimised_and_restored,
    Act.plays_by_itself_while_no_viewer_is_there,
]
PLAY = {
    "gst-play": [*USUAL, Act.plays_by_itself_while_the_port_is_unplugged, Act.leaves_no_picture_when_it_is_killed],
    "parole": [*USUAL, Act.leaves_no_picture_when_it_is_killed],
    "spice-overlay-play": [
        *USUAL,
        Act.plays_by_itself_while_no_agent_is_there,
        Act.leaves_no_picture_when_it_is_killed,
    ],
}


class Now:
    """The seat, the agent and the film, and what has been seen."""

    def __init__(self, stage, build, out):
        self.out, self.rows, self.play = out, [], None
        self.film = players.Film(build / "test-clips")
        self.seat = seats.Seat(stage)
        self.agent = players.Agent(self.seat)

    def restore(self):
        """Puts back what a step that failed may have taken away, and ends the player that it left."""
        if self.play:
            play, self.play = self.play, None
            play.process.stop()
            # The next one's window may have the number of this one's.
            staging.wait_for(lambda: play.window not in self.seat.desk.windows(), 20, "the last player's window to go")
        if not self.seat.viewer.process.alive:
            self.seat.connect()
        if not self.agent.process.alive:
            self.agent.start()

    def record(self, name, picture, detail, seconds, wrong):
        self.rows.append((name, "WRONG" if wrong else "right", detail, f"{seconds:.1f} s", picture))
        if self.out and picture is not None:
            path = self.out / f"{len(self.rows):02}-{name.replace(' ', '-')}.png"
            Image.fromarray(np.ascontiguousarray(picture)).save(path)

    def close(self):
        for name, result, detail, seconds, _ in self.rows:
            print(f"  {name:36} {result:6} {seconds:>8}  {detail}")
        if self.out and self.rows:
            steps = [
                types.SimpleNamespace(name=row[0], shot=row[4], verdict=types.SimpleNamespace(clean=row[1] == "right"))
                for row in self.rows
                if row[4] is not None
            ]
            demo.contact_sheet(steps, self.out / "contact-sheet.png", columns=4, width=420)
            print(f"Pictures, contact-sheet.png and logs are in {self.out}/")


def _near(screen, colour):
    return (np.abs(screen.astype(np.int16) - np.asarray(colour, np.int16)) <= players.NEAR).all(-1)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(prog="./run e2e")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help="keep pictures and logs here")
    options, _ = parser.parse_known_args()
    options.build = options.build.resolve()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for old in options.out.glob("[0-9][0-9]-*.png"):
            old.unlink()
    with staging.Stage(options.build, options.out and options.out / "logs") as stage:
        now, missing = None, None
        try:
            now = Now(stage, options.build, options.out)
        except staging.Missing as problem:
            missing = str(problem)
        todo = []
        for name, steps in PLAY.items():
            act = Act(now, name)
            for step in steps:

                def run(act=act, step=step):
                    if missing:
                        raise Skip(missing)
                    check(act.begun or step is Act.begins_redirected, "the player did not begin")
                    step(act)

                todo.append((f"{name.replace('-', '_')}_{step.__name__}", run))
        try:
            cases.main("EndToEnd", todo)
        finally:
            if now:
                now.close()


if __name__ == "__main__":
    main()
