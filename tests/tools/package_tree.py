# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders of things that take long to make, kept in a cache under a key of all that goes into them; and trees of
Debian packages of another release, whose programs run in a place of their own. Packages come from wherever mmdebstrap
finds Debian by itself."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import time

from stage import Failure, Missing

ROLLING = ("testing", "sid")
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def cache_folder():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "spice-overlay" / "vm"


def key_of(name, *parts):
    """A folder's name: it changes with any of `parts`."""
    return f"{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"


def obtain(name, build, say=print):
    """(folder, lock): the folder of this name, made by `build(unfinished folder)` where there is none yet. While the
    lock lives nobody removes it. Those that start at once build it once."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    lock = open(cache / f"{name}.lock", "w")
    if not folder.exists():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            say(f"Building {folder} (about a minute, once) ...")
            unfinished = folder.with_name(folder.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    fcntl.flock(lock, fcntl.LOCK_SH)
    if not folder.exists():
        raise Failure(f"{folder} was removed while it was wanted")
    os.utime(folder)
    _forget_old(cache, folder)
    return folder, lock


def _forget_old(cache, current, days=14):
    """Removes folders that nobody has used for long, and what interrupted builds have left."""
    for folder in cache.iterdir():
        if not folder.is_dir() or folder == current or folder.stat().st_mtime > time.time() - days * 86400:
            continue
        with open(cache / f"{folder.name.removesuffix('.unfinished')}.lock", "w") as lock:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def unpack(root, suite, packages, settle):
    """Unpacks Debian packages, with all they depend on, into `root`. None of their scripts is run (that is what makes
    this quick): the shell script `settle` does in there what has to be done in their stead."""
    if not shutil.which("mmdebstrap"):
        raise Missing("mmdebstrap is not installed")
    if not KEYRING.exists():
        raise Missing(f"{KEYRING} is not there: debian-archive-keyring is not installed")
    script = root.with_name("settle.sh")
    script.write_text(settle)
    done = subprocess.run(
        [
            "mmdebstrap",
            "--variant=extract",
            f"--include={','.join(packages)}",
            "--aptopt=APT::Install-Recommends false",
            # A suite that rolls is valid for a week: a mirror may have an older one, signed as ever.
            *(["--aptopt=Acquire::Check-Valid-Until false"] if suite in ROLLING else []),
            f'--extract-hook=chroot "$1" /usr/bin/dash -s <{script}',
            suite,
            str(root),
        ],
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode != 0:
        (cache_folder() / "build.log").write_text(done.stderr)
        why = [line for line in done.stderr.splitlines() if not line.startswith("I:")]
        raise Missing(f"mmdebstrap makes no tree of {suite}: {' | '.join(why[-5:])}")
