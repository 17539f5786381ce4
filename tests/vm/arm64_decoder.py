#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The decoder in its sandbox on a real arm64 kernel: the filter of system calls is another one there, and qemu's user mode emulates none.
Builds decoder, probe and tests for arm64 against a tree of Debian 13's packages, boots Debian's kernel in an emulated machine, and runs
"decoder sandbox", "decoder behaviour" and "decoder pictures" in it, with the films that the last two have made on this machine. By hand: the
tree and the build take minutes once, a run a quarter of an hour.

Needs qemu-system-arm, g++-aarch64-linux-gnu and mmdebstrap.

usage: arm64_decoder.py [--build DIR] [--clips DIR] [--filter GTEST_FILTER]"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools")]
import guest_tree
import package_tree
import stage as staging
from stage import Failure, Missing

PACKAGES = (
    "linux-image-arm64 busybox-static libseccomp-dev libavcodec-dev libavutil-dev libswscale-dev libc6-dev libgtest-dev linux-libc-dev ffmpeg"
).split()
PROGRAMS = ("qemu-system-aarch64", "aarch64-linux-gnu-g++", "mmdebstrap", "meson", "ninja")
TESTS = ("tests/dmabuf/sandbox-test", "tests/dmabuf/decoder-behaviour-test", "tests/dmabuf/decoder-pictures-test")
TARGETS = ("dmabuf/decoder/spice-overlay-decoder", "tests/dmabuf/sandbox-probe", *TESTS)
TOOLS = ("usr/bin/ffmpeg", "usr/bin/ffprobe")
SECONDS = 1800  # emulated, on a busy computer

CROSS = """[binaries]
c = 'aarch64-linux-gnu-gcc'
cpp = 'aarch64-linux-gnu-g++'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
[properties]
sys_root = '{root}'
pkg_config_libdir = '{root}/usr/lib/aarch64-linux-gnu/pkgconfig:{root}/usr/share/pkgconfig'
needs_exe_wrapper = true
[built-in options]
c_args = ['--sysroot={root}']
cpp_args = ['--sysroot={root}']
c_link_args = ['--sysroot={root}', '-L{root}/usr/lib/aarch64-linux-gnu', '-Wl,--allow-shlib-undefined']
cpp_link_args = ['--sysroot={root}', '-L{root}/usr/lib/aarch64-linux-gnu', '-static-libstdc++', '-static-libgcc', '-Wl,--allow-shlib-undefined']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
"""

INIT = """#!/bin/busybox sh
export PATH=/bin:/usr/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /run
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
ip link set lo up 2>/dev/null
echo "lsm: $(cat /sys/kernel/security/lsm 2>/dev/null || (mount -t securityfs s /sys/kernel/security && cat /sys/kernel/security/lsm))"
echo "on: $(uname -mr)"
{decoder} --sandbox-report
for test in {tests}; do
    $test --gtest_filter='{filter}' || failed=1
done
echo "status: ${{failed:-0}}"
poweroff -f
"""


def make_tree(folder):
    done = subprocess.run(
        ["mmdebstrap", "--mode=root", "--variant=extract", "--architectures=arm64", f"--include={','.join(PACKAGES)}",
         "--aptopt=APT::Install-Recommends false", "trixie", folder / "root"],
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    if done.returncode:
        raise Missing(f"mmdebstrap makes no tree for arm64: {done.stderr[-500:]}")
    for name in ("lib", "bin", "sbin"):  # of which a package's script would make links
        if not (folder / "root" / name).exists():
            (folder / "root" / name).symlink_to(f"usr/{name}")


def compile_for(root, build):
    cross = build / "cross.ini"
    cross.parent.mkdir(parents=True, exist_ok=True)
    cross.write_text(CROSS.format(root=root))
    if not (build / "build.ninja").exists():
        _run(["meson", "setup", build, "--cross-file", cross, "-Dauto_features=disabled", "-Ddecoder=enabled", "-Dseccomp=enabled", "-Dtests=enabled"])
    _run(["ninja", "-C", build, *TARGETS])


def _run(command):
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command[:2]))}: {done.stdout[-1500:]}{done.stderr[-500:]}")


