#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian guest under QEMU, with QEMU's own SPICE server and the port as a virtio port: the least that must work
before anything else is tried there.

usage: smoke_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import clips
import oracle
import seat
import stage as staging
import staged
from cases import check

TARGET = (300, 250, 480, 320)
PLACEHOLDER = (1, 254, 119)
now = None  # the Seat


def guest_finds_the_video_port_by_its_name():
    path = now.machine.port_path()
    check(path, "no virtio port has the name")
    check(now.machine.port_path("org.spice-overlay.nothing") is None, "a port that does not exist was found")
    check(now.machine.run("test", "-c", path) == "", f"{path} is no device")


def command_that_fails_in_the_guest_is_reported():
    try:
        now.machine.run("sh", "-c", "echo some words; exit 3")
        raise AssertionError("not reported")
    except staging.Failure as failure:
        check("status 3" in str(failure) and "some words" in str(failure), failure)


def client_shows_the_guests_desktop():
    now.wait_right()
    now.desk.start("xterm", "xterm", "-fa", "DejaVu Sans Mono", "-geometry", "60x12+40+40")
    now.desk.run("xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm", seconds=60)
    _, _, screen = now.wait_right(wanted=lambda _, screen: oracle.same_colour(screen, (255, 255, 255)).sum() > 40000)


def clip_through_the_virtio_port_is_shown_in_place():
    clip = clips.make(now.clips, TARGET[2], TARGET[3], count=300, seed=4)
    play = now.machine.start(
        "play",
        [
            now.stage.program("spice-overlay-play"),
            clip,
            *["--port", now.machine.port_path(), "--rect", ",".join(map(str, TARGET)), "--loop"],
        ],
        root="/host",
    )
    reference = clips.Reference(clip, now.clips)
    video = oracle.Video(TARGET, PLACEHOLDER, reference)
    frames = set()

    def playing():
        screen = now.machine.screen()
        screen[TARGET[1] : TARGET[1] + TARGET[3], TARGET[0] : TARGET[0] + TARGET[2]] = PLACEHOLDER
        verdict, _, _ = now.judge([video], screen)
        if verdict.clean:
            frames.add(verdict.frames[1])
        return len(frames) >= 5

    staging.wait_for(playing, seat.SETTLE_SECONDS, lambda: f"five frames in place, {frames} seen: {play.tail()}")
    play.stop()
    now.wait_right()  # and without the player, the desktop alone


def set_up(stage, options):
    global now
    now = seat.Seat(stage)
    now.clips = options.build / "test-clips"


def main():
    found = cases.named(sys.modules["__main__"], "guest_", "command_", "client_", "clip_")
    staged.main("Machine", found, set_up)


if __name__ == "__main__":
    main()
