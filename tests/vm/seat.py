# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest's desktop and a client that shows it, and the oracle's judgement of the one against the other: the guest's
own screen, as QEMU has it, says where the placeholder is seen; there the client must show the video, and everywhere
else the guest's screen."""

import numpy as np

import desk
import machine
import oracle
import stage as staging
from PIL import Image

SETTLE_SECONDS = 30  # an emulated guest on a busy computer


class Seat:
    """A booted machine with its desk, headless Weston of the same size, and a viewer on it: pictures are at scale 1."""

    def __init__(self, stage, size=desk.SIZE, renderer="gl", session=None, **options):
        self.stage = stage
        self.weston = staging.Weston(stage, renderer, size)
        self.machine = machine.Machine(stage, **options)
        self.desk = desk.Desk(self.machine, size, session)
        self.viewer = None
        self.connect()

    def connect(self):
        self.viewer = staging.Viewer(self.stage, self.weston, self.machine.uri)

    def judge(self, videos=(), screen=None):
        """(Verdict, the client's picture, the guest's screen) of now."""
        screen = self.machine.screen() if screen is None else screen
        shot = self.weston.shoot().pixels
        for video in videos:
            _flatten(screen, video)
        return oracle.judge(shot, screen, videos), shot, screen

    def keep_pictures(self, name):
        """The client's picture and the guest's screen, among the logs."""
        for whose, pixels in (("client", self.weston.shoot().pixels), ("guest", self.machine.screen())):
            Image.fromarray(np.ascontiguousarray(pixels)).save(self.stage.logs / f"{name}-{whose}.png")

    def wait_right(self, videos=(), seconds=SETTLE_SECONDS, wanted=lambda verdict, screen: True):
        """The first judgement without fault that is also `wanted`."""
        last = []

        def right():
            last[:] = self.judge(videos)
            verdict, _, screen = last
            return verdict.clean and wanted(verdict, screen)

        staging.wait_for(
            right,
            seconds,
            lambda: f"a client that is right: {last[0]}; viewer: {self.viewer.process.tail()}",
            every=0.1,
        )
        return tuple(last)


def _flatten(screen, video, tolerance=4):
    """Makes nearly the placeholder's colour exactly that: a player's own conversion from YUV is not exact."""
    x0, y0, x1, y1 = oracle.inside_display(video.target, screen.shape)
    part = screen[y0:y1, x0:x1]
    near = (np.abs(part.astype(np.int16) - np.asarray(video.placeholder, np.int16)) <= tolerance).all(-1)
    part[near] = video.placeholder
