#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A person's keyboard and pointer, from an X server through Weston and the viewer to the guest, and the pointer as it
is drawn: with a guest that takes positions, and with one that takes relative motion alone.

usage: pointer_test.py --build DIR [--filter TEXT]"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import numpy as np
import stage as staging
from cases import Skip, check

SCENE = ROOT / "tests/host/scenes/idle.scene"
SIZE = (1280, 800)
build = None


class Person(staging.Person):
    """With a host and a viewer."""

    def __init__(self, stage, *host_options):
        super().__init__(stage, SIZE)
        self.weston = staging.Weston(stage, "pixman", SIZE, x_display=self.display)
        self.host = staging.Host(stage, SCENE, "--start-on", "client", *host_options)
        self.viewer = staging.Viewer(stage, self.weston, self.host.uri)
        self.host.wait("client-connected")
        event = self.host.wait("step")
        self.framebuffer = staging.read_ppm(event["framebuffer"])
        staging.wait_for(
            lambda: (self.weston.shoot().pixels != self.framebuffer).any(-1).mean() < 0.01,
            20,
            lambda: f"the desktop: {self.viewer.process.tail()}",
        )

    def leads_the_guest_to(self, x, y, by):
        """Moves there, and like any person a little more when nothing comes of it: what is moved before the input channel is up
        is lost, and a guest that answers late is not led on."""
        for _ in range(6):
            self.points_at(x + 9, y + 5)
            self.does("mousemove", x, y)
            try:
                return self.guest_pointer(near(x, y, by), 3)
            except staging.Failure as failure:
                last = failure
        raise last

    def guest_pointer(self, wanted, seconds=10):
        """Waits until the guest's pointer is there."""
        last, deadline = None, time.monotonic() + seconds
        while time.monotonic() < deadline:
            event = self.host.next_event(0.2)
            if event and event["event"] == "pointer":
                last = event
                if wanted(event):
                    return event
        raise staging.Failure(f"the guest's pointer is not where the person's is, but {last}")

    def must_see_arrow_at(self, x, y):
        """The guest's arrow has its hot spot at its tip, a border of white and a body of near black."""

        def is_there():
            part = self.weston.shoot().pixels[y : y + 12, x : x + 6].astype(int)
            return (part[:, 0] > 240).all() and np.abs(part[8:12, 2] - 0x10).max() < 12

        staging.wait_for(is_there, 10, f"the guest's arrow at {x}, {y}")


def near(x, y, by):
    return lambda event: abs(event["x"] - x) <= by and abs(event["y"] - y) <= by


def keys_and_positions_reach_the_guest_and_its_arrow_is_drawn_there():
    with staging.Stage(build) as stage:
        person = Person(stage)
        for x, y in ((200, 150), (1201, 77), (640, 733)):
            person.leads_the_guest_to(x, y, 0)
            person.must_see_arrow_at(x, y)
        person.does("click", 1)
        person.guest_pointer(lambda event: event["buttons"] == 1)
        person.guest_pointer(lambda event: event["buttons"] == 0)
        # Several at once: the server has 1 for the left one, 2 for the right one, 4 for the middle one.
        for act, button, held in (("down", 1, 1), ("down", 3, 3), ("up", 1, 2), ("down", 2, 6), ("up", 3, 4), ("up", 2, 0)):
            person.does(f"mouse{act}", button)
            person.guest_pointer(lambda event, held=held: event["buttons"] == held)
        person.does("key", "a")
        keys = [person.host.wait("key") for _ in range(2)]
        check([(key["code"], key["down"]) for key in keys] == [(30, True), (30, False)], f"keys {keys}")


def a_guest_without_positions_is_led_to_where_the_persons_pointer_is():
    with staging.Stage(build) as stage:
        person = Person(stage, "--relative-pointer")
        for x, y in ((200, 150), (1201, 77), (640, 733), (3, 3)):
            person.leads_the_guest_to(x, y, 2)  # it moves by twos
            person.must_see_arrow_at(x, y)


def main():
    global build
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    options, _ = parser.parse_known_args()
    build = options.build

    def guarded(function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    found = cases.named(sys.modules["__main__"], "keys_", "a_guest_")
    cases.main("Pointer", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()
