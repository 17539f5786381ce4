# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays a scene through host, sender and viewer, and has the oracle judge the screen at each of its steps."""

import dataclasses
import pathlib
import re
import shlex
import time

import clips
import oracle
import stage as staging

SETTLE_SECONDS = 10  # for desktop and video to arrive on the screen after a step
STILL_SHOTS = 3  # that must be right one after the other, once the first one is


@dataclasses.dataclass
class Step:
    name: str
    framebuffer: object
    shot: object  # pixels of the last shot
    verdict: oracle.Verdict  # the worst of the shots that were counted
    shots: int
    frames: list  # of each counted shot: stream index -> frame number
    states: dict  # stream index -> "playing", "paused"; closed ones are left out


def declared_videos(scene):
    """Index -> (width, height) of the videos that a scene file declares."""
    sizes = {}
    for line in pathlib.Path(scene).read_text().splitlines():
        if re.match(r"\s*video\s", line):
            words = shlex.split(line, comments=True)
            sizes[int(words[1])] = (int(words[5]), int(words[6]))
    return sizes


def clips_for(scene, folder, **more):
    """A test clip for each video of the scene, as large as the video's window at first: drawn at scale 1. By index."""
    return {
        index: clips.make(folder, width // 2 * 2, height // 2 * 2, seed=index, **more)
        for index, (width, height) in sorted(declared_videos(scene).items())
    }


def parse_colour(text):
    return tuple(int(text[i : i + 2], 16) for i in (0, 2, 4))


def videos_of(event, references):
    """What a step event says, as the oracle wants it."""
    return [
        oracle.Video(
            tuple(video["target"]),
            parse_colour(video["placeholder"]),
            references.get(video["index"]),
            None,
            video["index"],
        )
        for video in event["videos"]
        if video["state"] != "closed"
    ]


def look_at(weston, event, references, seconds=SETTLE_SECONDS):
    """Waits until the screen is as the step says, then wants STILL_SHOTS more that are. The verdict is that of the
    first one that is not, or of the last one."""
    framebuffer = staging.read_ppm(event["framebuffer"])
    videos = videos_of(event, references)
    deadline = time.monotonic() + seconds * staging.PATIENCE
    shots, frames = 0, []
    while True:
        shot = weston.shoot()
        verdict = oracle.judge(shot.pixels, framebuffer, videos)
        if verdict.clean:
            shots, frames = shots + 1, [*frames, verdict.frames]
        if shots > STILL_SHOTS or (not verdict.clean and (shots > 0 or time.monotonic() > deadline)):
            states = {video["index"]: video["state"] for video in event["videos"] if video["state"] != "closed"}
            return Step(event["name"], framebuffer, shot.pixels, verdict, max(shots, 1), frames, states)


def perform(weston, host, references, on_step=lambda step: None, seconds=120, settle=SETTLE_SECONDS):
    """Looks at every step of the scene once, `on_step` sees each Step. Ends with the scene, or when it begins anew."""
    steps, deadline = [], time.monotonic() + seconds * staging.PATIENCE
    while True:
        event = host.wait("step", "end", seconds=max(1, deadline - time.monotonic()))
        if event["event"] == "end" or any(step.name == event["name"] for step in steps):
            return steps
        steps.append(look_at(weston, event, references, settle))
        on_step(steps[-1])
        host.tell("continue")