def libraries_of(programs, root):
    """path in the guest -> file, of all that they are linked with."""
    found, left = {}, [pathlib.Path(p) for p in programs]
    folder = root / "usr/lib/aarch64-linux-gnu"
    while left:
        said = subprocess.run(["aarch64-linux-gnu-readelf", "-d", left.pop()], capture_output=True, text=True, check=True).stdout
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", said):
            places = [folder / name, *folder.glob(f"*/{name}"), root / "usr/lib" / name]
            path = next((p for p in places if p.exists()), None)
            if not path:
                raise Failure(f"{name} is not in the tree")
            if f"usr/lib/aarch64-linux-gnu/{name}" not in found:
                found[f"usr/lib/aarch64-linux-gnu/{name}"] = path
                left.append(path)
    return found


def make_initramfs(root, build, clips, filter, target):
    programs = {str(build / name).lstrip("/"): build / name for name in TARGETS} | {name: root / name for name in TOOLS}
    files = {"bin/busybox": root / "usr/bin/busybox", **programs, **libraries_of(programs.values(), root)}
    files |= {f"{build}/tests/dmabuf/clips/{film.name}".lstrip("/"): film for film in clips.glob("*.nut")}
    files["lib/ld-linux-aarch64.so.1"] = root / "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"
    words = {"decoder": build / TARGETS[0], "tests": " ".join(str(build / name) for name in TESTS), "filter": filter}
    contents = {name: path.read_bytes() for name, path in files.items()}
    contents |= {"init": INIT.format(**words).encode(), "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n"}
    archive = {}
    for name in contents:  # each folder before what it holds
        for folder in reversed(pathlib.PurePath(name).parents):
            if str(folder) != ".":
                archive.setdefault(str(folder), None)
    guest_tree.write_initramfs({**archive, **contents}, target)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-arm64")
    parser.add_argument("--clips", type=pathlib.Path, default=ROOT / "build/tests/dmabuf/clips", help="films of the tests of an ordinary build")
    parser.add_argument("--filter", default="*")
    options = parser.parse_args()
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        print(f"arm64_decoder.py: {', '.join(missing)} missing")
        return 77
    if not any(options.clips.glob("*.nut")):
        raise Missing(f"no films in {options.clips}: run meson test -C build 'decoder pictures' 'decoder behaviour' first")
    build = options.build.resolve()
    folder, _lock = package_tree.obtain(package_tree.key_of("arm64-trixie", PACKAGES), make_tree)
    root = folder / "root"
    compile_for(root, build)
    with staging.Stage(build) as stage:
        initramfs = stage.path("initramfs")
        make_initramfs(root, build, options.clips, options.filter, initramfs)
        begun = time.monotonic()
        machine = stage.start(
            "qemu",
            ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "3G", "-nodefaults",
             "-no-reboot", "-nographic", "-serial", "stdio", "-kernel", next((root / "boot").glob("vmlinuz-*")), "-initrd", initramfs,
             "-append", "quiet console=ttyAMA0 panic=-1 mitigations=off audit=0 apparmor=0 random.trust_cpu=on"],
        )  # fmt: skip
        shown = 0
        while machine.alive and time.monotonic() - begun < SECONDS:
            time.sleep(0.2)
            text = machine.log()
            print(text[shown:], end="", flush=True)
            shown = len(text)
        text = machine.log()
        print(text[shown:], end="")
        print(f"{time.monotonic() - begun:.0f} s of emulated machine")
        return 0 if "status: 0" in text else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, Missing) as problem:
        print(f"arm64_decoder.py: {problem}")
        sys.exit(1)
