#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames as dmabufs: a compositor that imports them (Weston of Debian 13) shows every pixel right, above the desktop
and below it, and nobody copies. This machine's kernel need not make dmabufs: a memfd stands in for one, in a viewer that
is the production one but for that. Where dmabufs are not to be used, they are not, and the figures say why.

usage: dmabuf_test.py --build DIR [--keep DIR] [--filter TEXT] [--suite SUITE]"""

import argparse
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "mpp")]
import cases
import clips
import compositor_tree
import minimal_ffmpeg
import rehearsal
import stage as staging
import weston_tree
from cases import Skip, check
from PIL import Image

SIZE = (640, 400)
SCENE = """desktop 640x400
wallpaper 21
video 1 one 20 60 218 150 text "One"
video 2 two 270 90 330 246 text "Two"
window cover 330 160 120 90 text "Cover" hidden
open one
open two
step above
show cover
step below
move cover 240 60
step across-its-corner
lower cover
step above-again
"""
FORCED = {"SPICE_OVERLAY_DMABUF": "always"}
options = None


def perform(
    name,
    codec,
    wanted,
    placements,
    inside,
    program="viewer-with-stand-in",
    environment=None,
    decoder="spice-overlay-decoder",
    restarts=0,
    colours=(None, None),
):
    """Plays the scene, every pixel checked at each step; the transport must be `wanted`, and decoders have been started again so
    many times. `colours` of either video: ffmpeg's names of matrix and range. Returns the last figures."""
    sizes = {1: (218, 150), 2: (330, 246)}  # odd halves, and no multiple of a macroblock
    said = {i: ("-colorspace", colour[0], "-color_range", colour[1]) if colour else () for i, colour in enumerate(colours, 1)}
    made = {i: clips.make(options.clips, *sizes[i], count=90, seed=50 + i, codec=codec, options=said[i]) for i in sizes}
    references = {index: clips.Reference(path, options.clips) for index, path in made.items()}
    wrong = []

    def on_step(step):
        print(f"  {step.name}: frames {step.verdict.frames}, worst deviation {step.verdict.worst_deviation}", flush=True)
        if not step.verdict.clean or set(step.verdict.frames) != {1, 2}:
            wrong.append(f"{step.name}: {step.verdict.frames}; {'; '.join(step.verdict.notes)}")
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                Image.fromarray(step.shot.copy()).save(options.keep / f"{name}-{step.name}.png")

    with staging.Stage(options.build, options.keep and options.keep / f"logs-{name}") as stage:
        scene = stage.path("dmabuf.scene")
        scene.write_text(SCENE)
        weston = staging.Weston(stage, size=SIZE, inside=inside)
        host = staging.Host(stage, scene)
        viewer = staging.Viewer(
            stage, weston, host.uri, "--decoder", decoder if isinstance(decoder, pathlib.Path) else stage.program(decoder),
            program=program, environment=environment,
        )
        host.needed = [viewer.process, weston.process]
        host.wait("client-connected")
        play = staging.start_play(stage, host, [made[1], made[2]], "--loop")
        host.needed = [viewer.process, play, weston.process]
        steps = rehearsal.perform(weston, host, references, on_step)
        check(not wrong, "\n".join([*wrong, viewer.process.tail(), weston.process.tail()]))
        check(len(steps) == 4, f"steps: {[step.name for step in steps]}")
        staging.wait_for(lambda: set(viewer.stats().get("placements", {})) >= placements, 10, lambda: viewer.stats())
        staging.wait_for(
            lambda: viewer.stats().get("transport") == wanted,
            10,
            lambda: f"frames travel as {viewer.stats()['transport']}: {viewer.stats().get('why_not_dmabuf')}",
        )
        stats = viewer.stats()
        check(stats["decoder_restarts"] == restarts, f"decoders were started again {stats['decoder_restarts']} times")
        check(not viewer.maps_video_memory(), "the viewer maps a video frame")
        return stats


