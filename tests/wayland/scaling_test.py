#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The desktop scaled by the compositor, with videos covered, cut and at odd places: by the output's scale, to fit a
window of another size and aspect, and both; then every pixel, by the oracle for scaled desktops.

usage: scaling_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import rehearsal
import scaled
import stage as staging
from cases import Skip, check
from PIL import Image

SCENE = ROOT / "tests/wayland/scaling.scene"
# Name -> (window in logical pixels, scale of the output). The desktop has 400x250 pixels.
SIZES = {
    "by_an_output_of_scale_2": ((400, 250), 2),
    "to_a_smaller_window": ((313, 290), 1),
    "to_a_larger_window": ((625, 350), 1),
    "to_a_larger_window_of_scale_2": ((533, 320), 2),
    "and_back_again_by_an_output_of_scale_2": ((200, 125), 2),
}


def look_at(weston, event, references, scale, converted):
    """The first shot that is right, or the last one in time."""
    framebuffer = staging.read_ppm(event["framebuffer"])
    videos = rehearsal.videos_of(event, references)
    deadline = time.monotonic() + rehearsal.SETTLE_SECONDS
    while True:
        shot = weston.shoot().pixels
        verdict = scaled.judge(shot, framebuffer, videos, scale, converted)
        if verdict.clean or time.monotonic() > deadline:
            return shot, framebuffer, verdict


def run(options, renderer, size):
    window, scale = SIZES[size]
    videos = rehearsal.clips_for(SCENE, options.clips, count=100)
    references = {index: clips.Reference(video, options.clips) for index, video in videos.items()}
    with staging.Stage(options.build, options.keep and options.keep / f"logs-{renderer}-{size}") as stage:
        weston = staging.Weston(stage, renderer, window, scale)
        host = staging.Host(stage, SCENE)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        play = staging.start_play(stage, host, [videos[index] for index in sorted(videos)], "--loop")
        host.needed = [viewer.process, play]
        steps, wrong = 0, []
        while (event := host.wait("step", "end"))["event"] == "step":
            shot, framebuffer, verdict = look_at(weston, event, references, scale, renderer == "pixman")
            print(f"  {event['name']}: {verdict}", flush=True)
            check(len(verdict.frames) == len(videos), f"{event['name']} shows frames {verdict.frames}")
            steps += 1
            if not verdict.clean:
                wrong.append(f"{event['name']}: {'; '.join(verdict.notes)}")
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    for kind, pixels in (("shot", shot), ("wanted", framebuffer)):
                        path = options.keep / f"{renderer}-{size}-{event['name']}-{kind}.png"
                        Image.fromarray(pixels.copy()).save(path)
            host.tell("continue")
        check(not wrong, "\n".join([*wrong, viewer.process.tail()]))
        check(steps == 3, f"{steps} steps")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def case(renderer, size):
        def run_case():
            try:
                run(options, renderer, size)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return f"desktop_and_videos_are_scaled_{size}_on_{renderer}", run_case

    cases.main("Scaling", [case(renderer, size) for renderer in ("gl", "pixman") for size in SIZES])


if __name__ == "__main__":
    main()
