#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Explicit synchronisation, and scanning out, with a compositor that people use: sway of Debian sid on the screen of a virtual machine, a
virtio GPU without 3D, which it draws on by software that has fences (EGL_ANDROID_native_fence_sync). QEMU takes the pictures. By hand: the
tree takes minutes to make, and what it is made of changes.

Needs a build with wayland-protocols 1.34 or newer. Debian 12 has an older one, which is no more than files: unpack Debian 13's package
(dpkg -x), let "prefix" in its wayland-protocols.pc name where its usr is, and meson setup --pkg-config-path FOLDER_OF_THE_PC ...

usage: explicit_sync.py --build DIR [--keep DIR]"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import chain
import clips
import compositor_tree
import machine
import numpy as np
import rehearsal
import stage as staging
import staged
from cases import check
from PIL import Image

SIZE = (512, 256)
SCENE = """desktop 512x256
wallpaper 35
video 1 sd 10 44 218 70 text "SD"
video 2 hd 252 34 242 82 text "HD"
video 3 jpeg 16 164 222 74 text "JPEG"
video 4 whole 0 0 512 256 text "Whole" hidden
window cover 140 70 200 130 text "Cover" hidden
open sd
step sd
open hd
step hd
open jpeg
step above
show cover
step below
move cover 60 20
step moved
hide cover
show whole
open whole
step fullscreen
"""
VIDEOS = {  # index: size, codec, options of the encoder, what its frames are shown as: of YUV, this sway takes BT.601 for granted and can be told nothing
    1: ((218, 70), "h264", (), "YU12"),
    2: ((242, 82), "h264", ("-colorspace", "bt709", "-color_range", "tv"), "XR24"),
    3: ((222, 74), "mjpeg", (), "XR24"),
    4: (SIZE, "mjpeg", (), "XR24"),
}
FPS = 6
SETTLE_SECONDS = 300
now = sway = None


def films_are_synchronised_by_points_and_one_alone_on_the_screen_is_scanned_out_and_every_pixel_is_right():
    folder = now.stage.build / "test-clips"
    made = {
        index: clips.make(folder, *size, count=24, fps=FPS, seed=90 + index, codec=codec, options=options)
        for index, (size, codec, options, _) in VIDEOS.items()
    }
    references = {index: clips.Reference(path, folder) for index, path in made.items()}
    wrong = []

    def on_step(step):
        Image.fromarray(np.ascontiguousarray(step.shot)).save(now.stage.logs / f"{step.name}.png")
        flags = viewer.flags_of_some_frames()
        print(f"  {step.name}: frames {step.verdict.frames}, deviation {step.verdict.worst_deviation}, {flags}", flush=True)
        alone = step.name == "fullscreen"  # the display itself reads its frames then
        if not step.verdict.clean or set(step.verdict.frames) != ({4} if alone else set(step.states)):
            wrong.append(f"{step.name}: {step.verdict.frames}; {'; '.join(step.verdict.notes)}")
        if flags["zero_copy"] != alone * flags["measured"]:
            wrong.append(f"{step.name}: presented {flags}")

    with chain.running(now) as keep:
        host = keep(chain.Host(now, SCENE))
        environment = {
            "SPICE_OVERLAY_DMABUF": "always",  # such a GPU takes memory that it has made itself: it is asked to
            "WAYLAND_DEBUG": "client",
        }
        viewer = keep(chain.Viewer(now, sway, host.uri, environment))
        host.needed += [viewer.process, sway.process]
        host.wait("client-connected", seconds=chain.SECONDS)
        host.needed.append(keep(chain.start_play(now, host, made.values(), "--loop")))
        steps = rehearsal.perform(sway, host, references, on_step, seconds=1800, settle=SETTLE_SECONDS)
        streams = {facts["stream"]: facts for facts in viewer.stats()["streams"]}
        said = viewer.process.log()
    check(not wrong, "\n".join([*wrong, viewer.process.tail(), sway.process.tail()]))
    check([step.name for step in steps] == re.findall("^step (.*)", SCENE, re.M), [step.name for step in steps])
    for index, (*_, fourcc) in VIDEOS.items():
        facts = streams[index]
        print(f"  video {index}: {facts['transport']}, {facts['memory']}, {facts['rung']}", flush=True)
        check((facts["transport"], facts["memory"]) == (f"linux-dmabuf/{fourcc}", "display"), facts)
    check_points(said)


def check_points(said):
    """Every frame had its points, and all buffers came back by them: a timeline's next point is set when the one before is reached."""
    releases = re.findall(r"set_release_point\(wp_linux_drm_syncobj_timeline_v1[@#](\d+), (\d+), (\d+)\)", said)
    acquires = said.count(".set_acquire_point(")
    points = {}
    for timeline, high, low in releases:
        points.setdefault(timeline, []).append(int(high) << 32 | int(low))
    reached = sum(max(of_one) - 1 for of_one in points.values())
    print(f"  {len(releases)} points on {len(points)} timelines, {reached} of them known to have been reached", flush=True)
    check(acquires == len(releases) > 0, f"{acquires} acquire points, {len(releases)} release points")
    check(all(of_one == sorted(set(of_one)) for of_one in points.values()), points)
    check(reached > 2 * len(points), f"points of the timelines: { {t: max(p) for t, p in points.items()} }")
    check("wl_display" not in re.findall(r"(\w+)[@#]\d+\.error\(", said), "an error of the protocol")


def set_up(stage, _):
    global now, sway
    viewer = stage.program("spice-overlay-viewer").read_bytes()
    if b"wp_linux_drm_syncobj_manager_v1" not in viewer:
        raise staging.Missing("the viewer is built without linux-drm-syncobj: see the head of this program")
    tree = compositor_tree.CompositorTree("sid")
    print(f"sway {tree.version('sway')}", flush=True)
    now = machine.Machine(stage, display=f"virtio-gpu-pci,xres={SIZE[0]},yres={SIZE[1]}", memory="2G")
    sway = chain.DisplaySway(now, tree, SIZE)


def main():
    staged.main("ExplicitSync", cases.named(sys.modules["__main__"], "films_"), set_up)


if __name__ == "__main__":
    main()
