#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""spice-overlay-doctor before compositors that take much and little, and before none: what it says of each, as a person
and as a program read it, and what it says is to be done.

usage: doctor_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools")]
import cases
import stage as staging
import weston_tree
from cases import Skip, check

SCHEMA = json.loads((ROOT / "docs/doctor.schema.json").read_text())
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
STATUS = {"zero-copy": 0, "no-cpu-copy": 1, "works": 2, "does-not-work": 3}
FILMS = [(codec, height) for codec in ("H.264", "HEVC", "VP9", "AV1") for height in (1080, 2160)]
options = None


def complaints(value, schema, where="report"):
    """Whatever of `value` is not as the schema says: of its words those that ours uses."""
    known = {"$schema", "title", "description", "type", "enum", "minimum", "maximum", "properties", "required",
             "additionalProperties", "items"}  # fmt: skip
    check(set(schema) <= known, f"the schema uses {set(schema) - known}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds):
        return [f"{where} is no {' or '.join(kinds)}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is {value!r}"]
    if "minimum" in schema and value < schema["minimum"] or "maximum" in schema and value > schema["maximum"]:
        return [f"{where} is {value}"]
    found = []
    if isinstance(value, dict):
        members = schema["properties"]
        found += [f"{where}.{name} is missing" for name in schema["required"] if name not in value]
        found += [f"{where}.{name} is not in the schema" for name in value if name not in members]
        for name, member in value.items():
            found += complaints(member, members.get(name, {}), f"{where}.{name}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += complaints(item, schema["items"], f"{where}[{index}]")
    return found


def run(stage, environment, *arguments, program="spice-overlay-doctor", decoder="spice-overlay-decoder"):
    return subprocess.run(
        [stage.program(program), "--decoder", stage.program(decoder), *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def report(stage, environment, *arguments, **programs):
    """What it says as JSON, checked for what is always so."""
    done = run(stage, environment, "--json", *arguments, **programs)
    check(done.returncode in STATUS.values(), f"exit status {done.returncode}: {done.stderr}")
    said = json.loads(done.stdout)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        (options.keep / f"doctor-{len(list(options.keep.iterdir()))}.json").write_text(json.dumps(said, indent=1))
    wrong = complaints(said, SCHEMA)
    check(not wrong, wrong)
    check(said["exit_status"] == done.returncode == STATUS[said["verdict"]], said["verdict"])
    check([(s["codec"], s["height"]) for s in said["streams"]] == FILMS, said["streams"])
    for stream in said["streams"]:
        check(all(passed["why_not"] for passed in stream["passed_over"]), stream)
        better = [rung["rung"] for rung in said["rungs"]]
        better = better[: better.index(stream["rung"])] if stream["rung"] else better
        check([passed["rung"] for passed in stream["passed_over"]] == better, stream)
    return said


def rungs(said):
    return {rung["rung"]: rung for rung in said["rungs"]}


def must_have_played(performance, transport):
    check(performance and not performance["problem"], performance)
    check(performance["transport"] == transport, performance)
    check(performance["frames"] == performance["decoded"] == 15, performance)
    check(performance["presented"] + performance["late"] == 15 and performance["presented"] > 0, performance)
    check(performance["decode_ms"] > 0, performance)


def must_have_copied(performance, by_decoder, by_compositor):
    copied = performance["copied_by_decoder"], performance["copied_by_compositor"]
    check(copied == (by_decoder, by_compositor), f"bytes of a frame copied: {copied}")


def must_not_be(said, rung, why):
    found = rungs(said)[rung]
    check(found["performance"] is None and why in (found["why_not"] or ""), f"{rung}: {found['why_not']}")


def weston(stage, renderer, inside=None):
    return staging.Weston(stage, renderer, (1280, 720), inside=inside)


def opengl_without_dmabufs_shows_yuv_from_shared_memory_and_all_films():
    with staging.Stage(options.build, options.keep and options.keep / "logs-gl") as stage:
        said = report(stage, weston(stage, "gl").environment)
        check(said["verdict"] == "works", said["verdict"])
        check(said["compositor"]["program"].startswith("weston"), said["compositor"]["program"])
        check({"wl_compositor", "xdg_wm_base"} <= {p["name"] for p in said["compositor"]["protocols"]}, "protocols")
        check({"XR24", "NV12"} <= set(said["compositor"]["shm_formats"]), said["compositor"]["shm_formats"])
        must_not_be(said, "gpu", "the compositor takes no dmabufs")
        must_not_be(said, "gpu-vpp", "the compositor takes no dmabufs")
        must_not_be(said, "dmabuf", "the compositor takes no dmabufs")
        must_have_played(rungs(said)["shm"]["performance"], "wl_shm/YU12")
        must_have_played(rungs(said)["shm-rgb"]["performance"], "wl_shm/XR24")
        must_have_copied(rungs(said)["shm"]["performance"], 0, 1920 * 1080 * 3 // 2)
        for stream in said["streams"]:
            must_have_played(stream["performance"], "wl_shm/XR24")
            why = {passed["rung"]: passed["why_not"] for passed in stream["passed_over"]}
            check("it cannot be told (color-representation)" in why["shm"], why["shm"])
            pixels = stream["width"] * stream["height"]
            must_have_copied(stream["performance"], 4 * pixels, 4 * pixels)


def a_compositor_without_opengl_takes_rgb_alone_and_a_person_reads_so_on_one_screen():
    with staging.Stage(options.build, options.keep and options.keep / "logs-pixman") as stage:
        done = run(stage, weston(stage, "pixman").environment)
        print(done.stdout)
        check(done.returncode == STATUS["works"], f"exit status {done.returncode}: {done.stderr}")
        lines = done.stdout.splitlines()
        check(len(lines) <= 40 and max(map(len, lines)) <= 80, f"{len(lines)} lines of up to {max(map(len, lines))}")
        said = " ".join(done.stdout.split())
        check("no: the compositor takes no YUV in shared memory (wl_shm): use one that draws by OpenGL" in said, said)
        check("Verdict works" in said and all(f"{codec} shm-rgb" in said for codec in ("H.264", "HEVC", "VP9", "AV1")), said)


def dmabufs_are_played_where_the_compositor_takes_them():
    with staging.Stage(options.build, options.keep and options.keep / "logs-tree") as stage:
        tree = weston(stage, "gl", weston_tree.WestonTree())
        said = report(stage, {**tree.environment, "SPICE_OVERLAY_DMABUF": "always"}, program="doctor-with-stand-in")
        must_not_be(said, "gpu", "names no GPU (SPICE_OVERLAY_RENDER_NODE can)")
        must_have_played(rungs(said)["dmabuf"]["performance"], "linux-dmabuf/YU12")
        must_have_played(rungs(said)["dmabuf-rgb"]["performance"], "linux-dmabuf/XR24")
        must_have_copied(rungs(said)["dmabuf"]["performance"], 0, 0)
        must_have_copied(rungs(said)["dmabuf-rgb"]["performance"], 4 * 1920 * 1080, 0)
        check(said["compositor"]["dmabuf"]["formats"], said["compositor"])
        check({stream["rung"] for stream in said["streams"]} == {"dmabuf-rgb"}, said["streams"])
        check(said["verdict"] == "works", said["verdict"])


def a_gpu_is_tried_with_what_it_decodes_and_what_it_does_not_is_named():
    folder = options.build / "tests/vadriver"
    if not (folder / "spice_overlay_test_drv_video.so").exists():
        raise Skip("this build has no libva driver for tests: it takes libva-dev")
    with staging.Stage(options.build, options.keep and options.keep / "logs-gpu") as stage:
        tree = weston(stage, "gl", weston_tree.WestonTree())

        def look(fault, processing=""):
            environment = {
                **tree.environment,
                "SPICE_OVERLAY_DMABUF": "always",
                "SPICE_OVERLAY_RENDER_NODE": "/dev/null",
                "LIBVA_DRIVERS_PATH": str(folder.resolve()),
                "LIBVA_DRIVER_NAME": "spice_overlay_test",
                "LIBVA_TEST_FAULT": fault,
                "LIBVA_TEST_PROCESSING": processing,
            }
            return report(stage, environment, program="doctor-with-stand-in", decoder="decoder-with-stand-in")

        said = look("")
        gpu = rungs(said)["gpu"]
        must_have_played(gpu["performance"], "linux-dmabuf/NV12")
        must_have_copied(gpu["performance"], 0, 0)
        check((gpu["performance"]["codec"], gpu["why_not"]) == ("VP9", None), gpu)
        check("driver for tests" in gpu["performance"]["decoder"], gpu["performance"])
        whys = {(s["codec"], s["height"]): s["passed_over"][0]["why_not"] for s in said["streams"]}
        check("colours" in whys["VP9", 1080], whys)
        vpp = rungs(said)["gpu-vpp"]
        check(vpp["performance"] is None and vpp["why_not"], vpp)
        check(whys["H.264", 1080] and "colours" not in whys["H.264", 1080], whys)

        said = look("", processing="yes")
        vpp = rungs(said)["gpu-vpp"]
        must_have_played(vpp["performance"], "linux-dmabuf/XR24")
        must_have_copied(vpp["performance"], 0, 0)
        check(vpp["performance"]["decoder"].startswith("VPP to XR24 after VA-API"), vpp)
        must_have_played(rungs(said)["gpu"]["performance"], "linux-dmabuf/NV12")
        streams = {(s["codec"], s["height"]): s for s in said["streams"]}
        check(streams["VP9", 1080]["rung"] == "gpu-vpp", streams["VP9", 1080])  # its colours are BT.709


def each_reason_is_said_for_its_own_cause():
    if pathlib.Path("/dev/udmabuf").exists():
        raise Skip("this kernel makes dmabufs")
    with staging.Stage(options.build, options.keep and options.keep / "logs-reasons") as stage:
        tree = weston(stage, "gl", weston_tree.WestonTree()).environment

        def why(use):
            said = report(stage, {**tree, "SPICE_OVERLAY_DMABUF": use}, "--no-play")
            check(said["verdict"] == "does-not-work" and all(r["performance"] is None for r in said["rungs"]), said["verdict"])
            return rungs(said)["dmabuf"]["why_not"]

        check("there is no /dev/udmabuf: load the kernel module udmabuf" in why("always"), why("always"))
        check("SPICE_OVERLAY_DMABUF forbids it" in why("never"), why("never"))
        check("names no GPU" in why("auto"), why("auto"))


def no_session_is_said_and_the_rest_told():
    with staging.Stage(options.build) as stage:
        nowhere = {"WAYLAND_DISPLAY": "none", "XDG_RUNTIME_DIR": str(stage.run_dir)}
        said = report(stage, nowhere)
        check(said["verdict"] == "does-not-work" and said["compositor"] is None, said["verdict"])
        check("no Wayland session" in said["why_no_compositor"], said["why_no_compositor"])
        check({c["codec"] for c in said["decoder"]["codecs"]} >= {"H.264", "VP9"}, said["decoder"])
        check({"landlock", "system-calls"} <= {layer["layer"] for layer in said["decoder"]["sandbox"]}, said["decoder"])
        check([m["name"] for m in said["memory"]] == ["udmabuf", "dma-heap"], said["memory"])
        for memory in said["memory"]:
            if not pathlib.Path({"udmabuf": "/dev/udmabuf", "dma-heap": "/dev/dma_heap"}[memory["name"]]).exists():
                check("load the kernel module" in memory["why_not"], memory)
        if not pathlib.Path("/dev/dri").exists():
            check(said["gpus"] == [] and "there is no render node" in said["why_no_gpu"], said["why_no_gpu"])
        done = run(stage, nowhere)
        check(done.returncode == 3 and "no Wayland session" in " ".join(done.stdout.split()), done.stdout)


def a_decoder_that_lacks_codecs_or_is_not_there_is_named():
    with staging.Stage(options.build) as stage:
        nowhere = {"WAYLAND_DISPLAY": "none", "XDG_RUNTIME_DIR": str(stage.run_dir)}
        poor = stage.path("poor-decoder")
        poor.write_text("#!/bin/sh\necho 1 8192 8192 h264\n")
        poor.chmod(0o755)
        said = report(stage, nowhere, "--decoder", poor)
        whys = {stream["codec"]: stream["passed_over"][0]["why_not"] for stream in said["streams"]}
        check("no Wayland session" in whys["H.264"], whys)
        check("FFmpeg decodes no AV1 here: install libavcodec with it (libdav1d" in whys["AV1"], whys)
        said = report(stage, nowhere, "--decoder", "/nowhere")
        check("/nowhere" in said["decoder"]["why_not"] and not said["decoder"]["codecs"], said["decoder"])
        check(all("/nowhere" in stream["passed_over"][0]["why_not"] for stream in said["streams"]), said["streams"])


def wrong_usage_has_a_status_of_its_own():
    with staging.Stage(options.build) as stage:
        for wrong in (["--jason"], ["more"], ["--decoder"]):
            done = run(stage, {}, *wrong)
            check(done.returncode == 64 and "--help" in done.stderr, f"{wrong}: {done.returncode} {done.stderr}")
        done = run(stage, {"SPICE_OVERLAY_DMABUF": "perhaps"})
        check(done.returncode == 64 and "SPICE_OVERLAY_DMABUF" in done.stderr, f"{done.returncode} {done.stderr}")
        for answered in ("--help", "--version"):
            check(run(stage, {}, answered).returncode == 0, answered)


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs and reports here")
    options, _ = parser.parse_known_args()

    def guarded(function):
        def run_case():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run_case

    found = cases.named(sys.modules["__main__"], "opengl_", "a_", "dmabufs_", "each_", "no_", "wrong_")
    cases.main("Doctor", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()