def gpu(fault="", processing=""):
    """The libva driver of the tests, on a render node that is none: its surfaces are memfds, its memory is taken for dmabufs."""
    folder = options.build / "tests/vadriver"
    if not (folder / "spice_overlay_test_drv_video.so").exists():
        raise Skip("this build has no libva driver for tests: it takes libva-dev")
    return {
        **FORCED,
        "SPICE_OVERLAY_RENDER_NODE": "/dev/null",
        "LIBVA_DRIVERS_PATH": str(folder.resolve()),
        "LIBVA_DRIVER_NAME": "spice_overlay_test",
        "LIBVA_TEST_FAULT": fault,
        "LIBVA_TEST_PROCESSING": processing,
    }


def check_nobody_copies(stats, decoder):
    check(stats["decoder"] == decoder and "why_not_hardware" not in stats, stats)
    for facts in stats["streams"]:
        check(facts["rung"] == "gpu", facts)
        check(facts["copied_bytes_a_frame"] == {"decoder": 0, "compositor": 0}, facts)


def check_stepped_down(stats, why):
    check(stats["decoder"] == "software", stats["decoder"])
    check(why in stats["why_not_hardware"], stats["why_not_hardware"])


def perform_by_gpu(name, codec, wanted, fault="", restarts=0, processing=""):
    environment = gpu(fault, processing)
    return perform(
        name, codec, wanted, {"above", "below"}, tree(), environment=environment, decoder="decoder-with-stand-in", restarts=restarts
    )


def vulkan(fault=""):
    """Mesa's software driver for Vulkan, with the layer of the tests that decodes: as above, and in the decoder as it is."""
    folder = options.build / "tests/vklayer"
    if not (folder / "layer.json").exists():
        raise Skip("this build decodes nothing by Vulkan: it takes libavcodec 60.31 and Vulkan's headers, as on Debian 13")
    if not any(pathlib.Path("/usr/share/vulkan/icd.d").glob("lvp*")):
        raise Skip("Mesa's software driver for Vulkan is missing (package mesa-vulkan-drivers)")
    return {
        **FORCED,
        "SPICE_OVERLAY_RENDER_NODE": "/dev/null",
        "LIBVA_DRIVERS_PATH": "/nonexistent",
        "VK_LOADER_DRIVERS_SELECT": "*lvp*",
        "VK_ADD_LAYER_PATH": str(folder.resolve()),
        "VK_INSTANCE_LAYERS": "VK_LAYER_SPICE_OVERLAY_test",
        "VK_TEST_FAULT": fault,
    }


def perform_by_vulkan(name, wanted, fault="", restarts=0):
    return perform(name, "h264", wanted, {"above", "below"}, tree(), environment=vulkan(fault), restarts=restarts)


def perform_by_mpp(name, wanted, fault=""):
    """With FFmpeg's rkmpp decoders on a double of Rockchip's MPP, which the decoder alone is to see."""
    double = options.build.resolve() / "tests/mpp"
    if not (double / "librockchip_mpp.so.1").exists():
        raise Skip("this build has no double of Rockchip's MPP")
    libraries, lock = minimal_ffmpeg.obtain()
    with lock, staging.Stage(options.build) as stage:
        decoder = stage.path("decoder-with-mpp")
        program = stage.program("spice-overlay-decoder").resolve()
        decoder.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}:{double}" exec "{program}" "$@"\n')
        decoder.chmod(0o755)
        environment = {**FORCED, "SPICE_OVERLAY_RENDER_NODE": "/dev/null", "LIBVA_DRIVERS_PATH": "/nonexistent", "mpp_test_fault": fault}
        return perform(name, "h264", wanted, {"above", "below"}, tree(), environment=environment, decoder=decoder)


def own_weston_does():
    """Whether this machine's Weston is one that imports any memory, and sees no DRM device, on which it would crash."""
    if not shutil.which("weston") or pathlib.Path("/dev/dri").exists():
        return False
    version = subprocess.run(["weston", "--version"], capture_output=True, text=True).stdout.split()
    return bool(version) and int(version[-1].split(".")[0]) >= 14


