#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays a video redirected over SPICE and shows it: on the Wayland session where there is one, else on headless
Weston, with pictures of every step of the scene, and figures."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import clips
import rehearsal
import stage as staging
from PIL import Image, ImageDraw, ImageFont

DEFAULT_SCENE = ROOT / "tests/demo/demo.scene"
DEFAULT_VIDEOS = [
    "/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4",
    *map(str, sorted(pathlib.Path("/usr/share").glob("openboard/library/**/*.mp4"))),
]
SECOND_VIDEO = pathlib.Path("/usr/share/forensics-samples/original-files/movie1/VID_20191220_170832.mp4")
REFERENCE_BYTES = 2 << 30  # of decoded frames to compare with; a longer video is compared as far as this goes


class Unusable(Exception):
    """What the person gave cannot be used; the text says why."""


def arguments():
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument(
        "video",
        nargs="?",
        metavar="VIDEO",
        help="any file with a video in it (default: real footage from a Debian package)",
    )
    parser.add_argument("--headless", action="store_true", help="headless Weston even where there is a Wayland session")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("demo-out"),
        help="where pictures and figures go (default: demo-out)",
    )
    parser.add_argument(
        "--scene", type=pathlib.Path, default=DEFAULT_SCENE, help="what the desktop does (docs/scenes.md)"
    )
    parser.add_argument("--renderer", choices=["gl", "pixman"], default="gl", help="of headless Weston (default: gl)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.scene.is_file():
        raise Unusable(f"{options.scene}: no such scene file")
    if options.video is None:
        options.video = next((path for path in DEFAULT_VIDEOS if pathlib.Path(path).exists()), None)
        if options.video is None:
            raise Unusable(
                "no default video is installed (apt-get install forensics-samples-files), and none was given"
            )
    options.video = pathlib.Path(options.video)
    if not options.video.is_file():
        raise Unusable(f"{options.video}: no such file")
    return options


def fit(scene_text, index, size):
    """The scene with the video's window and its resizes in the picture's own shape, and never larger than the
    picture."""
    name = None
    lines = []

    def fitted(width, height):
        factor = min(width / size[0], height / size[1], 1)
        return f"{max(2, round(size[0] * factor))} {max(2, round(size[1] * factor))}"

    for line in scene_text.splitlines():
        words = line.split()
        if len(words) > 6 and words[:2] == ["video", str(index)]:
            name = words[2]
            line = re.sub(
                r"^(\s*video \S+ \S+ \S+ \S+) (\d+) (\d+)", lambda m: f"{m[1]} {fitted(int(m[2]), int(m[3]))}", line
            )
        elif name and words[:2] == ["resize", name]:
            line = re.sub(r"^(\s*resize \S+) (\d+) (\d+)", lambda m: f"{m[1]} {fitted(int(m[2]), int(m[3]))}", line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def prepare(options, folder, loop):
    """(scene file, video files, desktop size): further videos of the scene are small ones, in another codec."""
    first = clips.probe(options.video)
    text = options.scene.read_text()
    if options.scene == DEFAULT_SCENE:
        text = fit(text, 1, (int(first["width"]), int(first["height"])))
    if loop and not re.search(r"^\s*loop\b", text, re.M):
        text += "loop\n"
    scene = folder / options.scene.name
    scene.write_text(text)
    size = re.search(r"^\s*desktop (\d+)x(\d+)", text, re.M)
    videos = [options.video]
    for index, (width, height) in sorted(rehearsal.declared_videos(scene).items()):
        if index == 1:
            continue
        smaller = folder / f"film-{index}.webm"
        source = SECOND_VIDEO if str(options.video) in DEFAULT_VIDEOS and SECOND_VIDEO.exists() else options.video
        done = subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-t",
                "10",
                "-i",
                str(source),
                "-map",
                "0:v:0",
                "-vf",
                f"scale={width // 2 * 2}:{height // 2 * 2}:out_color_matrix=smpte170m,"
                "setparams=colorspace=smpte170m:color_primaries=smpte170m:color_trc=smpte170m",
                "-pix_fmt",
                "yuv420p",
                "-c:v",
                "libvpx",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-b:v",
                "2M",
                str(smaller),
            ],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode != 0:
            raise Unusable(f"{options.video}: ffmpeg cannot read it: {done.stderr.strip().splitlines()[-1:]}")
        videos.append(smaller)
    return scene, videos, tuple(map(int, size.groups())) if size else (1280, 800)


def on_the_session(options):
    with staging.Stage(options.build) as stage:
        scene, videos, _ = prepare(options, stage.run_dir, loop=True)
        host = staging.Host(stage, scene, controlled=False)
        staging.start_play(stage, host, videos, "--loop")
        print(f"{options.video} plays in the guest; close the viewer's window to end the demo")
        viewer = stage.start(
            "viewer", ["spice-overlay-viewer", host.uri, "--decoder", stage.program("spice-overlay-decoder")]
        )
        while viewer.alive:
            if not host.process.alive:
                raise staging.Failure(f"the host ended: {host.process.tail()}")
            time.sleep(0.2)
        if viewer.popen.returncode != 0:
            raise staging.Failure(f"the viewer ended: {viewer.tail()}")


def contact_sheet(steps, path, columns=3, width=560):
    font = ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 15)
    height = width * steps[0].shot.shape[0] // steps[0].shot.shape[1]
    cell = (width + 12, height + 36)
    rows = -(-len(steps) // columns)
    sheet = Image.new("RGB", (cell[0] * columns + 12, cell[1] * rows + 12), (24, 26, 30))
    draw = ImageDraw.Draw(sheet)
    for number, step in enumerate(steps):
        x, y = 12 + number % columns * cell[0], 12 + number // columns * cell[1]
        sheet.paste(Image.fromarray(step.shot.copy()).resize((width, height), Image.LANCZOS), (x, y))
        mark = "" if step.verdict.clean else "   WRONG"
        draw.text(
            (x + 2, y + height + 4), f"{number + 1}. {step.name.replace('-', ' ')}{mark}", (235, 235, 235), font=font
        )
    sheet.save(path, optimize=True)


def headless(options):
    options.out.mkdir(parents=True, exist_ok=True)
    for old in options.out.glob("[0-9][0-9]-*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="spice-overlay-demo-") as cache, staging.Stage(
        options.build, options.out / "logs"
    ) as stage:
        print(f"Video: {options.video}\nReading it with ffmpeg, to compare with later ...", flush=True)
        scene, videos, size = prepare(options, stage.run_dir, loop=False)
        references = {}
        for index, video in zip(sorted(rehearsal.declared_videos(scene)), videos):
            references[index] = clips.Reference(video, cache, max_bytes=REFERENCE_BYTES)
        print(f"Starting Weston ({options.renderer}), the host, the viewer and the sender ...", flush=True)
        weston = staging.Weston(stage, options.renderer, size)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(stage, weston, host.uri)
        host.wait("client-connected")
        play_stats = stage.path("play-stats")
        play = staging.start_play(stage, host, videos, "--loop", "--stats", play_stats)
        host.needed = [viewer.process, play]
        steps = []

        def on_step(step):
            steps.append(step)
            Image.fromarray(step.shot.copy()).save(options.out / f"{len(steps):02}-{step.name}.png")
            verdict = step.verdict
            shown = (
                ", ".join(f"stream {index} frame {number}" for index, number in verdict.frames.items())
                or "no video in view"
            )
            judgement = "every pixel right" if verdict.clean else "WRONG: " + "; ".join(verdict.notes)
            print(f"  {len(steps):2}. {step.name:32} {judgement} ({shown})", flush=True)

        rehearsal.perform(weston, host, references, on_step, seconds=300)
        if not steps:
            raise Unusable(f"{options.scene}: no 'step' in it, so there is nothing to take pictures of")
        mapped = viewer.maps_video_memory()
        viewer.process.stop()
        play.stop()
        summary = summarise(options, steps, weston, viewer.stats(), json.loads(play_stats.read_text()), mapped)
    contact_sheet(steps, options.out / "contact-sheet.png")
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print()
    print_table(summary)
    print(f"\nPictures of each step, contact-sheet.png and summary.json are in {options.out}/")
    return 0 if all(step.verdict.clean for step in steps) else 1


VIEWER_KEYS = [
    "frames_decoded",
    "frames_presented",
    "frames_dropped_late",
    "frames_while_hidden",
    "transport",
    "placements",
    "geometry_transactions",
    "wire_bytes",
    "bitstream_bytes",
    "latency_ms",
]


def summarise(options, steps, weston, viewer_stats, play_stats, mapped):
    missing = [key for key in VIEWER_KEYS if key not in viewer_stats]
    if missing:
        raise staging.Failure(f"the viewer's figures lack {', '.join(missing)}")
    return {
        "video": options.video.name,
        "scene": options.scene.name,
        "compositor": f"weston {weston.version} ({weston.renderer})",
        "steps": len(steps),
        "frames_sent": play_stats.get("frames_sent"),
        **{key: viewer_stats[key] for key in VIEWER_KEYS},
        "clip_mismatch_pixels": sum(step.verdict.clip_mismatch_pixels for step in steps),
        "outside_mismatch_pixels": sum(step.verdict.outside_mismatch_pixels for step in steps),
        "edge_filter_pixels": sum(step.verdict.edge_filter_pixels for step in steps),
        "compared_video_pixels": sum(step.verdict.video_pixels for step in steps),
        "uncompared_video_pixels": sum(step.verdict.uncompared_pixels for step in steps),
        "worst_deviation": max(step.verdict.worst_deviation for step in steps),
        "viewer_maps_video_memory": mapped,
    }


def print_table(summary):
    def text(value):
        if isinstance(value, dict):
            return ", ".join(f"{key} {text(item)}" for key, item in value.items())
        if isinstance(value, list):
            return ", ".join(map(text, value))
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return f"{value:.2f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    rows = dict(summary)
    for key, value in rows.pop("latency_ms").items():
        rows[f"ms, {key}"] = value
    for key, value in rows.items():
        print(f"  {key.replace('_', ' '):28} {text(value)}")
    if summary["frames_dropped_late"] > summary["frames_presented"] / 10:
        print("\nFrames are dropped late when the compositor draws fewer than the film has: this one draws without a GPU.")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that everything started is ended
    try:
        options = arguments()
        if os.environ.get("WAYLAND_DISPLAY") and not options.headless:
            on_the_session(options)
            return 0
        return headless(options)
    except (Unusable, clips.BadVideo, staging.Failure, staging.Missing) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
