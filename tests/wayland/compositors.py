#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What compositors take, found by running spice-overlay-doctor before each: the Westons of this Debian, of Debian 13 and of sid, and sway, Mutter
and KWin of the latter two, all without a screen and without a GPU. Writes docs/compositors.md. By hand: the trees take minutes to make.

usage: compositors.py --build DIR [--out FILE] [--only NAME]"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools")]
import compositor_tree
import stage as staging
import weston_tree

SOCKET = "wayland-test"
HEADLESS = {
    "sway": (["sway", "--config", "{folder}/sway.conf"], {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1"}),
    "Mutter": (["dbus-run-session", "mutter", "--headless", "--virtual-monitor", "1280x720", "--wayland-display", SOCKET, "--no-x11"], {}),
    "KWin": (["dbus-run-session", "kwin_wayland", "--virtual", "--width", "1280", "--height", "720", "--socket", SOCKET, "--no-lockscreen"], {}),
}  # fmt: skip
FORMATS = ("NV12", "YU12", "P010", "XR24")
LINEAR = "0x0"


def start(stage, tree, name):
    """(environment, version) of a compositor of the tree."""
    command, environment = HEADLESS[name]
    folder = stage.path("runtime")
    folder.mkdir(mode=0o700)
    (folder / "sway.conf").write_text("output * resolution 1280x720\ndefault_border none\n")
    base = {
        "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "LIBGL_ALWAYS_SOFTWARE": "1", "GSETTINGS_BACKEND": "memory",
        "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder), "XDG_DATA_DIRS": "/usr/share",
    }  # fmt: skip
    words = [word.format(folder=folder) for word in command]
    process = stage.start(name.lower(), tree.enter(words, folder), {**base, **environment})

    def sockets():
        return [path.name for path in folder.glob("wayland-*") if path.is_socket()]

    staging.wait_for(lambda: sockets() or not process.alive, 30, lambda: f"a socket of {name}: {process.tail(20)}")
    if not sockets():
        raise staging.Failure(f"{name} ended: {process.tail(20)}")
    program = {"sway": "sway", "Mutter": "mutter", "KWin": "kwin_wayland"}[name]
    return {**base, "WAYLAND_DISPLAY": sockets()[0]}, tree.version(program)


def diagnose(stage, environment):
    """The doctor's report, with a memfd in the place of a dmabuf (this kernel may make none), which software renderers map."""
    done = subprocess.run(
        [stage.program("doctor-with-stand-in"), "--json", "--decoder", stage.program("spice-overlay-decoder")],
        env={**os.environ, **environment, "SPICE_OVERLAY_DMABUF": "always"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if not done.stdout:
        raise staging.Failure(f"the doctor ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def row(name, version, report):
    compositor = report["compositor"]
    protocols = {p["name"]: p["version"] for p in compositor["protocols"]}
    dmabuf = compositor["dmabuf"]
    linear = [f["format"] for f in dmabuf["formats"] if LINEAR in f["modifiers"]] if dmabuf else []

    def has(name):
        return str(protocols[name]) if name in protocols else "–"

    def played(rung):
        (found,) = [r for r in report["rungs"] if r["rung"] == rung]
        performance = found["performance"]
        if not performance:
            return "–"
        if found["why_not"] or not performance["presented"]:
            return "fails"
        return "shown"

    return [
        name, version, has("zwp_linux_dmabuf_v1"), (dmabuf or {}).get("device") or "–",
        " ".join(f for f in FORMATS if f in linear) or "–",
        " ".join(f for f in FORMATS if f in compositor["shm_formats"]) or "–",
        has("wp_presentation"), has("wp_color_representation_manager_v1"), has("wp_content_type_manager_v1"),
        has("wp_fractional_scale_manager_v1"), has("wp_single_pixel_buffer_manager_v1"), has("wp_linux_drm_syncobj_manager_v1"),
        *map(played, ("dmabuf", "dmabuf-rgb", "shm", "shm-rgb")),
    ]  # fmt: skip


HEAD = [
    "compositor", "version", "linux-dmabuf", "device named", "linear dmabufs", "wl_shm", "presentation", "color-representation",
    "content-type", "fractional-scale", "single-pixel-buffer", "linux-drm-syncobj", "`dmabuf`", "`dmabuf-rgb`", "`shm`", "`shm-rgb`",
]  # fmt: skip

TEXT = """# What compositors take

Made by `tests/wayland/compositors.py`, which runs `spice-overlay-doctor` before each compositor, without a screen and without a GPU: what
their software renderers take. With a GPU they name a device and take more; none has linux-drm-syncobj without one. Numbers are versions of protocols, – means that there is none. The
last columns are ways of frames to the screen as spice-overlay-doctor(1) names them: tried and shown (by the compositor's word, whose pixels other tests check for
Weston alone), failed, or not there. In the place of a dmabuf stands a memfd, which only renderers that map it can read.

"""
# By hand: these tests take virtual machines.
SEEN = """
## Seen on a screen

What is said above is the compositors' word. These are pixels, every one of them judged by `tests/oracle`, of the whole chain with Weston
14.0.2 (but in the last row), which draws by the processor:

| where | frames in | shown as | seen by |
| --- | --- | --- | --- |
| Linux 6.12 in a virtual machine, no display | udmabufs, and surfaces of the tests' VA-API driver | XR24 YU12 NV12 P010 | `tests/vm/dmabuf_test.py` |
| the same without `/dev/udmabuf` | a dma-heap | XR24 YU12 | `tests/vm/dmabuf_test.py` |
| the same with a virtio GPU without 3D, Weston on the display, pictures taken by QEMU | shared memory; dmabufs that the display has made; udmabufs, which are refused, so that frames go by shared memory | XR24 YU12 | `tests/vm/display_test.py` |
| this computer, no display, Weston 16.0.0, told of films in BT.601, BT.709 and BT.2020, each in limited and in full range (build with wayland-protocols 1.44) | shared memory; memfds in the place of dmabufs; surfaces of the tests' VA-API driver | YU12 NV12 | `tests/wayland/dmabuf_test.py --suite sid --filter colours` |

Weston names no GPU on that display (linux-dmabuf version 3), so it gets shared memory unless SPICE_OVERLAY_DMABUF and SPICE_OVERLAY_RENDER_NODE
say otherwise. It says of every frame that is measured (wp_presentation) that it came with vsync, by the display's clock, and when the display was done, and of none that it
was scanned out without a copy: not even of a film in XR24, in the display's own memory, alone on the screen. Its driver has no modifiers ("DRM:
does not support GBM modifiers", Weston's log says), and Weston seems to give a display without them no memory of clients. sway scans it out there: below.

## linux-drm-syncobj, met

On the same virtual GPU (Linux 6.12, which has timelines and tells of them by eventfd; Mesa's llvmpipe has `EGL_ANDROID_native_fence_sync` where it finds
`/dev/udmabuf`) compositors were asked for it by `wayland-info`; of the last two the programs were searched for it:

| compositor | has it | or why not |
| --- | --- | --- |
| sway 1.12 (wlroots 0.20), on the display | yes | not with `LIBGL_ALWAYS_SOFTWARE`, or without `/dev/udmabuf` |
| KWin 6.3.6 and 6.7.4, `--virtual` | yes | but it draws nothing there: a render node gives no dumb buffers (`DRM_IOCTL_MODE_CREATE_DUMB failed: Permission denied`) |
| Mutter 48.7 and 51.0, `--headless` | – | "Disabling explicit sync: Failed to find EGL device": llvmpipe's EGL device has no DRM node |
| Weston 14.0.2 and 16.0.0 | – | the name is not in its library |
| sway 1.10.1 (wlroots 0.18) | – | its wlroots has the protocol, sway does not ask for it |

`tests/vm/explicit_sync.py` (by hand, for a build with wayland-protocols 1.34 or newer) plays four films on that sway, in dmabufs that the display has made, with an acquire and a
release point for every frame, and judges every pixel of the pictures that QEMU takes: apart, above the desktop, below a window, moved, and one film alone on the screen. On 30 November 2026, sway
1.12 and Mesa 26: all six right (deviation 3 of 255 at most), 202 points on 24 timelines, 178 of them known to have been reached (the next of the same timeline is set only then),
no error of the protocol. The film alone on the screen was scanned out: "Direct scan-out enabled", sway's log says, and of each frame that was measured wp_presentation's zero-copy flag; of no frame before.
An earlier run of a quarter of an hour, not judged by pixels, had 9917 frames on 20 timelines. The colours that sway 1.12 can be told (color-representation) are none of YUV: films in BT.709 go as XR24 there.

Emulated by QEMU 7.2 with AVX2 ("-cpu max"), the same sway showed everything in RGB as one flat colour: Mesa's llvmpipe uses what that emulation does wrong. The tests' machines have none.
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/compositors.md")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rows, troubles = [], []

    def westons():
        for inside in (None, weston_tree.WestonTree(), trees["sid"]):
            for renderer in ("gl", "pixman"):
                yield f"Weston, {renderer}", lambda stage, r=renderer, i=inside: staging.Weston(stage, r, (1280, 720), inside=i)

    def attempt(name, begin):
        if options.only not in name:
            return
        print(name, flush=True)
        try:
            with staging.Stage(options.build) as stage:
                environment, version = begin(stage)
                rows.append(row(name, version, diagnose(stage, environment)))
                print("  " + " | ".join(rows[-1]), flush=True)
        except (staging.Failure, subprocess.TimeoutExpired) as failure:
            troubles.append(f"{name}: {failure}")
            print(f"  {failure}", flush=True)

    trees = {suite: compositor_tree.CompositorTree(suite) for suite in ("trixie", "sid")}
    for name, make in westons():
        attempt(name, lambda stage, make=make: (lambda w: (w.environment, w.version))(make(stage)))
    for tree in trees.values():
        for name in HEADLESS:
            attempt(name, lambda stage, name=name, tree=tree: start(stage, tree, name))
    lines = ["| " + " | ".join(cells) + " |" for cells in [HEAD, ["---"] * len(HEAD), *rows]]
    options.out.write_text(TEXT + "\n".join(lines) + "\n" + SEEN)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
