#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every shipped scene, at each of its steps, pixel by pixel: on Weston with GL (wl_shm YUV) and with pixman (XRGB), and on Debian 13's
what a newer compositor does otherwise.

usage: scenes_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import rehearsal
import stage as staging
import weston_tree
from cases import Skip, check
from PIL import Image

TRANSPORTS = {"gl": ("wl_shm/YU12", "wl_shm/NV12"), "pixman": ("wl_shm/XR24",)}


def run(options, renderer, scene, inside=None):
    videos = rehearsal.clips_for(scene, options.clips, count=300)
    references = {index: clips.Reference(video, options.clips) for index, video in videos.items()}
    missing = [index for index in range(1, max(videos, default=0) + 1) if index not in videos]
    check(not missing, f"{scene} leaves out video {missing}")
    wrong = []

    def on_step(step):
        print(
            f"  {step.name}: {step.shots} shots, {step.verdict.video_pixels} video pixels, frames {step.frames}, "
            f"outside {step.verdict.outside_mismatch_pixels}, clip {step.verdict.clip_mismatch_pixels}, "
            f"edge filter {step.verdict.edge_filter_pixels}, worst deviation {step.verdict.worst_deviation}",
            flush=True,
        )
        for index, state in step.states.items():
            shown = [frames[index] for frames in step.frames if index in frames]
            if staging.PATIENCE > 1:
                shown = shown[-2:]  # the last frame before a pause may come after it, from a decoder that is many times slower
            if state == "paused" and len(set(shown)) > 1:
                wrong.append(f"{step.name}: stream {index} is paused and shows frames {shown}")
        if not step.verdict.clean:
            wrong.append(f"{step.name}: {'; '.join(step.verdict.notes)}")
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                for kind, pixels in (("shot", step.shot), ("wanted", step.framebuffer)):
                    Image.fromarray(pixels.copy()).save(
                        options.keep / f"{renderer}-{scene.stem}-{step.name}-{kind}.png"
                    )

    with staging.Stage(options.build, options.keep and options.keep / f"logs-{renderer}-{scene.stem}") as stage:
        weston = staging.Weston(stage, renderer, inside=inside)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        if videos:
            play = staging.start_play(stage, host, [videos[index] for index in sorted(videos)], "--loop")
            host.needed = [viewer.process, play]
        steps = rehearsal.perform(weston, host, references, on_step)
        check(
            viewer.process.alive, f"the viewer died with status {viewer.process.popen.poll()}: {viewer.process.tail()}"
        )
        check(not viewer.maps_video_memory(), "the viewer maps a video frame")
        check(steps, "the scene has no step")
        check(not wrong, "\n".join(wrong))
        if videos:
            check(any(step.verdict.video_pixels for step in steps), "no step shows any video")
            staging.wait_for(lambda: viewer.stats().get("transport"), 5, "the viewer's figures")
            transport = viewer.stats()["transport"]
            check(
                transport in TRANSPORTS[renderer],
                f"frames travel as {transport}, expected one of {TRANSPORTS[renderer]}",
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def case(renderer, scene, tree=None):
        def run_case():
            try:
                run(options, renderer, scene, tree and tree())
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return f"every_pixel_is_right_at_each_step_of_{scene.stem}_on_{renderer}{'_of_debian_13' if tree else ''}", run_case

    scenes = [
        scene
        for scene in sorted((ROOT / "tests/host/scenes").glob("*.scene"))
        if re.search(r"^\s*step\b", scene.read_text(), re.M)
    ]
    full_screen = ROOT / "tests/host/scenes/full-screen.scene"
    cases.main(
        "Scenes",
        [case(renderer, scene) for renderer in ("gl", "pixman") for scene in scenes]
        + [case("gl", full_screen, weston_tree.WestonTree)],
    )


if __name__ == "__main__":
    main()