def tree():
    if options.suite != weston_tree.SUITE:
        return compositor_tree.CompositorTree(options.suite)
    return None if own_weston_does() else weston_tree.WestonTree()


COLOURS = [((matrix, "tv"), (matrix, "pc")) for matrix in ("smpte170m", "bt709", "bt2020nc")]


def told_colours(inside):
    """The compositor's tree, which has to have one that is told of colours, by a build that can tell."""
    if not list(options.build.glob("overlay/**/color-representation-v1-client-protocol.h")):
        raise Skip("this build cannot tell colours: it takes wayland-protocols 1.44")
    with staging.Stage(options.build) as stage:
        version = staging.Weston(stage, size=SIZE, inside=inside).version
    if int(version.split(".")[0]) < 15:
        raise Skip(f"Weston {version} cannot be told colours; --suite sid has one that can")
    return inside


def colours_that_no_compositor_is_told_are_converted_and_every_pixel_is_right():
    if options.suite != weston_tree.SUITE:
        raise Skip("a compositor that can be told")
    for colours in COLOURS[1:]:
        perform(f"converted-{colours[0][0]}", "h264", "linux-dmabuf/XR24", {"above", "below"}, tree(), environment=FORCED, colours=colours)


def colours_are_told_and_every_pixel_of_frames_as_they_were_decoded_is_right():
    inside = told_colours(tree())
    for colours in COLOURS:
        perform(f"told-{colours[0][0]}", "h264", "linux-dmabuf/YU12", {"above", "below"}, inside, environment=FORCED, colours=colours)
        perform(f"told-shm-{colours[0][0]}", "h264", "wl_shm/YU12", {"above", "below"}, inside, colours=colours)


def colours_of_a_gpu_are_told_and_every_pixel_is_right():
    inside = told_colours(tree())
    for colours in COLOURS:
        perform(
            f"told-gpu-{colours[0][0]}", "vp9", "linux-dmabuf/NV12", {"above", "below"}, inside,
            environment=gpu(), decoder="decoder-with-stand-in", colours=colours,
        )  # fmt: skip


def frames_in_yu12_are_imported_and_every_pixel_is_right():
    stats = perform("yu12", "h264", "linux-dmabuf/YU12", {"above", "below"}, tree(), environment=FORCED)
    check("why_not_dmabuf" not in stats, stats)


def frames_that_are_converted_are_imported_too():
    perform("xr24", "mjpeg", "linux-dmabuf/XR24", {"above", "below"}, tree(), environment=FORCED)


def frames_that_a_gpu_decodes_are_shown_where_they_are_and_every_pixel_is_right():
    stats = perform_by_gpu("gpu", "vp9", "linux-dmabuf/NV12")
    check(stats["decoder"] == "VA-API (spice-overlay driver for tests)", stats["decoder"])
    check("why_not_hardware" not in stats, stats)


def frames_of_10_bits_from_a_gpu_are_shown_as_they_are_and_every_pixel_is_right():
    stats = perform_by_gpu("gpu-10", "vp9-10", "linux-dmabuf/P010")
    check("why_not_hardware" not in stats, stats)


def frames_whose_modifier_is_not_taken_are_converted_by_the_gpu_and_every_pixel_is_right():
    stats = perform_by_gpu("vpp", "vp9", "linux-dmabuf/NV12", fault="modifier", processing="yes")
    check(stats["decoder"].startswith("VPP to NV12 after VA-API"), stats["decoder"])
    check("why_not_hardware" not in stats, stats)
    for facts in stats["streams"]:
        check(facts["rung"] == "gpu-vpp", facts)
        check(facts["copied_bytes_a_frame"] == {"decoder": 0, "compositor": 0}, facts)
        check([p["rung"] for p in facts["passed_over"]] == ["gpu"], facts)
        check("does not take its memory" in facts["passed_over"][0]["why_not"], facts)


