#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real dmabufs, on a kernel that makes them: Debian 13's, in a virtual machine. The whole chain runs there, from the
build tree, with Debian 13's Weston: every pixel of every format is judged, and so is who has frames in its address
space.

usage: dmabuf_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import chain
import cases
import clips
import machine
import numpy as np
import rehearsal
import stage as staging
import staged
import weston_tree
from cases import Skip, check
from PIL import Image

SIZE = (512, 256)
# Small: an emulated processor takes a third of a microsecond for each multiplication.
SCENE = """desktop 512x256
wallpaper 33
video 1 one 10 44 218 70 text "One"
video 2 two 252 34 242 82 text "Two"
video 3 three 16 164 222 74 text "Three"
video 4 four 262 158 230 78 text "Four"
window cover 140 70 200 130 text "Cover" hidden
open one
step one
open two
step two
open three
step three
open four
step above
show cover
step below
move cover 60 20
step across-corners
"""
SHORT_SCENE = """desktop 512x256
wallpaper 34
video 1 one 10 44 218 70 text "One"
video 2 two 252 34 242 82 text "Two"
window cover 140 70 200 130 text "Cover" hidden
open one
open two
step above
show cover
step below
"""
VIDEOS = {  # index: size, codec, what its frames are shown as, what they lie in, and by which rung
    1: ((218, 70), "mjpeg", "linux-dmabuf/XR24", "udmabuf", "dmabuf-rgb"),
    2: ((242, 82), "h264", "linux-dmabuf/YU12", "udmabuf", "dmabuf"),
    3: ((222, 74), "vp9", "linux-dmabuf/NV12", "gpu", "gpu"),
    4: ((230, 78), "vp9-10", "linux-dmabuf/P010", "gpu", "gpu"),
}
HEAP_VIDEOS = {index: (*VIDEOS[index][:3], "dma-heap", VIDEOS[index][4]) for index in (1, 2)}
DECODER = "spice-overlay-decoder"[:15]  # the kernel keeps no more of a name
SETTLE_SECONDS = 180
now = None  # the Machine


def allocators_make_dmabufs_that_are_what_they_say():
    program = now.stage.build / "tests/dmabuf/dmabuf-memory-test"
    said = now.run(program, "--gtest_filter=kernel/*", seconds=60, root="/host")
    print(said, flush=True)
    check("[  PASSED  ] 2 tests" in said and "SKIPPED" not in said, said)


def gpu():
    """The environment in which the libva driver of the tests decodes, on a render node of the kernel's that has no GPU."""
    driver = now.stage.build / "tests/vadriver/spice_overlay_test_drv_video.so"
    if not driver.exists():
        raise Skip("this build has no libva driver for tests: it takes libva-dev")
    now.load_module("vgem")
    return {
        "SPICE_OVERLAY_DMABUF": "always",  # Weston sees no DRM node, and names no GPU
        "SPICE_OVERLAY_RENDER_NODE": "/dev/dri/renderD128",
        "LIBVA_DRIVERS_PATH": str(driver.parent),
        "LIBVA_DRIVER_NAME": "spice_overlay_test",
    }


def frames_in_every_format_are_shown_where_they_were_decoded_and_every_pixel_is_right():
    with chain.running(now) as keep:
        viewer = perform(keep, SCENE, VIDEOS, gpu())
        check_ways(viewer, VIDEOS)
        # The decoders' memory stands in their own address spaces. (A decoder reads a GPU's first picture as a dmabuf.)
        check_mappings({DECODER}, {DECODER, "weston"})


def frames_lie_in_a_dma_heap_where_there_is_no_udmabuf_and_every_pixel_is_right():
    device = "/dev/udmabuf"
    now.run("mv", device, f"{device}.away", root="/host")
    try:
        with chain.running(now) as keep:
            viewer = perform(keep, SHORT_SCENE, HEAP_VIDEOS, {"SPICE_OVERLAY_DMABUF": "always"})
            check_ways(viewer, HEAP_VIDEOS)
            # There is no other memory than the dmabuf, and the decoder writes into that.
            check_mappings(set(), {DECODER, "weston"}, {DECODER, "weston"})
    finally:
        now.run("mv", f"{device}.away", device, root="/host")


def perform(keep, scene, videos, environment):
    """The scene with these videos, judged at each step. Returns the viewer, which still runs."""
    folder = now.stage.build / "test-clips"
    made = {
        index: clips.make(folder, *size, count=24, fps=3, seed=70 + index, codec=codec)
        for index, (size, codec, *_) in videos.items()
    }
    references = {index: clips.Reference(path, folder) for index, path in made.items()}
    wrong = []

    def on_step(step):
        print(f"  {step.name}: frames {step.verdict.frames}, worst deviation {step.verdict.worst_deviation}", flush=True)
        Image.fromarray(np.ascontiguousarray(step.shot)).save(now.stage.logs / f"{step.name}.png")
        if not step.verdict.clean or set(step.verdict.frames) != set(step.states):
            wrong.append(f"{step.name}: {step.verdict.frames}; {'; '.join(step.verdict.notes)}")

    weston = keep(chain.Weston(now, weston_tree.WestonTree(), SIZE))
    host = keep(chain.Host(now, scene))
    viewer = keep(chain.Viewer(now, weston, host.uri, environment))
    host.needed += [viewer.process, weston.process]
    host.wait("client-connected", seconds=chain.SECONDS)
    host.needed.append(keep(chain.start_play(now, host, made.values(), "--loop")))
    steps = rehearsal.perform(weston, host, references, on_step, seconds=1200, settle=SETTLE_SECONDS)
    check(not wrong, "\n".join([*wrong, viewer.process.tail(), weston.process.tail()]))
    check([step.name for step in steps] == re.findall(r"^step (.*)", scene, re.M), [step.name for step in steps])
    return viewer


def check_ways(viewer, videos):
    """Each video takes the way that is wanted of it, and nobody copies but the decoder that converts."""
    streams = {facts["stream"]: facts for facts in viewer.stats()["streams"]}
    for index, (size, _, *wanted) in videos.items():
        facts = streams[index]
        way = [facts["transport"], facts["memory"], facts["rung"]]
        print(f"  video {index}: {', '.join(way)}, copies {facts['copied_bytes_a_frame']}", flush=True)
        converted = size[0] * size[1] * 4 if "XR24" in wanted[0] else 0
        check(way == wanted, facts)
        check(facts["copied_bytes_a_frame"] == {"decoder": converted, "compositor": 0}, facts)


def check_mappings(memory_of, dmabufs_of, least=frozenset({"weston"})):
    """Who has frames in its address space: as plain memory, and as dmabufs. Weston reads dmabufs, since its GPU is the
    processor; the viewer has nothing to do with either."""
    memory, dmabufs = chain.mappings(now, "memfd:spice-overlay-frame"), chain.mappings(now, "dmabuf:")
    print(f"  frames are mapped by {memory}, as dmabufs by {dmabufs}", flush=True)
    check(set(memory) == memory_of, f"frames' memory is mapped by {memory}")
    check(least <= set(dmabufs) <= dmabufs_of, f"dmabufs are mapped by {dmabufs}")


def set_up(stage, _):
    global now
    now = machine.Machine(stage, own_time=True)


def main():
    staged.main("RealDmabuf", cases.named(sys.modules["__main__"], "allocators_", "frames_"), set_up)


if __name__ == "__main__":
    main()
