#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Screenshots without pause while the video window is dragged, resized and crossed, with the geometry sent up to 50
ms before and after the desktop's damage: in none do hole and video disagree, and none shows what lies behind. Where everything is many times
slower, as with a sanitizer, the channels are seconds apart: there the video may be missing, but what is shown is where it belongs.

usage: motion_test.py --build DIR [--renderer gl|pixman] [--shots N] [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import motion
import numpy as np
import oracle
import stage as staging
from cases import Skip, check
from PIL import Image

SKEWS = ["-50", "-25", "0", "25", "50", "random"]
SCENE = ROOT / "tests/wayland/motion.scene"
FRAME, PLACEHOLDER, CROSSER = (0xD0, 0x02, 0x1B), (0x01, 0xFE, 0x77), (0xFF, 0x8C, 0x00)
BLACK = (0, 0, 0)
SLOW = staging.PATIENCE > 1


def keep_going(host):
    """Answers the host's steps for as long as it lives."""

    def answer():
        try:
            while True:
                event = host.next_event(1)
                if event and event["event"] == "step":
                    host.tell("continue")
        except (OSError, staging.Failure):
            return

    threading.Thread(target=answer, daemon=True).start()


def look_of(step):
    framebuffer = staging.read_ppm(step["framebuffer"])
    body = motion._extent(motion.body_mask(framebuffer, CROSSER), 3)
    x0, y0, x1, y1 = body[0] - 1, body[1] - motion.TITLE_HEIGHT, body[2] + 1, body[3] + 1
    look = motion.Look(FRAME, PLACEHOLDER, CROSSER, framebuffer[y0:y1, x0:x1].copy(), (BLACK, staging.BACKGROUND))
    for colour in look.forbidden:
        check(not oracle.same_colour(framebuffer, colour).any(), f"the desktop itself holds {colour}")
    return look


def wrong(found):
    return not (found.true if SLOW else found.clean)


def run(options, renderer, skew, table):
    clip = clips.make(options.clips, 480, 320, count=300, seed=4)
    reference = clips.Reference(clip, options.clips)
    with staging.Stage(options.build) as stage:
        weston = staging.Weston(stage, renderer)
        host = staging.Host(stage, SCENE, "--skew", skew)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        host.needed = [viewer.process, staging.start_play(stage, host, [clip], "--loop")]
        look = look_of(host.wait("step"))
        staging.wait_for(
            lambda: motion.examine(weston.shoot().pixels, look, reference).clean,
            20,
            lambda: f"the video in its place: {viewer.process.tail()}",
            every=0.1,
        )
        host.tell("continue")
        keep_going(host)
        shots = list(weston.stream(options.shots))  # judged afterwards, so as not to slow down what is judged
        check(
            viewer.process.alive and host.process.alive,
            f"a program died: {viewer.process.tail()} / {host.process.tail()}",
        )
    findings = [motion.examine(shot.pixels, look, reference) for shot in shots]
    for number, (shot, found) in enumerate(zip(shots, findings)):
        if options.keep and wrong(found):
            options.keep.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(shot.pixels)).save(options.keep / f"{renderer}-{skew}-{number}.png")
    summarise(findings, renderer, skew, table)


def summarise(findings, renderer, skew, table):
    bad = [f for f in findings if wrong(f)]
    row = {
        "renderer": renderer,
        "skew": skew,
        "shots": len(findings),
        "places": len({f.target for f in findings}),
        "frames": len({f.frame for f in findings}),
        "crossed": sum(f.crossed_pixels > 0 for f in findings),
        "late": sum(f.late_pixels > 0 for f in findings),
        "bare": sum(f.bare_pixels > 0 for f in findings),
        "placeholder": sum(f.placeholder_pixels > f.bare_pixels for f in findings),
        "behind": sum(f.behind_pixels > 0 for f in findings),
        "disagree": sum(f.disagreeing_pixels > 0 for f in findings),
    }
    table.append(row)
    few = len(findings) / (24 if SLOW else 8)
    check(row["places"] >= few, f"hardly anything moved: {row}")
    check(row["crossed"] >= len(findings) / 20, f"hardly anything crossed the video: {row}")
    check(row["frames"] >= few, f"the video hardly played: {row}")
    check(row["bare"] <= len(findings) * 3 / 4, f"the video was hardly shown: {row}")
    check(
        not bad,
        f"{len(bad)} of {len(findings)} shots wrong: {row}; first: {bad[0].notes if bad else ''} {bad[:1]}",
    )


def print_table(table):
    if table:
        print("  ".join(f"{name:>11}" for name in table[0]))
        for row in table:
            print("  ".join(f"{value:>11}" for value in row.values()))
        print(
            "late: the crossing window was drawn a moment before its clip came (benign); bare: some of the video is missing"
            f"{' (benign where all is slow)' if SLOW else ''}; {'' if SLOW else 'bare, '}placeholder, behind, disagree: must be 0"
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--renderer", choices=["gl", "pixman"], action="append")
    parser.add_argument("--shots", type=int, default=80, help="for each renderer and skew")
    parser.add_argument("--keep", type=pathlib.Path, help="keep pictures of what is wrong here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"
    table = []

    def case(renderer, skew):
        def run_case():
            try:
                run(options, renderer, skew, table)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return f"hole_and_video_agree_in_every_shot_on_{renderer}_with_geometry_skewed_by_{skew}", run_case

    todo = [case(renderer, skew) for renderer in options.renderer or ["gl", "pixman"] for skew in SKEWS]
    try:
        cases.main("InMotion", todo)
    finally:
        print_table(table)


if __name__ == "__main__":
    main()