def frames_go_on_in_software_when_the_gpu_fails_to_convert_them():
    stats = perform_by_gpu("vpp-lost", "vp8", "linux-dmabuf/YU12", fault="modifier,processing:40", processing="yes")
    check_stepped_down(stats, "fails to convert")


def frames_go_on_in_software_when_the_gpu_loses_its_memory():
    stats = perform_by_gpu("gpu-lost", "vp8", "linux-dmabuf/YU12", fault="lost:40")
    check_stepped_down(stats, "fails to decode")


def frames_go_on_in_software_when_the_gpu_hangs():
    stats = perform_by_gpu("gpu-hang", "vp8", "linux-dmabuf/YU12", fault="hang:20", restarts=2)
    check_stepped_down(stats, "hangs")


def frames_that_vulkan_decodes_are_shown_where_they_are_and_every_pixel_is_right():
    stats = perform_by_vulkan("vulkan", "linux-dmabuf/NV12")
    check_nobody_copies(stats, "Vulkan (spice-overlay layer for tests)")


def frames_go_on_in_software_when_vulkan_loses_its_device():
    stats = perform_by_vulkan("vulkan-lost", "linux-dmabuf/YU12", fault="lost:40")
    check_stepped_down(stats, "fails to decode")


def frames_go_on_in_software_when_vulkan_hangs():
    stats = perform_by_vulkan("vulkan-hang", "linux-dmabuf/YU12", fault="hang:20", restarts=2)
    check_stepped_down(stats, "hangs")


def frames_that_rockchips_mpp_decodes_are_shown_where_they_are_and_every_pixel_is_right():
    stats = perform_by_mpp("mpp", "linux-dmabuf/NV12")
    check_nobody_copies(stats, "a decoder of the system's own (DRM PRIME)")


def frames_go_on_in_software_when_rockchips_mpp_fails():
    stats = perform_by_mpp("mpp-lost", "linux-dmabuf/YU12", fault="error:40")
    check_stepped_down(stats, "fails to decode")


def compositor_that_names_no_gpu_gets_no_dmabufs_unless_told():
    stats = perform("unforced", "h264", "wl_shm/YU12", {"above", "below"}, tree())
    check("names no GPU" in stats["why_not_dmabuf"], stats["why_not_dmabuf"])


def compositor_without_linux_dmabuf_is_served_as_ever():
    if own_weston_does():
        raise Skip("this machine's Weston takes dmabufs")
    stats = perform("weston", "h264", "wl_shm/YU12", {"above", "below"}, None, environment=FORCED)
    check("takes no dmabufs" in stats["why_not_dmabuf"], stats["why_not_dmabuf"])


def kernel_that_makes_no_dmabufs_is_no_obstacle_and_said_so():
    if pathlib.Path("/dev/udmabuf").exists():
        raise Skip("this kernel makes dmabufs")
    stats = perform(
        "no-udmabuf", "h264", "wl_shm/YU12", {"above", "below"}, tree(), "spice-overlay-viewer", environment=FORCED
    )
    check("there is no /dev/udmabuf: load the kernel module" in stats["why_not_dmabuf"], stats["why_not_dmabuf"])


def real_dmabufs_are_imported_and_every_pixel_is_right():
    if not pathlib.Path("/dev/udmabuf").exists():
        raise Skip("this kernel has no /dev/udmabuf")
    stats = perform(
        "udmabuf", "h264", "linux-dmabuf/YU12", {"above", "below"}, tree(), "spice-overlay-viewer", environment=FORCED
    )
    check("why_not_dmabuf" not in stats, stats)


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, and pictures of what is wrong, here")
    parser.add_argument("--suite", default=weston_tree.SUITE, help="Weston of this Debian (trixie, sid)")
    options, _ = parser.parse_known_args()
    options.clips = options.build / "test-clips"

    def guarded(function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    found = cases.named(sys.modules["__main__"], "frames_", "colours_", "compositor_", "kernel_", "real_")
    cases.main("Dmabuf", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()
