# SPDX-License-Identifier: LGPL-2.1-or-later
"""FFmpeg's libavcodec with the rkmpp decoders, which Debian's is built without: from the source of the very version that is
installed, so that a program linked with Debian's takes it in its place. Nothing but a few decoders is in it, which takes a
minute to compile; it is kept in the cache."""

import os
import pathlib
import re
import shutil
import subprocess

import package_tree
from cases import Skip

HERE = pathlib.Path(__file__).resolve().parent
DECODERS = "h264,hevc,vp8,vp9"
# Not optimised: pictures this small are decoded fast enough, and compiling takes half the time.
CONFIGURE = f"""
    --disable-everything --disable-autodetect --disable-programs --disable-doc --disable-avformat --disable-avfilter
    --disable-avdevice --disable-swscale --disable-swresample --disable-static --enable-shared --enable-pic
    --disable-x86asm --disable-debug --optflags=-O0 --enable-version3 --enable-libdrm --enable-rkmpp
    --enable-decoder={DECODERS},{DECODERS.replace(",", "_rkmpp,")}_rkmpp --enable-parser={DECODERS}
""".split()
# Others' rkmppdec.c has not been read, nor its ladder's rung been tried.
VERSIONS = ("5.1.",)


def _installed():
    """The source version of the libavcodec that programs are linked with, "7:5.1.9-0+deb12u1"."""
    if not shutil.which("dpkg-query"):
        raise Skip("not a Debian system: there is no source package of its FFmpeg")
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${source:Version}", "libavcodec-dev"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Skip("FFmpeg is not of a package: libavcodec-dev is not installed")
    for program in ("apt-get", "make", "xz"):
        if not shutil.which(program):
            raise Skip(f"{program} is missing, to fetch and compile the source of FFmpeg with")
    return done.stdout


def _private_apt(folder):
    """apt's options for lists of source packages of its own, from where packages are fetched anyway."""
    parts = folder / "sources"
    parts.mkdir()
    apt = pathlib.Path("/etc/apt")
    for file in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if not file.is_file() or file.suffix not in (".list", ".sources"):
            continue
        text = file.read_text()
        if file.suffix == ".sources":
            text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)
        else:
            text = "\n".join(re.sub(r"^deb\s", "deb-src ", line) for line in text.splitlines() if line.startswith("deb "))
        (parts / file.name).write_text(text + "\n")
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": parts,
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Retries": "1",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _run(what, command, folder, seconds, **more):
    """Runs a step; Skip with its last words when it fails and `what` is the network's part."""
    try:
        done = subprocess.run(
            command, cwd=folder, text=True, timeout=seconds, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more
        )
    except subprocess.TimeoutExpired:
        raise Skip(f"{what} took longer than {seconds} s") from None
    if done.returncode != 0:
        raise Skip(f"{what} fails: {' | '.join(done.stdout.splitlines()[-3:])}")


def _source(folder, version):
    """The upstream source, unpacked."""
    apt = _private_apt(folder)
    _run("apt-get update of source packages", ["apt-get", "-q", *apt, "-o", "APT::Update::Error-Mode=any", "update"], folder, 120)
    _run(
        f"fetching the source of ffmpeg {version}",
        ["apt-get", "-q", *apt, "--download-only", "source", f"ffmpeg={version}"],
        folder,
        120,
    )
    archives = list(folder.glob("*.orig.tar.*"))
    archive = next((file for file in archives if file.suffix != ".asc"), None)
    if not archive:
        raise Skip(f"the source of ffmpeg {version} has no archive")
    source = folder / "source"
    source.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", source, "--strip-components=1"], check=True)
    return source


def _mpp_to_link_with(folder):
    """A library with MPP's names, its header and what pkg-config is to say of it."""
    names = re.findall(r"\b(mpp_\w+)\(", (HERE / "rockchip/rk_mpi.h").read_text())
    (folder / "stub.c").write_text("".join(f"int {name}(void) {{ return -1; }}\n" for name in names))
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,-soname,librockchip_mpp.so.1", "-o", "librockchip_mpp.so", "stub.c"],
        cwd=folder,
        check=True,
    )
    (folder / "rockchip_mpp.pc").write_text(
        "Name: rockchip_mpp\nDescription: double\nVersion: 1.3.7\n"
        f"Cflags: -I{HERE}\nLibs: -L{folder} -lrockchip_mpp\n"
    )


def _build(version):
    def build(unfinished):
        work = unfinished / "work"
        work.mkdir()
        source = _source(work, version)
        _mpp_to_link_with(work)
        objects = work / "objects"
        objects.mkdir()
        found = os.environ.get("PKG_CONFIG_PATH", "")
        _run(
            "configuring FFmpeg with rkmpp",
            [source / "configure", *CONFIGURE],
            objects,
            300,
            env=os.environ | {"PKG_CONFIG_PATH": f"{work}:{found}"},
        )
        _run("compiling FFmpeg with rkmpp", ["make", "-s", f"-j{os.cpu_count()}"], objects, 900)
        for library in ("avcodec", "avutil"):
            for file in (objects / f"lib{library}").glob("*.so.*"):
                shutil.copy2(file, unfinished / file.name, follow_symlinks=False)
        shutil.rmtree(work)

    return build


def obtain():
    """(folder with the libraries, lock), as package_tree.obtain(); Skip with the reason where it cannot be made."""
    version = _installed()
    if not version.partition(":")[2].startswith(VERSIONS):
        raise Skip(f"the double of MPP has been tried with FFmpeg {', '.join(VERSIONS)}x alone; this is {version}")
    header = (HERE / "rockchip/rk_mpi.h").read_text()
    name = package_tree.key_of("rkmpp", version, CONFIGURE, header, os.uname().machine)
    return package_tree.obtain(name, _build(version))
