#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every codec, every rotation and a sample aspect that is not square, side by side on one desktop, pixel by pixel
against the ffmpeg program: in full view, then partly covered and partly off the display.

usage: pictures_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import rehearsal
import stage as staging
from cases import Skip, check
from PIL import Image

# Odd halves and no multiple of a macroblock: what the decoder pads must not show, whichever way it is turned.
WIDTH, HEIGHT = 218, 150


def films(folder):
    """Name -> (file, reference, size on the desktop)."""

    def clip(seed, codec, **more):
        return clips.make(folder, WIDTH, HEIGHT, count=90, seed=seed, codec=codec, **more)

    found = {}
    for seed, codec in enumerate(clips.ENCODERS, 20):
        path = clip(seed, codec)
        found[codec] = (path, clips.Reference(path, folder), (WIDTH, HEIGHT))
    for degrees in clips.TURNS:
        path = clips.turned(clip(degrees, "h264", suffix="mp4"), degrees)
        reference = clips.Reference(path, folder, turn=degrees)
        found[f"turned-{degrees}"] = (path, reference, (reference.width, reference.height))
    path = clip(40, "h264", options=("-vf", "setsar=4/3"))
    found["aspect-4-3"] = (path, clips.Reference(path, folder), (WIDTH * 4 // 3, HEIGHT))
    return found


def write_scene(path, found):
    """All in rows; then each is covered in one corner, and the row at the bottom hangs off the display."""
    lines, covers, opens, moves = ["desktop 1280x800", "wallpaper 21"], [], [], []
    x, y, row = 10, 40, 0
    for index, (name, (_, _, (width, height))) in enumerate(found.items(), 1):
        if x + width + 8 > 1280:
            x, y, row = 10, y + row + 44, 0
        check(y + height + 8 <= 800, "the desktop is too small for all pictures")
        lines.append(f'video {index} {name} {x} {y} {width} {height} text "{name}"')
        covers.append(f"window over-{name} {x + width - 61} {y + height - 47} 70 50 hidden")
        opens.append(f"open {name}")
        moves.append(f"show over-{name}")
        x, row = x + width + 20, max(row, height)
    for index, (name, (_, _, (width, height))) in enumerate(found.items()):
        if name.startswith("turned"):
            side = ((-37, 560), (1280 - width + 53, 560), (600, 800 - height + 41))[index % 3]
            moves.append(f"move {name} {side[0]} {side[1]}")
    path.write_text("\n".join([*lines, *covers, *opens, "step in-full", *moves, "step covered"]) + "\n")
    return path


def run(options, renderer):
    found = films(options.clips)
    names = list(found)
    references = {index: found[name][1] for index, name in enumerate(names, 1)}
    with staging.Stage(options.build, options.keep and options.keep / f"logs-{renderer}-pictures") as stage:
        scene = write_scene(stage.path("pictures.scene"), found)
        weston = staging.Weston(stage, renderer)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        play = staging.start_play(stage, host, [path for path, _, _ in found.values()], "--loop")
        host.needed = [viewer.process, play]
        wrong = []

        def on_step(step):
            shown = {names[index - 1]: number for index, number in step.verdict.frames.items()}
            print(f"  {step.name}: frames {shown}, worst deviation {step.verdict.worst_deviation}", flush=True)
            missing = [name for name in names if name not in shown]
            if missing or not step.verdict.clean:
                wrong.append(f"{step.name}: not shown {missing}; {'; '.join(step.verdict.notes)}")
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(step.shot.copy()).save(options.keep / f"{renderer}-pictures-{step.name}.png")

        steps = rehearsal.perform(weston, host, references, on_step)
        print("  " + ", ".join(f"{index} {name}" for index, name in enumerate(names, 1)))
        check(not wrong, "\n".join([*wrong, viewer.process.tail(), play.tail()]))
        check([step.name for step in steps] == ["in-full", "covered"], f"steps: {[step.name for step in steps]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def case(renderer):
        def run_case():
            try:
                run(options, renderer)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return f"every_codec_rotation_and_aspect_is_shown_as_ffmpeg_decodes_it_on_{renderer}", run_case

    cases.main("Pictures", [case(renderer) for renderer in ("gl", "pixman")])


if __name__ == "__main__":
    main()
