#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A display seen from outside: Debian 13's Weston on the screen of a virtual machine, a virtio GPU without 3D, whose
pictures QEMU takes. No program in there can put a good face on what is shown. Such a display imports no memory but its
own, so that every way of frames to the screen is seen here, and the step down from one to another.

usage: display_test.py --build DIR [--keep DIR] [--filter TEXT] [--all]"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import chain
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
SCENE = """desktop 512x256
wallpaper 35
video 1 film 60 60 242 120 text "Film"
window cover 180 90 200 130 text "Cover" hidden
video 2 whole 0 0 512 256 text "Whole" hidden
open film
step above
show cover
step below
show whole
open whole
step fullscreen
"""
VIDEOS = {1: ((242, 120), "h264"), 2: (SIZE, "mjpeg")}  # the second is converted: its colours no compositor is told of
FPS = 6
SETTLE_SECONDS = 300
FIRST_SECONDS = 240  # for Weston to begin in a machine before another is tried
now = weston = None
emulated_and_brief = False


def timelines_of_the_driver_are_what_explicit_synchronisation_takes_them_for():
    said = now.run(now.stage.build / "tests/present/timeline-test", seconds=120, root="/host")
    print(said, flush=True)
    check(re.search(r"\[  PASSED  \] \d+ tests", said) and "SKIPPED" not in said, said)


def frames_that_the_compositor_refuses_go_by_shared_memory_by_themselves():
    """It offers to import dmabufs, and then imports none that the display has not made."""
    with chain.running(now) as keep:
        viewer = perform(keep, SPICE_OVERLAY_DMABUF="always")
        check_way(viewer, "wl_shm/", "memfd")
        said = re.findall("refuses frames in (....) as dmabufs: they go by wl_shm", viewer.process.log())
        check(sorted(said) == ["XR24", "YU12"], f"said of the formats {said}: {viewer.process.tail()}")
        check(viewer.stats()["decoder_restarts"] == 0, viewer.stats())


def frames_lie_in_memory_that_the_display_has_made():
    with chain.running(now) as keep:
        viewer = perform(keep, SPICE_OVERLAY_DMABUF="always", SPICE_OVERLAY_RENDER_NODE="/dev/dri/renderD128")
        check_way(viewer, "linux-dmabuf/", "display")
        check("refuses" not in viewer.process.log(), viewer.process.log())


def frames_go_by_shared_memory_where_the_compositor_names_no_gpu():
    if emulated_and_brief:
        raise Skip("a minute more in an emulated machine; --all runs it")
    with chain.running(now) as keep:
        viewer = perform(keep)
        check_way(viewer, "wl_shm/", "memfd")
        check("names no GPU" in viewer.stats()["why_not_dmabuf"], viewer.stats())
        check("refuses" not in viewer.process.log(), viewer.process.log())


def perform(keep, **environment):
    """The scene, judged at each step. Returns the viewer, which still runs."""
    folder = now.stage.build / "test-clips"
    made = {
        index: clips.make(folder, *size, count=24, fps=FPS, seed=80 + index, codec=codec)
        for index, (size, codec) in VIDEOS.items()
    }
    references = {index: clips.Reference(path, folder) for index, path in made.items()}
    host = keep(chain.Host(now, SCENE))
    viewer = keep(chain.Viewer(now, weston, host.uri, environment))
    host.needed += [viewer.process, weston.process]
    host.wait("client-connected", seconds=chain.SECONDS)
    host.needed.append(keep(chain.start_play(now, host, made.values(), "--loop")))
    wrong = []

    def on_step(step):
        Image.fromarray(np.ascontiguousarray(step.shot)).save(now.stage.logs / f"{step.name}.png")
        if not step.verdict.clean or not step.verdict.frames:
            wrong.append(f"{step.name}: {step.verdict.frames}; {'; '.join(step.verdict.notes)}")
        flags = viewer.flags_of_some_frames()
        print(f"  {step.name}: frames {step.verdict.frames}, deviation {step.verdict.worst_deviation}, {flags}", flush=True)
        # A display says when it has shown them. Weston 14 gives no film's memory to this one: it has no modifiers.
        told = ("vsync", "hw_clock", "hw_completion")
        if any(flags[name] != flags["measured"] for name in told) or flags["zero_copy"] > flags["measured"]:
            wrong.append(f"{step.name}: presented {flags}")

    steps = rehearsal.perform(weston, host, references, on_step, seconds=1200, settle=SETTLE_SECONDS)
    check(not wrong, "\n".join([*wrong, viewer.process.tail(), weston.process.tail()]))
    check([step.name for step in steps] == re.findall("^step (.*)", SCENE, re.M), [step.name for step in steps])
    return viewer


def check_way(viewer, transport, memory):
    for facts in viewer.stats()["streams"]:
        print(f"  video {facts['stream']}: {facts['transport']}, {facts['memory']}, {facts['rung']}", flush=True)
        if facts["transport"]:
            check(facts["transport"].startswith(transport) and facts["memory"] == memory, facts)
            compositor = facts["copied_bytes_a_frame"]["compositor"]
            check((compositor == 0) == (memory != "memfd"), facts)


def set_up(stage, options):
    global now, weston, emulated_and_brief
    tree = weston_tree.WestonTree()
    boot = lambda: machine.Machine(stage, display=f"virtio-gpu-pci,xres={SIZE[0]},yres={SIZE[1]}", own_time=True)
    now = boot()
    emulated_and_brief = now.accelerator != "kvm" and not options.all
    try:
        weston = chain.DisplayWeston(now, tree, SIZE, seconds=FIRST_SECONDS)
    except staging.Failure as failure:  # once in some dozen runs it has hung before it said a word, and nothing of ours ran
        print(f"another machine, after {failure}", flush=True)
        now.process.stop()
        now = boot()
        weston = chain.DisplayWeston(now, tree, SIZE)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="in an emulated machine, too")
    staged.main("Display", cases.named(sys.modules["__main__"], "timelines_", "frames_"), set_up, parser=parser)


if __name__ == "__main__":
    main()
